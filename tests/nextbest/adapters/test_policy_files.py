"""Policies from files: read whole or not at all, every mistake with its file and line."""

import re
import shutil
from pathlib import Path

import pytest

from nextbest.adapters.policy_files import PolicyError, read_policy, review, vocabulary
from nextbest.settings import CHECKOUT

POLICIES = CHECKOUT / "policies"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the policies, free to break."""
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


def edit(folder: Path, file: str, old: str, new: str) -> int:
    """Replace the first `old` in a file; returns its line."""
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def problems(folder: Path) -> list[tuple[str, int, str]]:
    with pytest.raises(PolicyError) as caught:
        read_policy(folder)
    return [(problem.file, problem.line, problem.message) for problem in caught.value.problems]


def test_the_policies_of_the_demo_are_right() -> None:
    """What is in the repository compiles, has something for every placement, and nothing about it is odd."""
    policy = read_policy(POLICIES)
    assert len(policy.actions) >= 20
    assert all(placement.treatments for placement in policy.placements.values())

    assert review(POLICIES).findings == ()


def test_hash_is_of_what_the_policy_says(folder: Path) -> None:
    """A comment does not change the hash, a number does."""
    before = read_policy(folder).hash
    edit(folder, "arbitration.yaml", "formula:", "# a remark\nformula:")
    assert read_policy(folder).hash == before
    edit(folder, "arbitration.yaml", "do_nothing_threshold: 0.0", "do_nothing_threshold: 0.05")
    assert read_policy(folder).hash != before


MISTAKES = [
    (
        "placements.yaml",
        "slots: 1",
        "slots: none",
        "placements.home_banner.slots: write a whole number, such as 3, not `none`",
    ),
    (
        "placements.yaml",
        "    slots: 1",
        "    slot: 1",
        "placements.home_banner.slot: there is no such field: did you mean `slots`?",
    ),
    ("placements.yaml", "cost: 0.002", "cost: -1", "write 0 or more"),
    ("contact_policy.yaml", "scope: channel", "scope: planet", "'action', 'group', 'channel' or 'all'"),
    ("arbitration.yaml", "floor: 0.0005", "floor: 1.5", "write 0.5 or less"),
    ("actions.yaml", "value: 4.47", "value: .nan", "finite"),
    ("actions.yaml", "value: 4.47", "value: 1.0e+308", "actions.bag_snacks.value: write 1000000000 or less"),
    ("arbitration.yaml", "salt: coupons", "salt: [coupons", "not YAML"),
    ("arbitration.yaml", "salt: coupons", "salt: {[a]: b}", "not YAML: found unhashable key"),
    ("arbitration.yaml", "salt: coupons", "salt: &a [*a]", "aliases are not allowed here: write it out"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), MISTAKES)
def test_a_mistake_in_a_file(folder: Path, file: str, old: str, new: str, message: str) -> None:
    """A value that a field does not take is named with the field, its file and its line."""
    line = edit(folder, file, old, new)
    ((where, at, what),) = problems(folder)
    assert where == file
    assert at - line in {0, 1}
    assert message in what


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5_000 + "]" * 5_000, "cannot be read: .*recursion"),
        ("salt: 2026-02-30", "cannot be read: day is out of range"),
    ],
)
def test_a_file_that_python_cannot_hold(folder: Path, text: str, message: str) -> None:
    """Endless nesting and a day that no calendar has are problems of the file like any other."""
    (folder / "arbitration.yaml").write_text(text)
    ((file, line, what),) = problems(folder)
    assert (file, line) == ("arbitration.yaml", 1)
    assert re.match(message, what)


def test_a_small_file_cannot_become_a_large_one(folder: Path) -> None:
    """Ten lists of nine aliases each would be three thousand million items."""
    laughs = "".join(f"l{n + 1}: &l{n + 1} [{', '.join([f'*l{n}'] * 9)}]\n" for n in range(10))
    (folder / "arbitration.yaml").write_text(f"l0: &l0 ha\n{laughs}")
    assert problems(folder) == [("arbitration.yaml", 2, "aliases are not allowed here: write it out")]


CONTRADICTIONS = [
    ("actions.yaml", "purpose: marketing", "purpose: mischief", "unknown purpose `mischief`: there is analytics"),
    ("actions.yaml", "placement: home_banner", "placement: attic", "unknown placement `attic`"),
    ("actions.yaml", "channel: web", "channel: email", "placement `home_banner` is in channel `web`, not `email`"),
    ("actions.yaml", "- id: bath_tissues\n", "- id: bag_snacks\n", "`bag_snacks` is there already"),
    ("actions.yaml", "[baskets_28d > 0]", "[baskets_29d > 0]", "unknown feature `baskets_29d`"),
    ("actions.yaml", "[baskets_28d > 0]", "[baskets_28d > 'many']", "No such overload"),
    ("actions.yaml", "[baskets_28d > 0]", "[baskets_28d + 1.0]", "not true or false"),
    ("actions.yaml", "[baskets_28d > 0]", "['[1].all(x, x > 0)']", "loops over a list"),
    ("placements.yaml", "- id: web", "- id: radio", "unknown channel `web`"),
    ("contact_policy.yaml", "only: [email]", "only: [fax]", "unknown channel `fax`"),
    ("features.yaml", "- {name: baskets_91d", "- {name: baskets_28d", "`baskets_28d` is there already"),
    ("features.yaml", "default: 9999.0", "default: never", "the default of `recency_days` is not a number"),
    ("arbitration.yaml", "salt: coupons", "salt: coupons\nsalt: other", "`salt` is there twice"),
    ("actions.yaml", "stock: {at_least: 1}", "stock: {at_leat: 1}", "did you mean `at_least`?"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), CONTRADICTIONS)
def test_a_mistake_between_files(folder: Path, file: str, old: str, new: str, message: str) -> None:
    """What only shows when the parts are seen together is named the same way."""
    edit(folder, file, old, new)
    assert any(message in what for _, _, what in problems(folder))


def test_every_problem_at_once(folder: Path) -> None:
    """One run names them all, in every file, a missing and an empty one included."""
    edit(folder, "placements.yaml", "slots: 1", "slots: none")
    edit(folder, "arbitration.yaml", "floor: 0.0005", "floor: 1.5")
    (folder / "features.yaml").unlink()
    (folder / "contact_policy.yaml").write_text("# nothing yet\n")
    assert [file for file, _, _ in problems(folder)] == [
        "arbitration.yaml",
        "contact_policy.yaml",
        "features.yaml",
        "placements.yaml",
    ]


def test_rule_problems_name_their_line(folder: Path) -> None:
    """The line of a wrong expression is the line it is written on."""
    line = edit(folder, "actions.yaml", "[baskets_28d > 0]", "[baskets_29d > 0]")
    assert [(file, at) for file, at, _ in problems(folder)] == [("actions.yaml", line)]


def test_a_key_that_no_request_names_is_told_on_its_line(folder: Path) -> None:
    """Signals are asked for beside the customer's features, which come too late to name one."""
    line = edit(folder, "features.yaml", "key_from: store", "key_from: tenure_days")
    [(file, at, what)] = problems(folder)
    assert (file, at) == ("features.yaml", line)
    assert "`tenure_days` is not known yet when signals are asked for" in what


def test_events_and_outcomes_are_those_of_the_contracts_beside_the_policy(folder: Path) -> None:
    """A home with contracts of its own is checked by these, another by nextbest's; a list that is open says nothing."""
    known = vocabulary(folder)
    assert known == vocabulary(POLICIES)
    assert "page_view" in (known.events or ())
    contracts = shutil.copytree(CHECKOUT / "data_contracts", folder.parent / "data_contracts")
    events = contracts / "events.odcs.yaml"
    events.write_text(events.read_text().replace("page_view", "call"))
    (contracts / "outcomes.odcs.yaml").unlink()
    edit(folder, "contact_policy.yaml", "count: decision", "count: page_view")
    assert "call" in (vocabulary(folder).events or ())
    assert vocabulary(folder).outcomes is None
    [(_, _, what)] = problems(folder)
    assert "unknown event `page_view`" in what


def test_experiments_may_be_left_out_and_are_checked_if_they_are_there(folder: Path) -> None:
    """The file is optional; its mistakes are not."""
    experiments = folder / "experiments.yaml"
    experiments.unlink()
    assert read_policy(folder).experiments.control == ""
    experiments.write_text("salt: [a\n")
    assert [file for file, _, _ in problems(folder)] == ["experiments.yaml"]
    experiments.write_text("control: {percent: 5}\n")
    assert read_policy(folder).hash != read_policy(POLICIES).hash
