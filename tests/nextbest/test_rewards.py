"""Rewards: what is an answer, whose it is, and what the answers to a contact are worth."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.moments import to_microseconds
from nextbest.policy import Rewards
from nextbest.rewards import Pending, Said, Trial, said
from tests.contacts import ANSWERS, NOW, decided, told

WORTH = {"click": 0.1, "conversion": 0.6, "redemption": 1.0, "dismissal": -0.5, "unsubscribe": -1.0}
REWARDS = Rewards(worth=WORTH, default=0.0, delay=timedelta(days=2), last_touch=timedelta(hours=24))
AT = to_microseconds(NOW)
HOUR = 3_600_000_000
TRIALS = (Trial(0, "apples", (1.0,), 0.1), Trial(1, "bread", (1.0,), 0.1), Trial(2, "apples", (1.0,), 0.1))


def pending(*words: tuple[str, str, int], trials: tuple[Trial, ...] = TRIALS) -> Pending:
    """A decision at the hour 0 of which this was said: what, of what, in which hour."""
    decision = Pending(customer="c1", decided=AT, is_learned=True, trials=trials)
    for kind, target, hour in words:
        decision.hear(Said(kind, AT + hour * HOUR, "d1", target, None, "c1"))
    return decision


def reward(*answers: tuple[str, int]) -> float | None:
    """Of a contact that was seen in the hour 0."""
    decision = pending(("impression", "0", 0), *((kind, "0", hour) for kind, hour in answers))
    [contact] = decision.contacts(REWARDS)
    return contact.reward


def test_what_is_said() -> None:
    """An impression and answers, by the decision they name or by customer and action; everything else says nothing."""
    assert said(told("impression", "d1", NOW, slot=1), REWARDS) == Said("impression", AT, "d1", "1", None, "c1")
    assert said(told("click", "d1", NOW, action="bread"), REWARDS) == Said("click", AT, "d1", "bread", "bread", "c1")
    assert said(told("click", None, NOW, action="bread"), REWARDS) == Said("click", AT, None, "bread", "bread", "c1")
    for other in (told("click", None, NOW), told("page_view", "d1", NOW), told("impression", None, NOW), decided("d1")):
        assert said(other, REWARDS) is None


@pytest.mark.parametrize(
    ("answers", "worth"),
    [
        ((), None),
        ((("click", 1),), 0.1),
        ((("click", 1), ("redemption", 3)), 1.0),
        ((("click", 1), ("dismissal", 2)), -0.4),
        ((("dismissal", 1), ("unsubscribe", 1)), -1.0),
        ((("redemption", 1), ("unsubscribe", 1)), 0.0),
        ((("redemption", 48),), 1.0),
        ((("redemption", 49),), None),
        ((("redemption", -1),), 1.0),
    ],
)
def test_a_contact_is_worth_its_best_and_its_worst_answer(answers: tuple[tuple[str, int], ...], worth: float) -> None:
    """Each kind once, inside the delay; a clock that is a little slow makes no answer late."""
    assert reward(*answers) == (None if worth is None else pytest.approx(worth))


def test_an_answer_brings_what_it_adds_to_the_best_so_far() -> None:
    """So that all of them together bring what the contact is worth, and one that is worth less brings nothing."""
    said_ = {"click": 1, "redemption": 30, "conversion": 40, "dismissal": 2}
    decision = pending(("impression", "0", 0), *((kind, "0", hour) for kind, hour in said_.items()))
    [contact] = decision.contacts(REWARDS)
    assert contact.gains == ((HOUR, 0.1), (30 * HOUR, 0.9))
    [contact] = decision.contacts(replace(REWARDS, default=0.5))
    assert contact.gains == ((30 * HOUR, 1.0),)


@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.integers(-5, 60)), max_size=8), st.randoms())
def test_a_reward_is_bounded_and_free_of_order(answers: list[tuple[str, int]], chance: object) -> None:
    """And saying it again changes nothing."""
    found = reward(*answers)
    assert found is None or -1.0 <= found <= 1.0
    chance.shuffle(answers)  # type: ignore[attr-defined]
    assert reward(*answers, *answers) == found


@pytest.mark.parametrize(
    ("target", "slot"), [("0", 0), ("2", 2), ("apples", 0), ("bread", 1), ("7", None), ("milk", None), ("", None)]
)
def test_an_answer_is_to_a_slot(target: str, slot: int | None) -> None:
    """By its number or its action, of several the first; one that names neither, of several slots, is to none."""
    assert pending(("impression", target, 0)).seen() == ({} if slot is None else {slot: AT})
    assert pending(("impression", "", 0), trials=TRIALS[:1]).seen() == {0: AT}


def test_what_teaches_nothing_is_counted_by_its_reason() -> None:
    """The first reason that holds, in an order that people can follow."""
    decision = pending(("click", "bread", 1), ("click", "milk", 1), ("impression", "0", 0), ("click", "0", 99))
    assert decision.unlearned(REWARDS) == {"unseen": 1, "elsewhere": 1, "late": 1}
    decision.is_learned = False
    assert decision.unlearned(REWARDS) == {"not_for_learning": 2, "elsewhere": 1}
    decision.decided = 0
    assert decision.unlearned(REWARDS) == {"no_decision": 3}
    assert pending(("impression", "0", 0), ("click", "0", 1)).unlearned(REWARDS) == {}
