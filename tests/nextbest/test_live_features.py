"""Live features say at a moment what a state holds, and only those that are asked for."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.envelope import Envelope
from nextbest.live import NOTHING, union
from nextbest.live_features import SINGLE, Plan, subject_of

NOW = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)
"""A Thursday."""


def did(what: str, ago: timedelta, *, value: float | None = None, action: str | None = None, **said: Any) -> Envelope:
    """Something a customer did, so long before now."""
    kind = {"purchase": "transaction", "impression": what}.get(what, "event")
    return Envelope(
        event_id=f"{what}/{ago}",
        type=kind,
        contract=f"{kind}s",
        contract_version="1",
        source="live",
        occurred_at=NOW - ago,
        received_at=NOW - ago,
        partition_key="c1",
        value=value,
        action=action,
        properties={"customer_id": "c1", "type": what} | said,
    )


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def features(*done: Envelope, ask: str, now: datetime = NOW, zone: str = "") -> Any:
    """One feature of what was done; none where it is absent."""
    return Plan([ask]).features(union([], done), {"time_zone": zone}, now).get(ask)


def test_only_what_is_asked_for_is_computed() -> None:
    """Other names are somebody else's, or nobody's."""
    asked = ["live_click_count_1h", "live_cart_items", "spend_91d", "live_nonsense", "live_category_count_1h"]
    assert Plan(asked).features(NOTHING, {}, NOW) == {"live_click_count_1h": 0.0, "live_cart_items": 0.0}


def test_an_event_counts_in_full_at_once_and_by_half_with_every_half_life_after_its_hour() -> None:
    """The hour that runs is not over: what happened at 12:05 began to fade at 13:00."""
    click = did("click", minutes(25), value=3.0)
    assert features(click, ask="live_click_count_1h") == 1.0
    assert features(click, ask="live_click_count_1h", now=NOW + minutes(30)) == 1.0
    assert features(click, ask="live_click_count_1h", now=NOW + minutes(90)) == 0.5
    assert features(click, ask="live_click_value_1d", now=NOW + minutes(30) + timedelta(days=1)) == 1.5
    assert features(click, did("click", minutes(0)), ask="live_click_count_1h", now=NOW + minutes(60)) == 2 * 0.5**0.5


@given(st.lists(st.integers(0, 60 * 24 * 28), max_size=20), st.integers(0, 60 * 24 * 40))
def test_counts_fade_and_never_jump(ages: list[int], later: int) -> None:
    """A minute later there is less, by no more than a minute's share; and a sum is of its parts."""
    done = [did("click", minutes(age)) for age in ages]
    name = "live_click_count_1d"
    now, then = NOW + minutes(later), NOW + minutes(later + 1)
    before, after = features(*done, ask=name, now=now), features(*done, ask=name, now=then)
    assert before * 0.5 ** (1 / (24 * 60)) * (1 - 1e-12) <= after <= before
    horizon = max((NOW - minutes(age) for age in ages), default=NOW) - timedelta(days=27)
    kept = [each for each in done if each.occurred_at > horizon]
    single = math.fsum(features(each, ask=name, now=now) for each in kept)
    assert features(*kept, ask=name, now=now) == pytest.approx(single)


def test_a_moment_before_the_newest_record_is_as_good_as_any() -> None:
    """A decision's clock may be a moment behind that of the door."""
    done = (did("click", -minutes(45), category="BEEF"), did("click", minutes(0)), did("purchase", -minutes(45)))
    assert features(*done, ask="live_click_count_1h") == 2.0
    assert features(*done, ask="live_hours_since__beef") == features(*done, ask="live_hours_since_purchase") == 0.0
    assert features(*done, ask="live_session_events") == 2.0


def test_categories_count_all_that_was_done_in_them() -> None:
    """By the slug that names the action; a category never met is absent, not long ago."""
    done = (did("click", minutes(0), category="FRZN MEAT"), did("add_to_cart", minutes(90), category="FRZN MEAT"))
    assert features(*done, ask="live_category_count_1h__frzn_meat") == 1 + 0.5**0.5
    assert features(done[1], ask="live_hours_since__frzn_meat") == 1.5
    assert features(*done, ask="live_hours_since__beef") is None


def test_a_session_ends_with_half_an_hour_of_nothing() -> None:
    """What was done before that is another session; shown impressions keep none alive."""
    done = [did("page_view", minutes(ago)) for ago in (70, 29, 29, 0)]
    assert features(*done, ask="live_session_minutes") == 29.0
    assert features(*done, ask="live_session_events") == 3.0
    assert features(*done, ask="live_session_events", now=NOW + minutes(31)) == 0.0
    assert features(did("impression", minutes(0)), ask="live_session_events") == 0.0


def test_speed_is_of_the_last_minutes() -> None:
    """Pages and products; what is five minutes old is slow no more."""
    done = [did("page_view", minutes(ago)) for ago in (0, 1, 4, 5)] + [did("product_view", minutes(2))]
    assert features(*done, ask="live_page_views_per_minute") == 4 / 5


def test_a_purchase_empties_the_cart() -> None:
    """Also what was put in at its very moment; what comes later is in a cart of its own."""
    done = [did("add_to_cart", minutes(120), value=5.0), did("purchase", minutes(60), sales_value=5.0)]
    assert features(*done, ask="live_cart_items") == 0.0
    assert features(*done, did("add_to_cart", minutes(60)), ask="live_cart_items") == 0.0
    done += [did("add_to_cart", minutes(30), value=1.25), did("add_to_cart", minutes(0), value=0.5)]
    wanted = {
        "live_cart_items": 2.0,
        "live_cart_value": 1.75,
        "live_cart_age_hours": 0.5,
        "live_hours_since_purchase": 1.0,
    }
    assert {name: features(*done, ask=name) for name in wanted} == wanted


def test_the_last_campaign_is_the_last_touched() -> None:
    """Whatever it was that touched it."""
    done = (did("impression", minutes(60), action="beef"), did("click", minutes(90), action="milk"))
    assert features(*done, ask="live_last_campaign") == "beef"
    assert features(*done, ask="live_hours_since_campaign") == 1.0
    assert features(ask="live_last_campaign") is None


def test_habits_are_by_the_customers_clock() -> None:
    """This hour of the day is the same hour anywhere; of a Thursday evening in UTC it is Friday in Tokyo."""
    done = [did("click", timedelta(days=days)) for days in (0, 1, 7)] + [did("click", timedelta(hours=3))]
    assert features(*done, ask="live_share_of_hour") == (3 + 1) / (4 + 24)
    assert features(*done, ask="live_share_of_weekday") == (3 + 1) / (4 + 7)
    evening = NOW + timedelta(hours=8)
    assert features(*done, ask="live_share_of_weekday", now=evening, zone="Asia/Tokyo") == 1 / (4 + 7)
    assert features(*done, ask="live_share_of_weekday", now=evening, zone="nowhere") == 4 / (4 + 7)
    assert features(did("impression", minutes(0)), ask="live_share_of_hour") == 1 / 24


@pytest.mark.parametrize(
    ("number", "within_s", "least", "most"), [(3, 1, 0, 0), (10, 10, 0, 0), (8, 1, 2, 4), (60, 10, 50, 70)]
)
def test_bursts_are_what_no_person_does(number: int, within_s: int, least: float, most: float) -> None:
    """A quick person scores nothing; ten minutes after a burst it is forgotten."""
    burst = [did("page_view", timedelta(seconds=(n * within_s) // number), n=n) for n in range(number)]
    assert least <= features(*burst, ask="live_burst_score") <= most
    assert features(*burst, ask="live_burst_score", now=NOW + minutes(11)) == 0.0


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("live_page_view_count_1h", "page_view"),
        ("live_outcome_conversion_value_7d", "outcome_conversion"),
        ("live_category_value_1d__beef", ""),
        ("live_hours_since__beef", ""),
        ("live_click_count_2h", None),
        ("live_click_count_1h__beef", None),
        ("live_category_count_1h", None),
        ("spend_91d", None),
        *((name, "") for name in sorted(SINGLE)),
    ],
)
def test_names_say_what_is_counted(name: str, subject: str | None) -> None:
    """By it a policy's mistakes are found."""
    assert subject_of(name) == subject
