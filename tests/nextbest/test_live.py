"""Live state comes out the same in whatever order, and in however many parts, the records come."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest import live
from nextbest.envelope import Envelope
from nextbest.live import NOTHING, LiveState, decode, encode, member_of, union

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
_DAYS = 40


def record(what: str = "page_view", at: datetime = AT, *, received_at: datetime | None = None, **said: Any) -> Envelope:
    """An event, unless `what` is an outcome or a purchase."""
    kind, properties = "event", {"type": what}
    if what == "purchase":
        kind, properties = "transaction", {}
    elif what.startswith("outcome_"):
        kind, properties = "outcome", {"kind": what.removeprefix("outcome_")}
    elif what == "impression":
        kind = what
    return Envelope(
        event_id=f"events/{what}/{at}",
        type=kind,
        contract="events",
        contract_version="1",
        source="live",
        occurred_at=at,
        received_at=received_at or at,
        partition_key="c1",
        action=said.pop("action", None),
        value=said.pop("value", None),
        properties={"customer_id": "c1"} | properties | said,
    )


@pytest.fixture(autouse=True)
def _tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a few records reach."""
    monkeypatch.setattr(live, "_CELLS", 5)
    monkeypatch.setattr(live, "_ITEMS", 3)


@st.composite
def records(draw: st.DrawFn) -> Envelope:
    """What the door may let in: any age, clocks that are ahead, many at one moment."""
    # Few moments, so that records meet in one cell, and the horizons lie between them.
    ages = [timedelta(), timedelta(seconds=1), timedelta(minutes=9), timedelta(hours=5), timedelta(hours=7)]
    ages += [timedelta(days=day, hours=draw(st.integers(0, 2))) for day in (1, 27, 28, _DAYS)]
    at = AT - draw(st.sampled_from(ages)) + timedelta(microseconds=draw(st.integers(0, 2)))
    ahead = draw(st.sampled_from([timedelta(), timedelta(days=400)]))
    return record(
        draw(st.sampled_from(["page_view", "add_to_cart", "impression", "outcome_click", "purchase"])),
        at + ahead,
        received_at=at,
        action=draw(st.sampled_from([None, "beef", "milk"])),
        category=draw(st.sampled_from([None, "BEEF", "MILK", "FRZN MEAT", "TEA", "!"])),
        value=draw(st.sampled_from([None, 0.1, -2.5])),
        sales_value=draw(st.sampled_from([1.1, 2.2])),
    )


_some = st.lists(records(), max_size=12)


def state(said: Sequence[Envelope]) -> LiveState:
    return union([], said)


@given(_some, st.randoms(use_true_random=False))
def test_order_does_not_matter(said: list[Envelope], chance: Any) -> None:
    """One at a time, in any order, is all at once; and equal states are equal texts."""
    shuffled = chance.sample(said, len(said))
    assert encode(reduce(lambda before, record: union([before], [record]), shuffled, NOTHING)) == encode(state(said))


@given(_some, _some, _some)
def test_union_is_of_the_records(a: list[Envelope], b: list[Envelope], c: list[Envelope]) -> None:
    """A state of parts is the state of all of them: associative, commutative, and nothing adds nothing."""
    one, two, three = state(a), state(b), state(c)
    together = state([*a, *b, *c])
    assert (
        union([one, two, three]) == union([three, union([one, two])]) == union([union([two, three]), one]) == together
    )
    assert union([one, NOTHING]) == one
    assert union([one, two], c) == together


@given(_some)
def test_a_state_is_its_text(said: list[Envelope]) -> None:
    """What is read back is what was written, and writing it again changes no byte."""
    text = encode(state(said))
    assert decode(text) == state(said)
    assert encode(decode(text)) == encode(union([decode(text)])) == text


def test_what_is_kept_of_a_record() -> None:
    """Its hour by type and by category, with its worth in cents; its minute; its second; and who touched what."""
    micros, hour = 1_795_694_400_000_000, 498_804
    assert state([record("add_to_cart", category="FRZN MEAT", value=1.005, action="beef")]) == LiveState(
        newest=micros,
        hours={"add_to_cart": [hour, 1, 100], "category/frzn_meat": [hour, 1, 100]},
        minutes={"add_to_cart": [hour * 60, 1]},
        seconds=[hour * 3_600, 1],
        categories={"frzn_meat": micros},
        cart=[micros, 1, 100],
        campaign=(micros, "beef"),
    )


def test_impressions_are_nothing_that_customers_do() -> None:
    """They count, and are the last campaign; they make no minute, second or interest in a category."""
    shown = state([record("impression", category="BEEF", action="beef")])
    assert list(shown.hours) == ["impression"]
    assert (shown.minutes, shown.seconds, shown.categories, shown.campaign[1]) == ({}, [], {}, "beef")


def test_outcomes_and_purchases_count_under_names_of_their_own() -> None:
    """A click may be an event and an outcome; a purchase has the value that its contract names."""
    done = state([record("click"), record("outcome_click", value=2.0), record("purchase", sales_value=3.5)])
    assert done.hours == {
        "click": [498_804, 1, 0],
        "outcome_click": [498_804, 1, 200],
        "purchase": [498_804, 1, 350],
    }
    assert done.purchased == done.newest


def test_a_clock_that_is_ahead_empties_no_state() -> None:
    """What a channel dates into the future counts from when it came."""
    ahead = record(at=AT + timedelta(days=365), received_at=AT)
    assert state([record(at=AT - timedelta(days=1)), ahead]).hours == {"page_view": [498_780, 1, 0, 498_804, 1, 0]}


@pytest.mark.parametrize("kind", ["decision", "consent", "erased", "identity"])
def test_other_records_are_nobodys(kind: str) -> None:
    """They count in no state, and neither does an impression whose customer was erased."""
    other = Envelope(
        event_id="e",
        type=kind,
        contract="",
        contract_version="",
        source="live",
        occurred_at=AT,
        received_at=AT,
        partition_key="",
        properties={"customer_id": "c1"},
    )
    assert member_of(other) is None
    assert union([], [other]) == NOTHING
    bare = Envelope(
        **{name: getattr(other, name) for name in other.__struct_fields__} | {"type": "impression", "properties": {}}
    )
    assert member_of(bare) is None
    assert union([], [bare]) == NOTHING


def test_a_record_is_its_customers() -> None:
    """The customer id of its row says whose."""
    assert member_of(record()) == "c1"
