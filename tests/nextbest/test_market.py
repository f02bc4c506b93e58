import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.adapters.contract_files import load_contracts
from nextbest.market import Answer, Market
from nextbest.settings import CHECKOUT
from nextbest.validation import validate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LOYAL = {"category_spend_182d__cheese": 120.0, "response_rate_364d": 0.1, "recency_days": 2.0}


def decision(number: int = 0, action: str = "cheese", channel: str = "web") -> dict[str, Any]:
    return {
        "decision_id": f"d-{number}",
        "slot": 0,
        "customer_id": "1029",
        "channel": channel,
        "action": action,
        "treatment": f"{action}_home",
        "value": 7.5,
        "currency": "USD",
    }


def answers(count: int, market: Market) -> list[Answer]:
    return [answer for number in range(count) for answer in market.answer(decision(number), LOYAL, NOW)]


def weeks(count: int, market: Market) -> list[Answer]:
    since = [NOW + timedelta(weeks=number) for number in range(count)]
    return [answer for each in since for answer in market.week("1029", LOYAL, ["beef", "cheese"], each)]


def test_the_same_seed_and_decision_get_the_same_answer() -> None:
    """A demo that is run again meets the same customers; another seed meets others."""
    assert answers(50, Market(7)) == answers(50, Market(7))
    assert answers(50, Market(7)) != answers(50, Market(8))


def test_answers_are_rows_of_their_contracts() -> None:
    """What the market says comes in through the same door as everything else."""
    contracts = load_contracts(CHECKOUT / "data_contracts")
    found = [*answers(300, Market(7)), *weeks(300, Market(7))]

    assert {answer.contract for answer in found} == {"events", "outcomes"}
    for name in ("events", "outcomes"):
        rows = [answer.row for answer in found if answer.contract == name]
        table = pa.Table.from_pylist(rows, schema=contracts[name].schema)
        unsaid = {"name", "value"} if name == "events" else {"received_at"}
        assert set(rows[0]) == {field.name for field in contracts[name].fields} - unsaid
        assert validate(contracts[name], table).valid.num_rows == len(rows)


def test_doing_nothing_is_seen_by_nobody() -> None:
    """There is no impression of nothing, and no outcome of it."""
    market = Market(7)

    assert market.truth("1029", LOYAL, "do_nothing") == 0.0
    assert all(not market.answer(decision(number, "do_nothing"), LOYAL, NOW) for number in range(100))


def test_redemptions_follow_the_truth() -> None:
    """Of those who saw the offer, the share that redeems is the known probability, within four standard errors."""
    market = Market(7)
    truth = market.truth("1029", LOYAL, "cheese")
    counts = Counter(answer.row.get("type") or answer.row["kind"] for answer in answers(10_000, market))

    seen = counts["impression"]
    assert seen == pytest.approx(9_000, rel=0.02)
    assert counts["redemption"] / seen == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / seen))
    assert counts["impression"] > counts["click"] > counts["redemption"] > 0
    assert counts["dismissal"] / (seen - counts["click"]) == pytest.approx(0.02, abs=0.006)


def test_who_is_tired_of_e_mail_unsubscribes() -> None:
    """Only an e-mail is unsubscribed from, by few, and never after a click."""
    market = Market(7)
    mails = [market.answer(decision(number, channel="email"), LOYAL, NOW) for number in range(20_000)]
    kinds = [[answer.row.get("type") or answer.row["kind"] for answer in mail] for mail in mails]
    assert 0 < sum("unsubscribe" in each for each in kinds) < 60
    assert not any({"unsubscribe", "click"} <= set(each) for each in kinds)
    assert not any("unsubscribe" in answer.row.values() for answer in answers(20_000, market))


def test_answers_come_in_order_and_in_time() -> None:
    """An impression comes before its click, a click before its redemption, all within the promised time."""
    market = Market(7, within=timedelta(minutes=1))

    for number in range(300):
        times = [answer.row["occurred_at"] for answer in market.answer(decision(number), LOYAL, NOW)]
        assert times == sorted(times)
        assert all(NOW <= time <= NOW + timedelta(minutes=1) for time in times)


@given(
    st.integers(),
    st.text(max_size=8),
    st.fixed_dictionaries(
        {},
        optional={
            "category_spend_182d__cheese": st.none() | st.floats(0, 1e6),
            "response_rate_364d": st.none() | st.floats(0, 1),
            "recency_days": st.none() | st.floats(0, 9999),
        },
    ),
)
def test_the_truth_is_a_probability(seed: int, customer: str, features: dict[str, float | None]) -> None:
    """Whatever is known of a customer, and however little."""
    assert 0 < Market(seed).truth(customer, features, "cheese") < 1


@given(st.integers(0, 2**31), st.floats(0, 1e4), st.floats(0, 1e4))
def test_spending_more_in_a_category_makes_its_coupon_more_likely(seed: int, spend: float, more: float) -> None:
    """A model can learn from what it is shown."""
    low, high = sorted((spend, more))
    truths = [
        Market(seed).truth("1", {**LOYAL, "category_spend_182d__cheese": amount}, "cheese") for amount in (low, high)
    ]
    assert truths[0] <= truths[1]


def test_redemptions_can_take_their_time() -> None:
    """Exponentially, by as much as is said in the mean; who answers, and how, is the same."""
    late = Market(7, takes=timedelta(days=4))
    found = [(one, other) for one, other in zip(answers(4_000, Market(7)), answers(4_000, late), strict=True)]
    moments = {"occurred_at": None}
    assert all(one.row | moments == other.row | moments for one, other in found)
    took = [(other.row["occurred_at"] - NOW).total_seconds() / 86_400 for _, other in found if "kind" in other.row]
    redeemed = [days for days in took if days > 0.001]
    assert sum(redeemed) / len(redeemed) == pytest.approx(4.0, rel=0.1)


def test_customers_look_around_an_hour_of_their_own() -> None:
    """By their own clock, most in the evening; by a market without a clock everybody looks alike at any time."""
    market = Market(7, zone=ZoneInfo("America/New_York"))
    nights = [market.sight(str(number), "email", datetime(2026, 11, 22, 12, tzinfo=UTC)) for number in range(500)]
    evenings = [market.sight(str(number), "email", datetime(2026, 11, 23, 0, tzinfo=UTC)) for number in range(500)]
    alike = {Market(7).sight(str(number), "email", NOW) for number in range(500)}

    assert sum(evenings) > 2 * sum(nights)
    assert any(evening < night for evening, night in zip(evenings, nights, strict=True))
    assert len(alike) == 1
    assert market.sight("1029", "mail", NOW) == 0.0


def test_what_is_seen_follows_the_sight() -> None:
    """The share of decisions that are seen at an hour is the known probability, within four standard errors."""
    market = Market(7, zone=ZoneInfo("America/New_York"))
    sight = market.sight("1029", "web", NOW)
    seen = sum(answer.row.get("type") == "impression" for answer in answers(10_000, market)) / 10_000

    assert sight != Market(7).sight("1029", "web", NOW)
    assert seen == pytest.approx(sight, abs=4 * math.sqrt(sight * (1 - sight) / 10_000))


def test_customers_buy_unasked() -> None:
    """As often as is known, at moments of their week, things they may buy, and with no decision to thank for it."""
    market = Market(7)
    unasked = market.unasked("1029", LOYAL)
    found = [answer.row for answer in weeks(4_000, market)]

    assert len(found) / 4_000 == pytest.approx(unasked, abs=4 * math.sqrt(unasked * (1 - unasked) / 4_000))
    assert {row["action"] for row in found} == {"beef", "cheese"}
    assert {row["decision_id"] for row in found} == {None}
    assert len({row["outcome_id"] for row in found}) == len(found)
    assert all((row["occurred_at"] - NOW) % timedelta(weeks=1) != timedelta(0) for row in found)
    assert market.unasked("1029", {"recency_days": 90.0}) < unasked
    assert not market.week("1029", LOYAL, [], NOW)
