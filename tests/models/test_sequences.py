"""Sequence features are what a loop over events would compute, and know nothing of what comes later."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sequences import DECAY, LAGS, NAMES, TYPES, Events, Moments, Tables, before, events, features, tables

START = datetime(2026, 1, 1, tzinfo=UTC)
CATEGORIES = pd.Index(["a", "b", "c", "d"])
COLUMNS = ["customer_id", "session_id", "category", "type", "occurred_at"]

FRAMES = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(["1", "2", None]),
        st.sampled_from([*CATEGORIES, "never counted"]),
        st.sampled_from(TYPES),
        st.integers(0, 20_000).map(lambda second: START + timedelta(seconds=second)),
    ),
    min_size=3,
    max_size=60,
    unique_by=lambda row: (row[0], row[4]),
).map(lambda rows: pd.DataFrame(rows, columns=COLUMNS))


def everybody(known: Events) -> Tables:
    return tables(known, len(CATEGORIES), np.ones(len(known.customers), dtype=np.bool_))


def looped(known: Events, end: int, now: float, category: int) -> dict[str, float]:
    """The features of one category at one moment, one event after the other."""
    first = known.start[known.customer[end]]
    past = range(end - 1, first - 1, -1)
    found = dict.fromkeys(NAMES[:7], 0.0)
    for after, event in enumerate(past):
        if known.category[event] != category or after >= LAGS:
            continue
        following = now if after == 0 else known.when[event + 1]
        is_here = now - known.when[end - 1] <= 1800 and known.session[event] == known.session[end - 1]
        found["is_last"] += after == 0
        found["recent"] += DECAY**after
        found["in_session"] += is_here
        found["viewed"] += DECAY**after * (known.kind[event] == 1)
        found["in_cart"] += DECAY**after * (known.kind[event] == 2 and found["bought"] == 0)
        found["bought"] += DECAY**after * (known.kind[event] == 3)
        found["dwell"] += DECAY**after * min(following - known.when[event], 1800) / 1800
    times = [known.when[event] for event in past if known.category[event] == category]
    return found | {"log_hours_since": np.log1p((now - times[0]) / 3600 if times else 366 * 24)}


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_features_are_what_a_loop_over_the_events_would_find(frame: pd.DataFrame) -> None:
    """At the moment of every event, for every category."""
    known = events(frame, CATEGORIES)
    rows = np.arange(len(known.when))
    found = features(known, before(known, rows), everybody(known))
    for row in rows:
        for category in range(len(CATEGORIES)):
            expected = looped(known, int(row), known.when[row], category)
            assert found[row, category, :8] == pytest.approx(list(expected.values()))


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_what_comes_later_and_the_order_of_rows_change_nothing(frame: pd.DataFrame) -> None:
    """The features at an event are those of a history that ends before it."""
    known = events(frame, CATEGORIES)
    counted = everybody(known)
    cut = START + timedelta(seconds=10_000)
    earlier = events(frame[frame["occurred_at"] <= cut].sample(frac=1.0, random_state=0), CATEGORIES)
    same = known.customers.get_indexer(earlier.customers)
    is_earlier = known.when <= cut.timestamp()
    end = known.start[same] + np.array([is_earlier[known.customer == each].sum() for each in same], dtype=np.int64)
    now = np.full(len(same), cut.timestamp())
    once = features(known, Moments(customer=same, end=end, now=now), counted)
    moments = Moments(customer=np.arange(len(same)), end=earlier.start[1:], now=now)
    assert once == pytest.approx(features(earlier, moments, counted))


def history(categories: str, session: str | None = "s", gap: float = 60.0, customer: str = "x") -> pd.DataFrame:
    """Page views, one after the other."""
    times = [START + timedelta(seconds=gap * number) for number in range(len(categories))]
    rows = [(customer, session, each, "page_view", at) for each, at in zip(categories, times, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def at_the_end(frame: pd.DataFrame, counted: Tables, after: float = 60.0) -> pd.DataFrame:
    """The features of each category, some time after the last event of the only customer."""
    known = events(frame, CATEGORIES)
    end = known.start[1:]
    found = features(known, Moments(customer=np.zeros(1, np.int64), end=end, now=known.when[end - 1] + after), counted)
    return pd.DataFrame(found[0], index=CATEGORIES, columns=list(NAMES))


def test_transitions_are_counted_shrunk_and_looked_up_by_the_last_two() -> None:
    """After a comes b, unless c was before a: then d. What was never seen falls back to the level above."""
    known = events(pd.concat([history("abcad" * 40, customer=str(number)) for number in range(5)]), CATEGORIES)
    counted = everybody(known)
    assert counted.popularity.sum() == pytest.approx(1.0)
    assert counted.first.sum(axis=1) == pytest.approx(np.ones(4))
    after_a, after_ca = (at_the_end(history(seen), counted) for seen in ("a", "ca"))
    assert np.exp(after_a["log_transition"].to_numpy()) == pytest.approx([0.0, 0.5, 0.0, 0.5], abs=0.01)
    assert np.exp(after_ca["log_transition_of_two"].to_numpy()) == pytest.approx([0.0, 0.0, 0.0, 1.0], abs=0.01)
    after_ba = at_the_end(history("ba"), counted)
    assert after_ba["log_transition_of_two"].to_numpy() == pytest.approx(after_ba["log_transition"].to_numpy())


def test_a_chain_that_forgets_is_shrunk_to_the_popularity_all_the_way() -> None:
    """Where what comes next does not depend on what was, the levels above are worth thousands of events."""
    random = np.random.default_rng(1)
    drawn = random.choice(list("abcd"), (50, 100), p=[0.5, 0.3, 0.1, 0.1])
    known = events(
        pd.concat([history("".join(row), customer=str(number)) for number, row in enumerate(drawn)]), CATEGORIES
    )
    counted = everybody(known)
    assert np.abs(counted.first - counted.popularity).max() < 0.02
    assert counted.second_strength > 300
    assert counted.own_strength > 300


def test_a_pause_ends_a_session_that_has_no_name_and_the_one_that_is_going_on() -> None:
    """Half an hour; a session that has a name goes on as long as it says, but not when the customer has gone."""
    counted = everybody(events(history("abcd" * 10), CATEGORIES))
    assert at_the_end(history("ab", session=None), counted)["in_session"].tolist() == [1, 1, 0, 0]
    assert at_the_end(history("ab", session=None, gap=1801.0), counted)["in_session"].tolist() == [0, 1, 0, 0]
    assert at_the_end(history("ab", gap=1801.0), counted)["in_session"].tolist() == [1, 1, 0, 0]
    assert at_the_end(history("ab"), counted, after=1801.0)["in_session"].tolist() == [0, 0, 0, 0]
