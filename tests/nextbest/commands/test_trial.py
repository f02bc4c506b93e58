"""`nextbest policy try`: a decision for a customer described in words."""

import re
from pathlib import Path
from shutil import copytree

import pytest
from click.testing import CliRunner, Result

from nextbest.commands.policy import policy
from nextbest.commands.trial import try_policy
from nextbest.settings import CHECKOUT

AFTERNOON = ("--at", "2026-11-25T19:00")


def tried(*arguments: str) -> Result:
    return CliRunner().invoke(policy, ["try", *arguments])


def line(result: Result, action: str) -> str:
    """What the table says of an action, in single blanks."""
    (found,) = re.findall(rf"^ {action} .*$", result.output, re.MULTILINE)
    return " ".join(found.split())


def test_says_what_becomes_of_every_action() -> None:
    """Each action has its stage, its numbers or its reason; what is drawn shows its content."""
    result = tried("--placement", "home_banner", "--feature", "baskets_28d=3", *AFTERNOON)
    assert result.exit_code == 0, result.output
    assert line(result, "yogurt").startswith("yogurt arbitration 0.0100 6.0500 0.0302 0.0303")
    assert "not so: category_spend_182d__seafood_frozen > 0.0" in line(result, "seafood_frozen")
    assert re.search(r"drawn: \w+ \(.*\), which shows headline: ", result.output)


def test_the_examples_of_its_help_work() -> None:
    """A person copies them."""
    examples = re.findall(r"nextbest policy try (.*)", try_policy.help or "")
    assert len(examples) > 1
    for example in examples:
        result = tried(*example.split())
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "action", "said"),
    [
        (("--withdrawn", "marketing"), "yogurt", "consent marketing: withdrawn"),
        (
            ("--did", "dismissal:cheese@3", "--did", "dismissal:cheese@30"),
            "cheese",
            "dismissed_twice: until 2027-01-24",
        ),
        (("--seen", "yogurt@1", "--seen", "yogurt@2", "--seen", "yogurt@3"), "yogurt", "same_offer_three_times_a_week"),
        (("--signal", "stock:fluid_milk_products=0"), "fluid_milk_products", "out of stock: 0 of at least 1 since"),
        (
            ("--signal", "weather_temperature:367=-2", "--context", "store=367"),
            "ice_cream_milk_sherbts",
            "not so: weather_temperature > 5.0",
        ),
        (("--context", "has_just_paid=yes"), "receipt", "receipt arbitration 0.6000"),
        (
            ("--context", "time_zone=Asia/Tokyo"),
            "yogurt",
            "quiet hours of app: 21:00 to 08:00, it is 04:00 in Asia/Tokyo",
        ),
    ],
)
def test_what_is_said_of_the_customer_counts(arguments: tuple[str, ...], action: str, said: str) -> None:
    """Consents, what was seen and done, and what the channel knows, change what becomes of an action."""
    result = tried("--placement", "app_message", *arguments, *AFTERNOON)
    assert result.exit_code == 0, result.output
    assert said in " ".join(result.output.split()) or said in line(result, action)


def test_caps_and_pauses_of_a_channel_can_be_tried() -> None:
    """Two e-mails fill the week, and who unsubscribed gets none; what must be shown comes before the draw."""
    email = ("--placement", "email_hero", *AFTERNOON)
    assert "two_emails_a_week: 2 of 2" in tried(*email, "--seen", "beef/email@1", "--seen", "cheese/email@2").output
    assert "unsubscribed: until 2027-11-25" in tried(*email, "--did", "unsubscribe:beef/email@4").output
    recalled = ("--context", "recalled_category=frozen_pizza", "--feature", "category_spend_182d__frozen_pizza=9")
    assert "first" in line(tried("--placement", "home_banner", *recalled, *AFTERNOON), "recall_notice")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--placement", "home_baner"), "there is no home_baner: there is home_banner"),
        (("--did", "dismisal:beef"), "did you mean 'dismissal'"),
        (("--did", "impression:beef"), "said by --seen"),
        (("--seen", "beef/post"), "there is no post: there is app, email, web"),
        (("--feature", "baskets_28=3"), "did you mean 'baskets_28d'"),
        (("--feature", "baskets_28d"), "'baskets_28d' is not NAME=VALUE"),
        (("--feature", "baskets_28d=many"), "baskets_28d is a number, not 'many'"),
        (("--context", "has_just_paid=perhaps"), "has_just_paid is a boolean, not 'perhaps'"),
        (("--seen", "bacon"), "there is no bacon"),
        (("--seen", "beef@soon"), "'soon' is no number of hours"),
        (("--did", "click"), "'click' is not EVENT:ACTION"),
        (("--withdrawn", "sales"), "there is no sales"),
        (("--signal", "stock=0"), "'stock=0' is not SIGNAL:KEY=VALUE"),
        (("--signal", "weather_temperature:367=3"), "there is no weather_temperature:367"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments: tuple[str, ...], said: str) -> None:
    """A name there is not, or a value that is none, is the caller's mistake: the known ones are named."""
    result = tried(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_a_rule_is_shown_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets of a rule are no markup: `[/]` would end the command, and `[a-z]` would not be seen."""
    copytree(CHECKOUT / "policies", tmp_path / "policies")
    actions = tmp_path / "policies" / "actions.yaml"
    rule = "recalled_category.matches('[/][a-z]+')"
    actions.write_text(actions.read_text().replace("[has_just_paid]", f'["{rule}"]'))
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    result = tried("--placement", "app_message", *AFTERNOON)
    assert result.exit_code == 0, result.output
    assert rule in result.output


def test_what_models_alone_know_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what is caused is to count, P is not all that a server goes by."""
    copytree(CHECKOUT / "policies", tmp_path / "policies")
    arbitration = tmp_path / "policies" / "arbitration.yaml"
    arbitration.write_text(arbitration.read_text().replace("use_uplift: false", "use_uplift: true"))
    said = "uplift is to count"
    assert said not in tried("--placement", "app_message", *AFTERNOON).output
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    assert said in tried("--placement", "app_message", *AFTERNOON).output
