"""The projection of what became of contacts: the same whatever the order, and true to the decisions it is about."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.delays import SETTLED
from nextbest.envelope import Envelope
from nextbest.erasure import erasure
from nextbest.learning import Learned, Learning, projection_name
from nextbest.moments import to_microseconds
from nextbest.policy import Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.projection import Values
from nextbest.residual import Posteriors
from nextbest.situation import Models
from tests.contacts import ANSWERS, NOW, decided, told
from tests.nextbest.conftest import DOCUMENT, StandInModels

LEARNING = {"features": [{"name": "spend_91d", "scale": 50.0}], "delay_days": 2, "last_touch_hours": 24}


def learning_policy(**changes: Any) -> Policy:
    arbitration = DOCUMENT["arbitration"] | {"learning": LEARNING | changes}
    return compile_policy(PolicyDocument.model_validate(DOCUMENT | {"arbitration": arbitration}))


def folded(
    log: Sequence[Envelope], batches: Sequence[int] = (), policy: Policy | None = None, models: Models | None = None
) -> dict[str, str]:
    """What is kept after folding the log in batches that begin at these places."""
    learning = Learning(policy or learning_policy(), models or StandInModels())
    kept: dict[str, str] = {}

    async def read(keys: Sequence[str]) -> dict[str, str]:
        return {key: kept[key] for key in keys if key in kept}

    def write(values: Values) -> None:
        for key, value in values.items():
            if value is None:
                kept.pop(key, None)
            else:
                kept[key] = value

    places = sorted({0, *batches, len(log)})
    for begin, end in pairwise(places):
        write(asyncio.run(learning.fold(list(enumerate(log[begin:end], begin + 1)), read)))
    return kept


def learned(log: Sequence[Envelope], policy: Policy | None = None) -> Learned:
    return Learned.of(folded(log, policy=policy), policy or learning_policy())


def seen_and_answered(log: Sequence[Envelope], action: str = "apples") -> tuple[int, int]:
    """How many contacts with an action were seen, and how many answered."""
    sums = learned(log).tables.get(action, {}).values()
    return sum(each.seen for each in sums), sum(each.answered for each in sums)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def received(parts: tuple[list[tuple[Envelope, float]], bool]) -> list[Envelope]:
    """Records as they come, some of them days late: in order of that, or of nothing."""
    log = [msgspec.structs.replace(each, received_at=each.occurred_at + hours(late)) for each, late in parts[0]]
    log = sorted(log, key=lambda each: each.received_at) if parts[1] else log
    return list({each.event_id: each for each in log}.values())


long = st.floats(0, 240).map(lambda count: NOW + hours(count))
moments = st.floats(0, 30).map(lambda count: NOW + hours(count))
decisions = st.builds(
    lambda number, at, actions, is_learned: decided(f"d{number}", at, actions, learning=is_learned),
    st.integers(0, 5),
    moments,
    st.lists(st.sampled_from(["apples", "bread", "do_nothing"]), min_size=1, max_size=3),
    st.sampled_from([True, True, False]),
)
words = st.builds(
    lambda kind, number, at, place: told(kind, f"d{number}", at, **place),
    st.sampled_from(["impression", "impression", *ANSWERS]),
    st.integers(0, 5),
    moments,
    st.sampled_from([{}, {"slot": 0}, {"slot": 1}, {"action": "apples"}, {"action": "bread"}]),
)
touches = st.builds(
    lambda kind, at, action: told(kind, None, at, action=action),
    st.sampled_from(ANSWERS),
    moments,
    st.sampled_from(["apples", "bread"]),
)
logs = st.tuples(
    st.lists(decisions, max_size=5, unique_by=lambda each: each.decision_id), st.lists(words | touches, max_size=25)
).map(lambda parts: list({each.event_id: each for each in [*parts[0], *parts[1]]}.values()))

ever = st.one_of(
    st.builds(lambda word, at: msgspec.structs.replace(word, occurred_at=at), words | touches, long),
    st.builds(decided, st.sampled_from([f"d{number}" for number in range(6)]), long, st.just(["apples", "bread"])),
    st.builds(lambda number, at: erasure(f"e{number}", "c0", at, ["c0", "c1"]), st.integers(0, 9), long),
)
late = st.sampled_from([0.0, 0.0, 0.0, 30.0, 80.0]) | st.floats(0, 100)
long_logs = st.tuples(st.lists(st.tuples(ever, late), max_size=50), st.booleans()).map(received)


@settings(max_examples=300)
@given(logs, st.randoms(use_true_random=False), st.lists(st.integers(0, 30), max_size=6))
def test_order_and_batches_do_not_matter(log: list[Envelope], chance: Random, batches: list[int]) -> None:
    """Records in another order, and in other batches, leave every value as it is, to the last bit."""
    shuffled = [*log]
    chance.shuffle(shuffled)
    assert folded(shuffled, [each for each in batches if each < len(log)]) == folded(log)


@settings(max_examples=300)
@given(long_logs, st.lists(st.integers(0, 50), max_size=8))
def test_how_the_log_is_cut_does_not_matter(log: list[Envelope], batches: list[int]) -> None:
    """Over more time than answers have, whatever comes late, in whatever order: to the last bit."""
    assert folded(log, [each for each in batches if each < len(log)]) == folded(log)


@settings(max_examples=100)
@given(logs, st.lists(st.integers(0, 30), max_size=6))
def test_what_is_over_is_kept_as_sums_alone(log: list[Envelope], batches: list[int]) -> None:
    """Once the log is a month further nothing is pending, and what was learned is what it was."""
    log = sorted(log, key=lambda each: each.received_at)
    later = told("login", None, NOW + timedelta(days=30))
    ends = [each for each in batches if each < len(log)]
    before, after = learned(log), folded([*log, later], [*ends, len(log)])
    assert {key.partition("/")[0] for key in after} <= {"clock", "agenda", "unlearned", "delays", "s"}
    now, kept = to_microseconds(later.received_at), Learned.of(after, learning_policy())
    assert all({*table} == {SETTLED} for table in kept.tables.values())
    assert said_at(now, kept) == said_at(now, before)
    assert kept.unlearned == before.unlearned


def said_at(now: int, kept: Learned) -> dict[str, list[list[float]]]:
    """All that is known of each action."""
    told_ = kept.statistics(learning_policy().arbitration.rewards, now)
    return {
        action: [[each.seen, each.answered], each.observed.tolist(), each.expected.tolist(), each.information.tolist()]
        for action, each in told_.items()
    }


@settings(max_examples=50)
@given(logs, st.randoms(use_true_random=False))
def test_what_is_believed_is_the_same_to_the_last_bit(log: list[Envelope], chance: Random) -> None:
    """Whatever the order in which the log says it."""
    policy, x = learning_policy(), np.array([1.0, 0.7])
    shuffled = [*log]
    chance.shuffle(shuffled)
    found = []
    for each in (log, shuffled):
        statistics = learned(each).statistics(policy.arbitration.rewards, to_microseconds(NOW + hours(31)))
        mean, variance = Posteriors(policy.roll, [], 0.5, 2, statistics).of(policy.roll, x)
        found.append((mean.tolist(), variance.tolist()))
    assert found[0] == found[1]


def test_a_contact_counts_once_seen() -> None:
    """Silence and answers of what was seen; an answer without an impression teaches nothing, and is counted."""
    seen, click, bought = (told(kind, "d1", NOW) for kind in ("impression", "click", "conversion"))
    assert seen_and_answered([decided("d1")]) == (0, 0)
    assert seen_and_answered([decided("d1"), bought]) == (0, 0)
    assert seen_and_answered([decided("d1"), seen, click]) == (1, 0)
    assert seen_and_answered([decided("d1"), seen, click, bought]) == (1, 1)
    assert learned([decided("d1"), bought, click]).unlearned == {"unseen": 2}


@pytest.mark.parametrize(
    "fields", [{"learning": False}, {"mode": "batch"}, {"mode": "dry_run"}, {"tier": "reduced", "learning": False}]
)
def test_nothing_is_learned_from_decisions_that_are_not_for_it(fields: dict[str, Any]) -> None:
    """The control, what asked no model, and what was not live."""
    log = [decided("d1", **fields), told("impression", "d1", NOW), told("click", "d1", NOW)]
    assert seen_and_answered(log) == (0, 0)
    assert learned(log).unlearned == {"not_for_learning": 1}


def test_nothing_is_learned_from_a_shadow_or_from_records_that_say_so() -> None:
    """A shadow was never shown; what is marked `learning: false` is no answer."""
    shadow = decided("s1", mode="shadow")
    assert folded([shadow]).keys() == {"clock", "agenda"}
    marked = msgspec.structs.replace(told("conversion", "d1", NOW), learning=False)
    assert seen_and_answered([decided("d1"), told("impression", "d1", NOW), marked]) == (1, 0)


def test_an_answer_that_names_no_decision_falls_to_the_last_touch() -> None:
    """To the contact with the action that the customer saw last before it, inside the policy's window."""
    log = [
        decided("d1"),
        decided("d2", NOW + hours(2)),
        told("impression", "d1", NOW),
        told("impression", "d2", NOW + hours(2)),
        told("redemption", None, NOW + hours(1), action="apples"),
        told("dismissal", None, NOW + hours(3), action="apples"),
        told("redemption", None, NOW + hours(3), customer="c2", action="apples"),
        told("redemption", None, NOW + hours(30), action="apples"),
    ]
    kept = learned(log)
    seen, answered = seen_and_answered(log)
    assert (seen, answered, kept.unlearned) == (2, 1, {"untouched": 2})
    rewards = sorted(each.surplus[0] / (1 << 24) for each in kept.tables["apples"].values())
    assert rewards == [-0.5, 1.0]


def test_a_customer_who_is_forgotten_is_not_pending() -> None:
    """As if nothing of theirs had come; what others said stays."""
    mine = [decided("d1"), told("impression", "d1", NOW), told("redemption", None, NOW, action="apples")]
    others = [decided("d2", customer_id="c2"), told("impression", "d2", NOW, customer="c2")]
    forgotten = erasure("e1", "c0", NOW + hours(1), ["c0", "c1"])
    assert folded([*mine, *others, forgotten]) == folded([*others, forgotten])
    assert folded([*mine, *others, forgotten], [1, 2, 5]) == folded([*others, forgotten])
    assert "c1" not in str(folded([*mine, *others, forgotten]))


def test_decisions_of_other_models_are_scored_again() -> None:
    """Sums are of one model set: what it made of the customer then, or what it would have."""
    of_set = StandInModels().model_set.id
    own, other = ([decided("d1", model_set_id=each), told("impression", "d1", NOW)] for each in (of_set, "older"))
    [[mine], [its]] = [[*learned(log).tables["apples"].values()] for log in (own, other)]
    assert [each.predicted[0] / (1 << 24) for each in (mine, its)] == pytest.approx([0.5, 0.1])


def test_a_new_action_is_corrected_from_its_start(document: dict[str, Any]) -> None:
    """Until a model knows it, what the policy says is what is corrected, whatever it said earlier."""
    document["actions"]["actions"][0]["starting"] = {"propensity": 0.2, "evidence": 50}
    document["arbitration"]["learning"] = LEARNING
    policy = compile_policy(PolicyDocument.model_validate(document))
    [sums] = learned([decided("d1"), told("impression", "d1", NOW)], policy).tables["apples"].values()
    assert sums.predicted[0] / (1 << 24) == pytest.approx(0.2)


def test_a_projection_is_of_what_is_learned() -> None:
    """Another worth, delay, feature or model set is another projection; another prior is not."""
    changes: list[dict[str, Any]] = [
        {},
        {"rewards": {"click": 0.1}},
        {"delay_days": 3},
        {"last_touch_hours": 1},
        {"default": 0.1},
        {"features": []},
    ]
    names = [projection_name(learning_policy(**each), "m") for each in changes]
    assert len({*names, projection_name(learning_policy(), "other")}) == len(names) + 1
    assert projection_name(learning_policy(prior_sd=1.0), "m") == names[0]


def test_a_projection_is_of_the_actions_there_are(document: dict[str, Any]) -> None:
    """One that comes, goes or changes what models are told of it may be scored otherwise; a lever changes no score."""

    def name() -> str:
        return projection_name(compile_policy(PolicyDocument.model_validate(document)), "m")

    first, actions = name(), document["actions"]["actions"]
    actions[0]["lever"] = 150.0
    assert name() == first
    actions[0]["attributes"] = {"size": 3.0}
    second = name()
    actions.append(actions[0] | {"id": "pears"})
    assert len({first, second, name()}) == 3
