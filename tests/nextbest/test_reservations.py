"""Counting contacts under caps, and granting the first available."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.messages import Bound, Cap, Limit, Option, Period, PlacementProposal, Proposal, Scope
from nextbest.records import DO_NOTHING, Contact, DecisionRecord, Usage
from nextbest.reservations import Tally, reserve

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def contact(age: timedelta, *, seen: timedelta | None = None, ttl: timedelta = HOUR / 2, action: str = "a") -> Contact:
    return Contact(
        decision_id="earlier",
        slot=0,
        action=action,
        group="g",
        channel="web",
        decided_at=NOW - age,
        expires_at=NOW - age + ttl,
        impressed_at=None if seen is None else NOW - seen,
    )


def cap(scope: Scope = "action", member: str = "a", count: str = "decision", limit: int = 1, hours: int = 24) -> Cap:
    return Cap("rule", scope, member, count, limit, hours * 3_600)


@pytest.mark.parametrize(
    ("counted", "one", "used"),
    [
        (cap(), contact(HOUR), 1),
        (cap(), contact(24 * HOUR), 0),
        (cap(member="b"), contact(HOUR), 0),
        (cap(scope="group", member="g"), contact(HOUR), 1),
        (cap(scope="channel", member="web"), contact(HOUR), 1),
        (cap(scope="channel", member="email"), contact(HOUR), 0),
        (cap(scope="all", member=""), contact(HOUR), 1),
        (cap(count="impression"), contact(HOUR), 0),
        (cap(count="impression"), contact(HOUR / 4), 1),
        (cap(count="impression"), contact(HOUR, seen=HOUR), 1),
        (cap(count="impression"), contact(30 * HOUR, seen=23 * HOUR), 1),
        (cap(count="impression"), contact(30 * HOUR, seen=25 * HOUR), 0),
    ],
)
def test_what_counts(*, counted: Cap, one: Contact, used: int) -> None:
    """Decisions count when made, impressions when seen or still to be seen; both inside the window, in scope."""
    assert Tally([one], NOW).usage(counted) == used


Bid = tuple[Option, tuple[Cap, ...]]


def proposal(placements: Sequence[Sequence[Bid]], *, slots: int, dedup: bool = True, reserves: bool = True) -> Proposal:
    record = DecisionRecord(decision_id="d", request_id="r", occurred_at=NOW, customer_id="c", policy_hash="p")
    return Proposal(
        record=record,
        placements=tuple(
            PlacementProposal(
                id=f"p{number}",
                channel="web",
                slots=slots,
                order=tuple(option for option, _ in bids),
                pmf=(1 / len(bids),) * len(bids),
                caps=_bound(bids),
            )
            for number, bids in enumerate(placements)
        ),
        dedup=dedup,
        reserves=reserves,
        ttl_seconds=60,
    )


def _bound(bids: Sequence[Bid]) -> dict[tuple[Scope, str], list[Bound]]:
    caps = {each for _, own in bids for each in own}
    found: dict[tuple[Scope, str], list[Bound]] = {}
    for each in caps:
        keys = frozenset(option.key for option, own in bids if each in own)
        found.setdefault((each.scope, each.member), []).append(Bound(each, keys))
    return found


def option(action: str, *caps: Cap, limits: tuple[Limit, ...] = ()) -> Bid:
    return Option(key=action, action=action, treatment="t", group="g", limits=limits), caps


NOTHING = option(DO_NOTHING)


def test_grants_the_first_available() -> None:
    """What a cap has no room for is passed over, and the mask says so."""
    grant, new = reserve(
        proposal([[option("a", cap()), option("b", cap(member="b")), NOTHING]], slots=1), [contact(HOUR)], NOW
    )
    (slot,) = grant.placements["p0"]
    assert (slot.key, slot.available, slot.reservation_id) == ("b", (False, True, True), "d/0")
    assert slot.expires_at == NOW + timedelta(seconds=60)
    assert [(c.action, c.slot, c.decided_at) for c in new] == [("b", 0, NOW)]


def test_slots_of_one_decision_count_for_each_other() -> None:
    """A cap with room for one more is full once the first slot has taken it."""
    shared = cap(scope="channel", member="web", limit=2)
    grant, new = reserve(proposal([[option("a", shared), option("b", shared), NOTHING]], slots=3), [contact(HOUR)], NOW)
    assert [slot.key for slot in grant.placements["p0"]] == ["a", DO_NOTHING]
    assert len(new) == 1


def test_do_nothing_ends_a_placement() -> None:
    """What was drawn behind doing nothing is not shown, and doing nothing reserves nothing."""
    grant, new = reserve(proposal([[NOTHING, option("a")]], slots=2), [], NOW)
    (slot,) = grant.placements["p0"]
    assert (slot.key, slot.reservation_id, slot.expires_at, new) == (DO_NOTHING, None, None, ())


@pytest.mark.parametrize(("dedup", "second"), [(True, DO_NOTHING), (False, "a")])
def test_dedup_across_placements(*, dedup: bool, second: str) -> None:
    """The same action fills a second placement only where the request allows it."""
    grant, _ = reserve(proposal([[option("a"), NOTHING], [option("a"), NOTHING]], slots=1, dedup=dedup), [], NOW)
    assert [slot.key for slots in grant.placements.values() for slot in slots] == ["a", second]


def test_what_does_not_reserve_leaves_no_contact() -> None:
    """A dry run is granted what a live one would be, and holds nothing."""
    grant, new = reserve(proposal([[option("a"), NOTHING]], slots=1, reserves=False), [], NOW)
    (slot,) = grant.placements["p0"]
    assert (slot.key, slot.reservation_id, new) == ("a", None, ())


def test_a_try_of_a_decision_takes_no_room_from_itself_until_it_was_seen() -> None:
    """What an earlier try holds is not counted twice; what it showed was shown, and counts."""
    held = msgspec.structs.replace(contact(HOUR / 4), decision_id="d")
    shown = msgspec.structs.replace(held, impressed_at=NOW)
    asked = proposal([[option("a", cap(count="impression")), NOTHING]], slots=1)
    assert [reserve(asked, [each], NOW)[0].placements["p0"][0].key for each in (held, shown)] == ["a", DO_NOTHING]


def test_limits_over_all_customers_bind() -> None:
    """What was seen and what is reserved leave too little room; what is granted takes its amount, slot by slot."""
    day = Limit("a/volume", "day", 1, 3)
    bids = [option("a", limits=(day,)), option("b", limits=(Limit("b/budget", "month", 500, 900),)), NOTHING]
    grant, new = reserve(proposal([bids], slots=2), [], NOW, {"a/volume@2026-03-04": Usage(2, 1)})
    assert [slot.key for slot in grant.placements["p0"]] == ["b", DO_NOTHING]
    assert [contact.takes for contact in new] == [{"b/budget@2026-03": 500}]
    grant, _ = reserve(proposal([bids, bids], slots=1, dedup=False), [], NOW, {"a/volume@2026-03-04": Usage(1, 1)})
    assert [slots[0].key for slots in grant.placements.values()] == ["a", "b"]


@pytest.mark.parametrize(
    ("per", "counter"),
    [("day", "n@2027-01-01"), ("week", "n@2026-W53"), ("month", "n@2027-01"), ("total", "n@total")],
)
def test_periods_are_of_the_calendar(per: Period, counter: str) -> None:
    """A limit counts by calendar day, week, month, or for good; a week belongs to the year of its Thursday."""
    assert Limit("n", per, 1, 1).counter(datetime(2027, 1, 1, tzinfo=UTC)) == counter


ages = st.integers(0, 48).map(lambda hours: contact(hours * HOUR))


@given(
    limit=st.integers(1, 4),
    slots=st.integers(1, 5),
    earlier=st.lists(ages, max_size=6),
    actions=st.lists(st.sampled_from("abcdef"), unique=True, max_size=6),
)
def test_a_cap_is_never_exceeded(*, limit: int, slots: int, earlier: list[Contact], actions: list[str]) -> None:
    """Whatever was before, a grant adds no contact beyond the limit."""
    shared = cap(scope="channel", member="web", limit=limit)
    before = Tally(earlier, NOW).usage(shared)
    _, new = reserve(proposal([[*(option(a, shared) for a in actions), NOTHING]], slots=slots), earlier, NOW)
    assert Tally([*earlier, *new], NOW).usage(shared) <= max(limit, before)
