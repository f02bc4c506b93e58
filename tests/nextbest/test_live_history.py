"""What training learns from is what a decision would have seen."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.envelope import Envelope
from nextbest.live import union
from nextbest.live_features import Plan
from nextbest.live_history import history

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
PLAN = Plan(
    (
        "live_click_count_1h",
        "live_click_value_1d",
        "live_hours_since__beef",
        "live_session_minutes",
        "live_burst_score",
        "live_share_of_weekday",
        "live_cart_items",
        "live_cart_age_hours",
    )
)
ZONE = {"time_zone": "America/Chicago"}


def click(minute: int, late: int = 0, customer: str = "c1", what: str = "click") -> Envelope:
    """Something that happened at a minute, and reached the door so many minutes later."""
    at = AT + timedelta(minutes=minute)
    return Envelope(
        event_id=f"events/{customer}/{minute}",
        type="event",
        contract="events",
        contract_version="1",
        source="live",
        occurred_at=at,
        received_at=at + timedelta(minutes=late),
        partition_key=customer,
        value=0.1,
        properties={"customer_id": customer, "type": what, "category": "BEEF"},
    )


_clicks = st.builds(
    click,
    st.integers(-60_000, 60_000),
    st.sampled_from([0, 0, 5, 90, 50_000]),
    st.just("c1"),
    st.sampled_from(["click", "add_to_cart"]),
)


@given(st.lists(_clicks, max_size=15), st.lists(st.integers(-60_000, 60_000), max_size=5), st.randoms())
def test_history_is_what_was_seen_online(said: list[Envelope], minutes: list[int], chance: Any) -> None:
    """At each moment the features of what had come by then, whatever order it came in, to the last bit."""
    times = [AT + timedelta(minutes=minute) for minute in minutes]
    seen = list(history(chance.sample(said, len(said)), {"c1": times}, PLAN, {"c1": ZONE}))
    assert [at for _, at, _ in seen] == sorted(times)
    for _, at, features in seen:
        state = union([], (record for record in said if record.received_at <= at))
        assert features == PLAN.features(state, ZONE, at)


def test_what_comes_late_was_not_known() -> None:
    """It counts from when it came, and then as of when it happened."""
    times = [AT + timedelta(minutes=59), AT + timedelta(minutes=60)]
    before, after = history([click(0, late=60)], {"c1": times}, PLAN)
    assert "live_hours_since__beef" not in before[2]
    assert after[2]["live_hours_since__beef"] == 1.0


def test_customers_do_not_meet() -> None:
    """Each has a history of their own, and whom nobody asks about has none."""
    said = [click(0), click(1, customer="c2"), click(2, customer="c3")]
    moment = [AT + timedelta(minutes=5)]
    seen = {
        customer: features["live_click_count_1h"]
        for customer, _, features in history(said, {"c1": moment, "c2": moment, "c4": moment}, PLAN)
    }
    assert seen == {"c1": 1.0, "c2": 1.0, "c4": 0.0}


def test_a_record_may_be_of_any_kind() -> None:
    """What counts nowhere online counts nowhere here."""
    other = msgspec.structs.replace(click(0), type="decision")
    ((_, _, features),) = history([other], {"c1": [AT]}, PLAN)
    assert features == PLAN.features(union([]), {}, AT)


@pytest.mark.parametrize("number", [0, 1])
def test_nobody_and_never(number: int) -> None:
    """Without moments there is nothing to look at."""
    assert list(history([click(0)] * number, {"c1": []}, PLAN)) == []
