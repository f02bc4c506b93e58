"""What changes between two policies: in words, everything, in the order of the policy."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.policy_diff import describe
from nextbest.policy_document import PolicyDocument
from nextbest.policy_parts import read_parts

Edit = Callable[[dict[str, Any]], object]


def _said(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [str(each) for each in describe(*(PolicyDocument.model_validate(each) for each in (before, after)))]


def _action(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["actions"]["actions"][0]
    return found


def _channel(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["placements"]["channels"][1]
    return found


def _experiment(document: dict[str, Any], **changes: Any) -> None:
    document["experiments"] = {"challengers": [{"id": "bold", "percent": 10, "changes": changes}]}


TWICE = "at most 2 impressions in 7 days of the same action"
NIGHT = {"start": "21:00", "end": "08:00"}
PAUSE = {"id": "tired", "scope": "channel", "only": ["email"], "outcome": "unsubscribe", "pause_days": 30}

CHANGES: list[tuple[Edit, list[str]]] = [
    (lambda d: _action(d).update(value=10.5), ["apples: value 10.00 → 10.50 USD"]),
    (lambda d: _action(d).update(cost=0.0072), ["apples: cost 0.10 → 0.0072 USD"]),
    (lambda d: _action(d).update(value="spend_91d * 0.1"), ["apples: value 10.00 → “spend_91d * 0.1” USD"]),
    (lambda d: _action(d).update(lever=150), ["apples: lever 100 → 150 %"]),
    (lambda d: _action(d).update(end="2026-03-31"), ["apples: end none → “2026-03-31”"]),
    (lambda d: _action(d).update(group="fruit"), ["apples: group “food” → “fruit”"]),
    (lambda d: _action(d).update({"class": "mandatory"}), ["apples: class “standard” → “mandatory”"]),
    (lambda d: _action(d).update(volume={"limit": 5, "per": "week"}), ["apples: volume none → at most 5 a week"]),
    (
        lambda d: _action(d).update(budget={"amount": 500, "per": "total"}),
        ["apples: budget none → at most 500.00 in total"],
    ),
    (
        lambda d: _action(d).update(starting={"propensity": 0.02}),
        ["apples: starting none → 2 % worth 100 answers"],
    ),
    (lambda d: _action(d).update(stock={}), ["apples: stock none → at least 1 by stock of the action itself"]),
    (lambda d: _action(d).update(attributes={"colour": "red"}), ["apples: attribute colour none → “red”"]),
    (
        lambda d: d["actions"]["actions"][2].update(eligibility=["spend_91d > 5.0"]),
        ["cheese: eligibility rule added: spend_91d > 5.0", "cheese: eligibility rule removed: spend_91d > 0.0"],
    ),
    (
        lambda d: _action(d).update(follows=[{"action": "bread", "within_hours": 48}]),
        ["apples: only after impression of bread within 2 days: added"],
    ),
    (
        lambda d: _action(d)["treatments"][0]["content"].update(headline="Fresh", text="Red"),
        ["apples: headline of apples_home “apples” → “Fresh”", "apples: text of apples_home none → “Red”"],
    ),
    (lambda d: _action(d)["treatments"].pop(), ["apples: treatment apples_mail is no longer shown in mail"]),
    (lambda d: d["actions"]["actions"].pop(), ["dates is no longer proposed"]),
    (
        lambda d: d["actions"]["actions"].reverse(),
        ["the order of actions actions changes: apples, bread, cheese and dates → dates, cheese, bread and apples"],
    ),
    (lambda d: d["actions"].update(currency="EUR"), ["amounts are in EUR, no longer in USD"]),
    (lambda d: _channel(d).update(quiet_hours=NIGHT), ["quiet hours of email: none → 21:00 to 08:00"]),
    (lambda d: _channel(d).update(cost=0.06), ["cost of email: 0.05 → 0.06 USD per contact"]),
    (lambda d: d["placements"]["channels"].append({"id": "push"}), ["channel push is new: cost 0"]),
    (lambda d: d["placements"]["placements"][0].update(slots=3), ["home: slots 2 → 3"]),
    (
        lambda d: d["placements"]["placements"][0]["fallback"]["content"].update(headline="Hello"),
        ["fallback of home: headline “Hi” → “Hello”"],
    ),
    (
        lambda d: d["contact_policy"]["rules"][0].update(limit=3),
        ["one_mail: at most 1 → 3 decisions in 1 day by email"],
    ),
    (
        lambda d: d["contact_policy"]["rules"][1].update(window_hours=36, scope="all"),
        [f"same_twice: {TWICE} → at most 2 impressions in 36 hours of all kinds"],
    ),
    (
        lambda d: d["contact_policy"]["rules"].pop(),
        [f"same_twice no longer holds: {TWICE}"],
    ),
    (
        lambda d: d["contact_policy"].update(suppressions=[PAUSE]),
        ["tired is new: after 1 unsubscribe in 1 day a pause of 30 days by email"],
    ),
    (
        lambda d: d["contact_policy"]["purposes"][0].update(regime="opt_out"),
        ["purpose marketing: silence means no → yes"],
    ),
    (
        lambda d: d["contact_policy"].update(binds=["standard", "mandatory"]),
        ["contact rules now bind mandatory actions"],
    ),
    (
        lambda d: d["contact_policy"].update(time_zone={"default": "Europe/Berlin"}),
        ["time zone default: “UTC” → “Europe/Berlin”"],
    ),
    (
        lambda d: d["arbitration"].update(exploration={"strategy": "inverse_gap", "gamma": 200}),
        ["exploration: epsilon 20 % → inverse gap (gamma 200)"],
    ),
    (
        lambda d: d["arbitration"].update(exploration={"strategy": "thompson", "floor": 0.01}),
        ["exploration: epsilon 20 % → thompson (floor 1 %)"],
    ),
    (lambda d: d["arbitration"].update(do_nothing_threshold=0.05), ["doing nothing counts 0.00 → 0.05 USD"]),
    (lambda d: d["arbitration"].update(formula={"use_cost": False}), ["formula use cost: yes → no"]),
    (
        lambda d: d["arbitration"].update(formula={"use_uplift": True}),
        ["only responses an action causes count: no → yes"],
    ),
    (
        lambda d: d["arbitration"].update(
            learning={"rewards": {"unsubscribe": -0.5}, "default": 0.1, "delay_days": 7, "last_touch_hours": 5}
        ),
        [
            "an unsubscribe is worth -1 → -0.5 of a full response",
            "a contact that is not answered is worth 0 → 0.1",
            "answers count for 14 → 7 days",
            "an answer that names no decision counts for what was seen in the last 3 days → 5 hours",
        ],
    ),
    (lambda d: d["arbitration"].update(salt="other"), ["salt: “test” → “other”"]),
    (
        lambda d: d.update(experiments={"control": {"percent": 5}}),
        ["universal control: none → 5 % of customers (universal_control)"],
    ),
    (
        lambda d: _experiment(d, levers={"bread": 200}),
        ["challenger bold is new: percent 10, changes levers bread 200"],
    ),
    (lambda d: d["features"]["features"].pop(), ["feature weather is gone"]),
    (
        lambda d: d["features"]["features"][2].update(origin="signal", signal="sky", key="here"),
        [
            "features weather origin: “context” → “signal”",
            "features weather signal: none → “sky”",
            "features weather key: none → “here”",
        ],
    ),
    (lambda d: d["features"]["features"][0].update(default=True), ["features spend 91d default: none → yes"]),
]


@pytest.mark.parametrize(("edit", "said"), CHANGES)
def test_words(document: dict[str, Any], edit: Edit, said: list[str]) -> None:
    """Each change in the words of the people who make it, and nothing else."""
    after = deepcopy(document)
    edit(after)
    assert _said(document, after) == said


def test_a_new_action(document: dict[str, Any]) -> None:
    """Where it belongs and where it shows."""
    after = deepcopy(document)
    before = deepcopy(document)
    before["actions"]["actions"].pop(2)
    assert _said(before, after) == ["cheese is new (group dairy, for home and mail)"]


def test_nothing_changes(document: dict[str, Any]) -> None:
    """What is written out as its default is the same as left out, and the order of keys says nothing."""
    after = {name: document[name] for name in reversed(document)}
    _action(after)["lever"] = 100
    assert _said(document, after) == []


def test_the_order_is_that_of_the_policy(document: dict[str, Any]) -> None:
    """File by file, whatever was edited first."""
    after = deepcopy(document)
    after["arbitration"]["salt"] = "other"
    after["contact_policy"]["reservation_minutes"] = 10
    _action(after)["lever"] = 50
    assert [each.place[0] for each in describe(*map(PolicyDocument.model_validate, (document, after)))] == [
        "actions",
        "contact_policy",
        "arbitration",
    ]


OTHERS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 0.5, 1, 2.0, "red", "spend_91d", "opt_out", "group", "07:30", [], ["red"], {}]
)


@settings(max_examples=200)
@given(data=st.data())
def test_no_change_is_silent(contents: Callable[[], dict[str, Any]], data: st.DataObject) -> None:
    """Another value of any one field, wherever it makes another policy, is at least one line that is not empty."""
    before, after = contents(), contents()
    around: Any = after
    while True:
        key = data.draw(st.sampled_from(sorted(around) if isinstance(around, dict) else range(len(around))))
        if not isinstance(around[key], dict | list) or not around[key]:
            break
        around = around[key]
    around[key] = data.draw(OTHERS)
    parts = read_parts(after)
    old = PolicyDocument.model_validate(before)
    changes = describe(old, parts.document)
    is_same = parts.document.model_dump_json() == old.model_dump_json()
    assert bool(changes) is not is_same
    assert all(str(each) for each in changes)
