"""What must hold between the parts of a policy, each kind of mistake alone in a policy that is right."""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import pytest

from nextbest.policy_check import check
from nextbest.policy_checks import reach
from nextbest.policy_checks.subject import Subject, Vocabulary
from nextbest.policy_document import PolicyDocument

WORDS = Vocabulary(frozenset({"page_view", "email_open"}), frozenset({"redemption"}))
TODAY = dt.date(2026, 3, 1)
Edit = Callable[[dict[str, Any]], object]


def found(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    problems = check(PolicyDocument.model_validate(document), WORDS, today=TODAY)
    return [(problem.level, problem.rule, problem.message) for problem in problems]


def action(document: dict[str, Any], **fields: Any) -> None:
    document["actions"]["actions"][0].update(fields)


def feature(document: dict[str, Any], **fields: Any) -> None:
    """One more feature."""
    document["features"]["features"].append({"name": "heat", "description": "Celsius", **fields})


def content(document: dict[str, Any], text: str) -> None:
    document["actions"]["actions"][0]["treatments"][0]["content"]["headline"] = text


def rules(document: dict[str, Any], *given: dict[str, Any]) -> None:
    defaults = {"scope": "all", "count": "impression", "limit": 2, "window_hours": 24}
    document["contact_policy"]["rules"] = [{"id": f"rule_{n}", **defaults, **each} for n, each in enumerate(given)]


def pause(document: dict[str, Any], **fields: Any) -> None:
    document["contact_policy"]["suppressions"] = [
        {"id": "pause", "scope": "action", "outcome": "click", "pause_days": 7, **fields}
    ]


def explore(document: dict[str, Any], **fields: Any) -> None:
    document["arbitration"]["exploration"] = fields


def thompson(document: dict[str, Any], arbitration: dict[str, Any], changes: dict[str, Any] | None = None) -> None:
    """With other fields of the arbitration, and a shadow with these changes."""
    document["arbitration"] |= {"exploration": {"strategy": "thompson"}, **arbitration}
    if changes:
        experiments(document, shadows=[{"id": "odd", "changes": changes}])


def experiments(document: dict[str, Any], **fields: Any) -> None:
    document["experiments"] = fields


def quiet(document: dict[str, Any], start: str, end: str) -> None:
    document["placements"]["channels"][1]["quiet_hours"] = {"start": start, "end": end}


def after(name: str, event: str = "impression", hours: int = 24) -> dict[str, Any]:
    return {"action": name, "event": event, "within_hours": hours}


def unbound(document: dict[str, Any]) -> None:
    """A rule about a group whose only action no rule binds."""
    action(document, **{"class": "mandatory", "group": "gifts"})
    rules(document, {"scope": "group", "only": ["gifts"]})


def everything(document: dict[str, Any]) -> None:
    """One of each thing there is, all of it right."""
    action(
        document,
        start=dt.date(2026, 4, 1),
        end=dt.date(2026, 4, 1),
        value="spend_91d * 0.1",
        cost="spend_91d > 10.0 ? 0.2 : 0.1",
        eligibility=["spend_91d > 1.0 && spend_91d < 3.0", "spend_91d > 2.0 || weather == 'sun'"],
        stock={"at_least": 5},
        follows=[after("bread", "email_open")],
        excluded_by=[after("apples", "decision"), after("bread", "email_open", hours=1)],
    )
    content(document, "{{ customer.spend_91d }} {{ context.weather }} {{ action.name }}")
    quiet(document, "21:00", "08:00")
    rules(
        document,
        {"limit": 9, "window_hours": 168},
        {"scope": "group", "limit": 2},
        {"scope": "action", "only": ["apples"], "limit": 1},
        {"scope": "channel", "only": ["email"], "count": "email_open", "limit": 9},
    )
    pause(document, outcome="redemption", scope="channel", only=["web"])
    document["features"]["features"].append({"name": "zone", "kind": "text", "description": "IANA"})
    feature(document, origin="signal", signal="temperature", key_from="weather")
    feature(document, name="price", origin="signal", signal="competitor_price", key="bread")
    document["contact_policy"]["time_zone"] = {"feature": "zone", "default": "Europe/Berlin"}
    document["arbitration"]["formula"] = "propensity * value * lever - cost + spend_91d * 0.0"
    document["arbitration"]["learning"] = {"features": [{"name": "spend_91d", "scale": 100.0}]}
    explore(document, strategy="inverse_gap", gamma=50.0, floor=0.01)
    experiments(
        document,
        control={"percent": 5.0},
        challengers=[{"id": "bold", "percent": 100.0, "changes": {"levers": {"bread": 200.0}}}],
        rollouts=[{"id": "slow", "percent": 10.0, "actions": ["dates"]}],
        shadows=[{"id": "odd", "changes": {"formula": "value"}}],
    )


def test_nothing_is_said_of_a_policy_that_is_right(document: dict[str, Any]) -> None:
    """One of each thing there is, and no problem and no warning."""
    everything(document)
    assert found(document) == []


MISTAKES: list[tuple[Edit, str]] = [
    (lambda d: feature(d, origin="signal", key="here"), "name one, such as `signal: heat`"),
    (lambda d: feature(d, origin="signal", signal="heat"), "`heat` takes one key"),
    (lambda d: feature(d, origin="signal", signal="heat", key="a", key_from="weather"), "`heat` takes one key"),
    (lambda d: feature(d, origin="signal", signal="heat", key="a", per_action=True), "leave out `per_action`"),
    (lambda d: feature(d, origin="context", signal="heat"), "`signal` takes `origin: signal` beside it"),
    (lambda d: feature(d, key_from="weather"), "`key_from` takes `origin: signal` beside it"),
    (lambda d: feature(d, origin="signal", signal="heat", key_from="wether"), "did you mean `weather`?"),
    (lambda d: feature(d, origin="signal", signal="heat", key_from="visits"), "a key is a feature of origin context"),
    (
        lambda d: d["features"]["features"].extend(
            [
                {"name": "aisle", "origin": "context", "description": "number"},
                {"name": "heat", "origin": "signal", "signal": "heat", "key_from": "aisle", "description": "Celsius"},
            ]
        ),
        "`aisle` is a number: a key is a text",
    ),
    (lambda d: action(d, purpose=None), "a standard action needs one"),
    (lambda d: thompson(d, {"formula": "value"}), "leaves it nothing to go by"),
    (lambda d: thompson(d, {"formula": {"use_propensity": False}}), "leaves it nothing to go by"),
    (
        lambda d: d["arbitration"].update(formula={"use_propensity": False, "use_uplift": True}),
        "switch `use_propensity` on, or take this out",
    ),
    (
        lambda d: experiments(
            d, shadows=[{"id": "odd", "changes": {"formula": {"use_propensity": False, "use_uplift": True}}}]
        ),
        "switch `use_propensity` on, or take this out",
    ),
    (lambda d: thompson(d, {}, {"formula": "value"}), "leaves it nothing to go by"),
    (
        lambda d: thompson(
            d,
            {"formula": "propensity", "exploration": {"strategy": "greedy"}},
            {"exploration": {"strategy": "thompson"}},
        ),
        "leaves it nothing to go by",
    ),
    (
        lambda d: experiments(d, challengers=[{"id": "champion", "percent": 5.0, "changes": {"formula": "value"}}]),
        "`champion` is a name of its own",
    ),
    (
        lambda d: experiments(d, rollouts=[{"id": "champion_challenger", "percent": 10.0, "actions": ["dates"]}]),
        "`champion_challenger` is a name of its own",
    ),
    (lambda d: action(d, value="spend_91d * visitz"), "unknown feature `visitz`: did you mean `visits`?"),
    (lambda d: action(d, value="spend_91d > 1.0"), "it answers False, not a number"),
    (lambda d: action(d, value="1.0 / spend_91d"), "it answers inf, not a number"),
    (lambda d: action(d, cost="0.0 - 1.0"), "a cost of -1 is below 0"),
    (lambda d: action(d, cost=-1.0), "a cost of -1 is below 0"),
    (lambda d: action(d, eligibility=["visits > 5.0 && weather > 1.0"]), "`weather > 1.0`: "),
    (lambda d: action(d, eligibility=["visits > 5.0 ? weather > 1.0 : true"]), "`weather > 1.0`: "),
    (lambda d: action(d, eligibility=["visits < 5.0 || visits"]), "`visits`: it answers"),
    (lambda d: action(d, eligibility=["true && false"]), "is never true"),
    (lambda d: action(d, eligibility=["visits > 5.0", "(3.0 >= visits)"]), "contradicts `visits > 5.0`"),
    (
        lambda d: action(d, eligibility=["visits == 5.0 && visits != 6.0 && visits == 6.0"]),
        "contradicts `visits == 5.0`",
    ),
    (
        lambda d: action(d, start=dt.datetime(2026, 5, 1, tzinfo=dt.UTC), end=dt.datetime(2026, 5, 1, tzinfo=dt.UTC)),
        "before it starts",
    ),
    (lambda d: action(d, start=dt.date(2026, 5, 2), end=dt.date(2026, 5, 1)), "before it starts"),
    (lambda d: action(d, follows=[after("apples")]), "waits for itself"),
    (lambda d: action(d, follows=[after("bread")], excluded_by=[after("bread")]), "both follows and is excluded by"),
    (lambda d: action(d, follows=[after("breadd")]), "unknown action `breadd`: did you mean `bread`?"),
    (lambda d: action(d, follows=[after("bread", "opened")]), "unknown event `opened`"),
    (lambda d: action(d, value=0.1, cost=0.2), "can never win: at best its priority is -0.1 USD"),
    (lambda d: action(d, value=0.0), "can never win"),
    (
        lambda d: content(d, "{{ customer.weather }}"),
        "nobody supplies `customer.weather`: did you mean `context.weather`?",
    ),
    (lambda d: content(d, "{{ customer.name }}"), "nobody supplies `customer.name`"),
    (lambda d: content(d, "{{ action.name"), "not Liquid"),
    (lambda d: content(d, "{{ action.name | times: 1000 | shout }}"), "unknown filter `shout`"),
    (
        lambda d: content(d, "{% if customer.visits > 5 %}{% assign x = 1 %}{% endif %}{{ x }}"),
        "'x' is undefined: give it a value",
    ),
    (lambda d: d["placements"]["placements"][0]["fallback"]["content"].clear(), "has no `headline`, which its"),
    (lambda d: quiet(d, "08:00", "08:00"), "is no time or all day"),
    (lambda d: quiet(d, "00:00", "23:59"), "is no time or all day"),
    (lambda d: rules(d, {"limit": 2}, {"limit": 3}), "`rule_1` can never bind: `rule_0` counts all"),
    (lambda d: rules(d, {"limit": 2}, {"limit": 2}), "`rule_1` can never bind"),
    (lambda d: rules(d, {"scope": "channel", "limit": 3}, {"window_hours": 48}), "`rule_0` can never bind"),
    (lambda d: rules(d, {"scope": "group"}, {"scope": "action", "only": ["apples"]}), "`rule_1` can never bind"),
    (lambda d: rules(d, {"scope": "group", "only": ["food"]}, {"scope": "action", "only": ["apples"]}), "`rule_1` can"),
    (lambda d: rules(d, {"count": "opened"}), "unknown event `opened`"),
    (lambda d: d["contact_policy"].update(binds=["mandatory"]), "no action is mandatory: rules and suppressions hold"),
    (unbound, "is of group `gifts`"),
    (lambda d: pause(d, outcome="opened"), "unknown outcome `opened`"),
    (lambda d: pause(d, scope="group", only=["toys"]), "unknown group `toys`"),
    (lambda d: pause(d, id="one_mail"), "`one_mail` is there already"),
    (lambda d: d["contact_policy"].update(time_zone={"default": "../etc"}), "there is no time zone `../etc`"),
    (lambda d: d["contact_policy"].update(time_zone={"feature": "zone"}), "unknown feature `zone`"),
    (lambda d: d["contact_policy"].update(time_zone={"feature": "visits"}), "a zone is text"),
    (lambda d: d["arbitration"].update(formula="value > cost"), "not a number"),
    (lambda d: d["arbitration"].update(formula="valeu"), "did you mean `value`?"),
    (lambda d: explore(d, strategy="greedy", epsilon=0.1), "`epsilon` belongs to the strategy epsilon"),
    (lambda d: explore(d, strategy="epsilon", epsilon=0.1, gamma=3.0), "`gamma` belongs to the strategy inverse_gap"),
    (lambda d: explore(d, strategy="epsilon"), "epsilon 0 tries nothing"),
    (lambda d: explore(d, strategy="greedy", floor=0.1), "greedy always takes the best"),
    (lambda d: d["arbitration"].update(learning={"features": [{"name": "weather"}]}), "corrected by numbers"),
    (lambda d: d["arbitration"].update(learning={"features": [{"name": "visits"}] * 2}), "`visits` is there already"),
    (lambda d: experiments(d, control={"percent": 100.0}), "nothing is ever decided"),
    (
        lambda d: experiments(
            d, challengers=[{"id": f"c{n}", "percent": 51, "changes": {"levers": {"bread": 1}}} for n in (1, 2)]
        ),
        "have 102 per cent",
    ),
    (lambda d: experiments(d, rollouts=[{"id": "slow", "percent": 5, "actions": ["bred"]}]), "did you mean `bread`?"),
    (
        lambda d: experiments(
            d, shadows=[{"id": "universal_control", "changes": {"levers": {"bread": 1}}}], control={"percent": 1}
        ),
        "is there already",
    ),
]


@pytest.mark.parametrize(("edit", "message"), MISTAKES)
def test_a_mistake(document: dict[str, Any], edit: Edit, message: str) -> None:
    """A policy that is right but for one thing has that one problem."""
    edit(document)
    [(level, _, said)] = found(document)
    assert level == "error"
    assert message in said


def test_an_action_that_waits_in_a_circle(document: dict[str, Any]) -> None:
    """Each of two that wait for one another is named; and so is a third that waits for them."""
    for index, other in enumerate(("bread", "apples", "bread")):
        document["actions"]["actions"][index]["follows"] = [after(other)]
    assert [rule for _, rule, _ in found(document)] == ["policy-unreachable"] * 3


WARNINGS: list[tuple[Edit, str]] = [
    (lambda d: action(d, end=dt.date(2026, 2, 28)), "ended on 2026-02-28"),
    (lambda d: action(d, lever=0.0), "can never win"),
    (lambda d: experiments(d, rollouts=[{"id": "slow", "percent": 0, "actions": ["bread"]}]), "concerns nobody yet"),
    (lambda d: experiments(d, shadows=[{"id": "same", "changes": {}}]), "changes nothing"),
    (
        lambda d: d["arbitration"].update(learning={"rewards": {"redemption": 0, "conversion": 0}}),
        "no answer is worth anything",
    ),
    (lambda d: d["actions"]["actions"][0]["treatments"][0]["content"].update(image="a.png"), "which some of its"),
]


@pytest.mark.parametrize(("edit", "message"), WARNINGS)
def test_what_is_odd_and_not_wrong(document: dict[str, Any], edit: Edit, message: str) -> None:
    """It may be meant so, and does not keep a policy from going live."""
    edit(document)
    [(level, _, said)] = found(document)
    assert level == "warning"
    assert message in said


def test_the_last_day_is_in_the_policys_zone(document: dict[str, Any]) -> None:
    """An action of one day is one day long."""
    action(document, start=dt.datetime(2026, 4, 1, 22, tzinfo=dt.UTC), end=dt.date(2026, 4, 1))
    document["contact_policy"]["time_zone"] = {"default": "America/New_York"}
    assert found(document) == []
    document["contact_policy"]["time_zone"] = {"default": "Europe/Berlin"}
    assert [rule for _, rule, _ in found(document)] == ["policy-dates"]


def test_without_contracts_events_are_anybodys(document: dict[str, Any]) -> None:
    """What is not known cannot be wrong."""
    rules(document, {"count": "opened"})
    assert check(PolicyDocument.model_validate(document)) == []


def test_a_long_chain_of_actions_is_checked_soon(document: dict[str, Any]) -> None:
    """Two thousand actions that each follow the one before take less than a second, not half a minute."""
    first = document["actions"]["actions"][0]
    document["actions"]["actions"] = [
        first | {"id": f"a{number}", "follows": [after(f"a{number - 1}")] if number else []} for number in range(2_000)
    ]
    subject = Subject(policy=PolicyDocument.model_validate(document))
    began = time.perf_counter()
    assert list(reach.sequences(subject)) == []
    assert time.perf_counter() - began < 5.0
