"""Evidence: sums that commute, and estimates that answers still to come do not bias."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.delays import SETTLED, Scale, delays
from nextbest.evidence import Additions, Sums, counted, statistics, summed
from nextbest.market import Market
from nextbest.moments import to_microseconds
from nextbest.policy import Rewards
from nextbest.rewards import Contact, Pending, Said, Trial
from tests.contacts import NOW

DAY = timedelta(days=1)
DAY_US = DAY // timedelta(microseconds=1)
MINUTE_US = 60_000_000
REWARDS = Rewards(
    worth={"click": 0.0, "redemption": 1.0, "dismissal": -0.5, "unsubscribe": -1.0},
    default=0.0,
    delay=14 * DAY,
    last_touch=3 * DAY,
)
UNKNOWN = delays({}, Scale.of(14 * DAY), 0)
SHOPPER = {"category_spend_182d__cheese": 60.0, "response_rate_364d": 0.1, "recency_days": 2.0}
numbers = st.floats(-3.0, 3.0)
contacts = st.builds(
    lambda x, p, reward: Contact(Trial(0, "cheese", (1.0, x), p), 0, reward, ()),
    numbers,
    st.floats(0.001, 0.999),
    st.none() | st.floats(-1.0, 1.0),
)


@given(st.lists(contacts, min_size=1, max_size=30), st.randoms())
def test_sums_do_not_depend_on_their_order(given_: list[Contact], chance: object) -> None:
    """To the last bit; and what is taken out again was never there."""
    sums = [Sums.of(each, 0.0) for each in given_]
    total = sum_of(sums)
    chance.shuffle(sums)  # type: ignore[attr-defined]
    assert sum_of(sums) == total
    for each in sums:
        total = total.plus(each, -1)
    assert total == Sums.nothing(2)


def sum_of(sums: list[Sums]) -> Sums:
    total = Sums.nothing(2)
    for each in sums:
        total = total.plus(each)
    return total


def test_of_settled_contacts_the_statistics_are_the_sums() -> None:
    """Weights, what the model expected, and what came of it."""
    table = {SETTLED: sum_of([Sums.of(Contact(Trial(0, "a", (1.0, 2.0), 0.5), 0, r, ()), 0.0) for r in (1.0, None)])}
    found = statistics(table, UNKNOWN, 0, 0.0)
    assert found is not None
    assert (found.seen, found.effective) == (2, 2.0)
    assert found.observed.tolist() == [1.0, 2.0]
    assert found.expected.tolist() == [1.0, 2.0]
    assert found.information.tolist() == [[0.5, 1.0], [1.0, 2.0]]
    assert statistics({}, UNKNOWN, 0, 0.0) is None


def test_what_silence_is_worth_counts_for_those_who_had_time() -> None:
    """With a default of 0.2, a contact that is settled without an answer is worth 0.2, and one with an answer 1."""
    contacts = [Contact(Trial(0, "a", (1.0,), 0.5), 0, reward, ()) for reward in (1.0, None, None)]
    total = Sums.nothing(1)
    for each in contacts:
        total = total.plus(Sums.of(each, 0.2))
    found = statistics({SETTLED: total}, UNKNOWN, 0, 0.2)
    assert found is not None
    assert found.observed[0] == pytest.approx(1.4, abs=1e-6)


def test_tables_are_summed_and_lose_what_is_nothing() -> None:
    """A cohort whose contacts have all moved on is gone."""
    one = Sums.of(Contact(Trial(0, "a", (1.0,), 0.5), 0, 1.0, ((5, 1.0),)), 0.0)
    assert summed({"1": one}, {"1": Sums.nothing(1).plus(one, -1), "": one}) == {"": one}
    assert counted({"1": [1, 0]}, {"1": [-1, 0]}) == {}


def estimated(seed: int, days: float, contacts: int = 1_500) -> tuple[float, float, float]:
    """Of a market whose redemptions take four days in the mean: the rate as estimated, counted, and in truth.

    Args:
        seed: Of the market.
        days: How long contacts have been made, evenly, until now.
        contacts: How many.

    """
    market, chance = Market(seed, takes=4 * DAY), np.random.default_rng(seed)
    added, truths = Additions(REWARDS), []
    for number, age in enumerate(chance.uniform(0.0, days, contacts).tolist()):
        at = NOW - age * DAY
        decision = {"decision_id": f"d{number}", "slot": 0, "customer_id": f"c{number}", "channel": "web"}
        decision |= {"action": "cheese", "treatment": "cheese", "value": 1.0, "currency": "USD"}
        pending = Pending(decided=to_microseconds(at), is_learned=True, trials=(Trial(0, "cheese", (1.0,), 0.1),))
        for _, row in market.answer(decision, SHOPPER, at):
            kind = row.get("type") or row["kind"]
            if row["occurred_at"] <= NOW and kind in {"impression", "redemption"}:
                pending.hear(Said(kind, to_microseconds(row["occurred_at"]), "d", "0", None, None))
        if pending.said:
            truths.append(market.truth(f"c{number}", SHOPPER, "cheese"))
            added.add(pending, 1)
    now = to_microseconds(NOW)
    known, table = delays(added.delays, Scale.of(14 * DAY), now), added.tables["cheese"]
    found = statistics(table, known, now, 0.0)
    assert found is not None
    in_time = 1.0 - np.exp(-14.0 / 4.0)
    return found.observed[0] / found.effective, found.answered / found.seen, float(np.mean(truths)) * in_time


def test_late_answers_do_not_bias_the_rate() -> None:
    """Over many markets the estimate is the truth up to its own error; a window that counts silence as no is below."""
    found = np.array([estimated(seed, 21.0) for seed in range(40)])
    rate, windowed = (found[:, column] / found[:, 2] - 1.0 for column in (0, 1))
    error = [each.std(ddof=1) / np.sqrt(len(found)) for each in (rate, windowed)]
    assert abs(rate.mean()) < 2.5 * error[0]
    assert windowed.mean() < -0.1 < -10.0 * error[1]


def of_clicks_and_redemptions(seed: int, click: float) -> tuple[float, float]:
    """The mean reward as estimated and in truth of an action that is new, beside one that is known for weeks.

    A tenth of the contacts are clicked within minutes; of these a third are redeemed, four days later in the mean.

    Args:
        seed: Of chance.
        click: What one is worth.

    """
    rewards, chance = replace(REWARDS, worth={"click": click, "redemption": 1.0}), np.random.default_rng(seed)
    added, truths, now = Additions(rewards), [], to_microseconds(NOW)
    for number in range(6_000):
        action, days = ("cheese", 3.0) if number % 3 == 0 else ("bread", 42.0)
        seen, worth = now - int(chance.uniform(0.0, days) * DAY_US), 0.0
        pending = Pending(decided=seen, is_learned=True, trials=(Trial(0, action, (1.0,), 0.05),))
        answers = {"impression": seen}
        if chance.random() < 0.1:
            answers["click"], worth = seen + int(chance.exponential(DAY_US / 1440)), click
            took = chance.exponential(4.0)
            if chance.random() < 0.33 and took <= 14.0:
                answers["redemption"], worth = seen + int(took * DAY_US), 1.0
        for kind, at in answers.items():
            if at <= now:
                pending.hear(Said(kind, at, "d", "0", None, None))
        added.add(pending, 1)
        truths += [worth] if action == "cheese" else []
    known, table = delays(added.delays, Scale.of(14 * DAY), now), added.tables["cheese"]
    found = statistics(table, known, now, 0.0)
    assert found is not None
    return found.mean_reward, float(np.mean(truths))


@pytest.mark.parametrize("phase", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("minutes", [3, 20, 60, 400])
def test_what_is_sent_to_many_at_once_is_as_old_as_it_is(phase: float, minutes: int) -> None:
    """Whatever part of a cohort's time it was sent in, and however old others of that time are."""
    scale, added, chance = Scale.of(14 * DAY), Additions(REWARDS), np.random.default_rng(3)
    sent = (to_microseconds(NOW) // scale.width + phase) * scale.width
    now = int(sent + minutes * MINUTE_US)
    ages = [*chance.uniform(now - sent, 30 * DAY_US, 6_000), *(now - sent + chance.uniform(0.0, MINUTE_US, 3_000))]
    for number, age in enumerate(ages):
        action = "bread" if number < 6_000 else "mail"
        pending = Pending(decided=now, is_learned=True, trials=(Trial(0, action, (1.0,), 0.05),))
        pending.said["0"] = {"impression": now - int(age)}
        took = chance.exponential(30 * MINUTE_US)
        if chance.random() < 0.3 and took <= age:
            pending.said["0"]["redemption"] = now - int(age - took)
        added.add(pending, 1)
    found = statistics(added.tables["mail"], delays(added.delays, scale, now), now, 0.0)
    assert found is not None
    assert found.mean_reward == pytest.approx(0.3, rel=0.2)


@pytest.mark.parametrize("click", [0.0, 0.1, 0.3])
def test_an_early_answer_that_is_worth_little_does_not_stand_for_the_late_one(click: float) -> None:
    """Where a click is worth something too, the redemptions that follow some of them are still expected."""
    found = np.array([of_clicks_and_redemptions(seed, click) for seed in range(12)])
    off = found[:, 0] / found[:, 1].mean() - 1.0
    assert abs(off.mean()) < 2.5 * off.std(ddof=1) / np.sqrt(len(off))
