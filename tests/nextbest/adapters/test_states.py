"""What every State does, on SQLite and on Redis alike: caps and limits hold, consents bind, effects come once."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from nextbest import records
from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import Envelope, Identifier
from nextbest.erasure import erasure
from nextbest.messages import Bound, Cap, Count, Grant, Limit, Option, PlacementProposal, Proposal
from nextbest.records import (
    DO_NOTHING,
    Arm,
    DecisionRecord,
    Interaction,
    PlacementRecord,
    SlotRecord,
    Snapshot,
    Usage,
)
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, StateBehindError

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TTL = timedelta(hours=1)
LONG_AGO = NOW - timedelta(days=400)
VOLUME, BUDGET = "volume@2026-03-02", "budget@total"
EVERYTHING = SnapshotScope(LONG_AGO, LONG_AGO, (VOLUME, BUDGET))


def volume(most: int | None) -> Limit:
    return Limit("volume", "day", 1, most)


def weekly(limit: int, count: Count = "impression") -> Cap:
    return Cap(rule="weekly", scope="all", member="", count=count, limit=limit, window_seconds=7 * 86_400)


def proposal(
    decision_id: str,
    *caps: Cap,
    actions: tuple[str, ...] = ("eggs", "milk"),
    limits: tuple[Limit, ...] = (),
    customer_id: str | None = "c1",
    arms: tuple[Arm, ...] = (),
) -> Proposal:
    options = [Option(key=f"{a}/mail", action=a, treatment="mail", group="food", limits=limits) for a in actions]
    nothing = Option(key=DO_NOTHING, action=DO_NOTHING, treatment="", group="")
    keys = frozenset(option.key for option in options)
    placement = PlacementProposal(
        id="home",
        channel="web",
        slots=1,
        order=(*options, nothing),
        pmf=(0.5,) * len(options) + (0.0,),
        caps={("all", ""): [Bound(cap, keys) for cap in caps]},
    )
    record = DecisionRecord(
        decision_id=decision_id,
        request_id=decision_id,
        occurred_at=NOW,
        customer_id=customer_id,
        policy_hash="p",
        arms=arms,
    )
    seconds = int(TTL.total_seconds())
    return Proposal(record=record, placements=(placement,), dedup=True, reserves=True, ttl_seconds=seconds)


def record(type_: str, event_id: str, at: datetime, **properties: Any) -> Envelope:
    return Envelope(
        event_id=event_id,
        type=type_,
        contract=f"{type_}s",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c1",
        action=properties.get("action"),
        properties=properties,
    )


def decision(asked: Proposal, grant: Grant) -> Envelope:
    """The log's entry of the decision that was granted."""
    slots = tuple(
        SlotRecord(
            slot=each.slot,
            action=each.key.split("/")[0],
            treatment="mail",
            group="food",
            probability=1.0,
            expires_at=each.expires_at,
            takes=each.takes,
        )
        for each in grant.placements["home"]
    )
    placement = PlacementRecord(id="home", channel="web", pmf={}, order=(), slots=slots)
    made = msgspec.structs.replace(asked.record, placements=(placement,))
    return record("decision", made.decision_id, NOW, slot=0, record=records.encode(made).decode())


def impression(event_id: str, decision_id: str, action: str, at: datetime = NOW) -> Envelope:
    return record("impression", event_id, at, decision_id=decision_id, action=action)


def consent(status: str, at: datetime) -> Envelope:
    return record("consent", f"{status}-{at}", at, customer_id="c1", purpose="marketing", status=status)


def chosen(state: OpenState, asked: Proposal, at: datetime = NOW) -> str:
    return asyncio.run(state.reserve(asked, at)).placements["home"][0].key


def known(state: OpenState, customer_id: str | None = "c1") -> Snapshot:
    return asyncio.run(state.snapshot(customer_id, EVERYTHING))


@pytest.fixture
def settings(home: Callable[[], Settings]) -> Settings:
    return home()


@pytest.fixture
def state(settings: Settings) -> Iterator[OpenState]:
    with closing(open_state(settings)) as state:
        yield state


def test_a_cap_binds_the_next_decision(state: OpenState) -> None:
    """Once the cap is full every decision falls through to doing nothing."""
    assert chosen(state, proposal("d1", weekly(2))) == "eggs/mail"
    assert chosen(state, proposal("d2", weekly(2))) == "eggs/mail"
    assert chosen(state, proposal("d3", weekly(2))) == DO_NOTHING


def test_the_same_decision_reserves_once(state: OpenState) -> None:
    """A repeated reservation is granted the same and takes no more room."""
    assert [chosen(state, proposal("d1", weekly(1))) for _ in range(3)] == ["eggs/mail"] * 3
    assert len(known(state).contacts) == 1


def test_a_second_try_of_a_decision_is_not_held_back_by_the_first(state: OpenState) -> None:
    """Killed before it was logged, released, expired or proposing something else: the room it had is its own."""
    chosen(state, proposal("d1", weekly(1)))
    assert chosen(state, proposal("d1", weekly(1), actions=("milk",))) == "milk/mail"
    asyncio.run(state.release("d1", 0))
    assert chosen(state, proposal("d1", weekly(1))) == "eggs/mail"
    assert chosen(state, proposal("d2", weekly(1))) == DO_NOTHING


def test_room_given_back_is_not_taken_for_granted(state: OpenState) -> None:
    """What a decision held and gave back others may have now: its second try is tested again."""
    chosen(state, proposal("d1", weekly(1)))
    asyncio.run(state.release("d1", 0))
    chosen(state, proposal("d2", weekly(1)))
    assert chosen(state, proposal("d1", weekly(1))) == DO_NOTHING


def test_every_try_of_a_decision_is_held_until_the_log_says_which_it_was(state: OpenState) -> None:
    """Two tries at once may propose different actions; whichever is logged, no other decision took its room."""
    eggs = proposal("d1", weekly(2), actions=("eggs",))
    grant = asyncio.run(state.reserve(eggs, NOW))
    asyncio.run(state.reserve(proposal("d1", weekly(2), actions=("milk",)), NOW))
    assert chosen(state, proposal("d2", weekly(2))) == DO_NOTHING
    asyncio.run(state.apply([decision(eggs, grant)], None))
    assert [contact.action for contact in known(state).contacts] == ["eggs"]


def test_a_dry_run_takes_no_room(state: OpenState) -> None:
    """What does not reserve is granted the same, and nothing is kept of it."""
    dry = msgspec.structs.replace(proposal("d1", weekly(1)), reserves=False)
    assert [chosen(state, dry), chosen(state, dry)] == ["eggs/mail"] * 2
    assert known(state).contacts == ()


def test_an_unseen_contact_gives_back_when_it_expires(state: OpenState) -> None:
    """A reservation holds room for its time to live, and no longer."""
    chosen(state, proposal("d1", weekly(1)))
    assert chosen(state, proposal("d2", weekly(1)), NOW + TTL / 2) == DO_NOTHING
    assert chosen(state, proposal("d3", weekly(1)), NOW + TTL) == "eggs/mail"


def test_a_released_contact_gives_back_at_once(state: OpenState) -> None:
    """Release makes room before expiry; released twice is released once."""
    chosen(state, proposal("d1", weekly(1)))
    asyncio.run(state.release("d1", 0))
    asyncio.run(state.release("d1", 0))
    assert chosen(state, proposal("d2", weekly(1))) == "eggs/mail"


@pytest.mark.parametrize("late", [timedelta(0), TTL * 2, timedelta(days=-30)])
def test_an_impression_counts_for_the_whole_window(state: OpenState, late: timedelta) -> None:
    """A seen contact counts from when it was seen, even when its reservation had expired or was released.

    A channel whose clock is behind cannot have shown it before it was decided.
    """
    chosen(state, proposal("d1", weekly(1)))
    asyncio.run(state.release("d1", 0))
    asyncio.run(state.commit("d1", 0, "e1", NOW + late))
    assert chosen(state, proposal("d2", weekly(1)), NOW + timedelta(days=6)) == DO_NOTHING
    assert chosen(state, proposal("d3", weekly(1)), NOW + timedelta(days=8)) == "eggs/mail"


def test_the_same_impression_marks_one_slot(state: OpenState) -> None:
    """Without deduplication one action may fill two slots: an event repeated marks the first only."""
    asked = proposal("d1", actions=("eggs",))
    placement = asked.placements[0]
    twice = msgspec.structs.replace(
        asked, dedup=False, placements=(placement, msgspec.structs.replace(placement, id="cart"))
    )
    asyncio.run(state.reserve(twice, NOW))
    for offset in (1, None, 2):
        asyncio.run(state.apply([impression("e1", "d1", "eggs")], offset))
    seen = [contact.impressed_at for contact in known(state).contacts]
    assert seen == [NOW, None]


def test_the_latest_consent_holds_whatever_the_order(state: OpenState) -> None:
    """An older consent that arrives late changes nothing; of two at the same moment the stricter holds."""
    later = NOW + timedelta(seconds=1)
    asyncio.run(state.apply([consent("withdrawn", later), consent("granted", NOW), consent("granted", later)], 3))
    assert known(state).consents == {"marketing": "withdrawn"}
    assert known(state, "c2").consents == {}


def test_the_kill_switch_is_known_to_everybody(state: OpenState) -> None:
    """A paused action is in every snapshot, that of an unknown customer included, until it is resumed."""
    asyncio.run(state.apply([record("pause", "p1", NOW, action="eggs")], 1))
    assert known(state, None).pauses == ("eggs",)
    asyncio.run(state.apply([record("resume", "p2", NOW + TTL, action="eggs")], 2))
    assert known(state).pauses == ()


def test_the_offset_moves_with_its_effects_and_never_back(state: OpenState) -> None:
    """Records at or below the offset kept are ignored; the offset is kept over a restart."""
    asyncio.run(state.apply([consent("granted", NOW)], 7))
    asyncio.run(state.apply([consent("withdrawn", NOW + TTL)], 7))
    assert asyncio.run(state.applied_offset()) == 7
    assert known(state).consents == {"marketing": "granted"}


def test_a_malformed_record_does_not_hold_up_the_log(state: OpenState, caplog: pytest.LogCaptureFixture) -> None:
    """It is passed over with a warning that names it."""
    broken = [record("consent", "bad", NOW), record("decision", "worse", NOW, slot=0, record="{")]
    asyncio.run(state.apply([*broken, consent("granted", NOW)], 2))
    assert asyncio.run(state.applied_offset()) == 2
    assert "record bad has no effect" in caplog.text
    assert "record worse has no effect" in caplog.text


def test_model_set_and_policy_are_published(state: OpenState, settings: Settings) -> None:
    """Another process sees the ids published last, each for itself."""
    assert asyncio.run(state.current_model_set()) is asyncio.run(state.current_policy()) is None
    for number in (1, 2):
        asyncio.run(state.publish_model_set(f"m{number}"))
        asyncio.run(state.publish_policy(f"p{number}"))
    with closing(open_state(settings)) as other:
        assert asyncio.run(other.current_model_set()) == "m2"
        assert asyncio.run(other.current_policy()) == "p2"


def test_a_limit_binds_every_customer(state: OpenState) -> None:
    """What one customer holds another cannot have, and nobody's contacts take from the counter too."""
    asked = [proposal(f"d{n}", limits=(volume(2),), customer_id=name) for n, name in enumerate(("c1", None, "c2"))]
    assert [chosen(state, each) for each in asked] == ["eggs/mail", "eggs/mail", DO_NOTHING]
    assert known(state, None).usage == {VOLUME: Usage(seen=0, held=2)}
    assert known(state, None).contacts == ()


def test_a_limit_is_of_its_period(state: OpenState) -> None:
    """The next day has a counter of its own; a budget without a period goes on."""
    limits = (volume(1), Limit("budget", "total", 60, 100, is_money=True))
    chosen(state, proposal("d1", limits=limits))
    assert chosen(state, proposal("d2", limits=limits[:1]), NOW + TTL / 2) == DO_NOTHING
    assert chosen(state, proposal("d3", limits=limits), NOW - timedelta(days=1)) == DO_NOTHING
    assert chosen(state, proposal("d4", limits=limits[:1]), NOW - timedelta(days=1)) == "eggs/mail"
    assert known(state).usage == {VOLUME: Usage(held=1), BUDGET: Usage(held=60)}


def test_what_is_seen_is_used_up_for_good(state: OpenState) -> None:
    """An impression turns what was held into what was seen, once, and no expiry gives it back."""
    chosen(state, proposal("d1", limits=(volume(1),)))
    for _ in range(2):
        asyncio.run(state.commit("d1", 0, "e1", NOW))
    assert chosen(state, proposal("d2", limits=(volume(1),)), NOW + 2 * TTL) == DO_NOTHING
    assert known(state).usage == {VOLUME: Usage(seen=1)}
    assert asyncio.run(state.overruns()) == 0


@pytest.mark.parametrize("gone", ["expired", "released"])
def test_an_impression_after_its_room_was_given_back_is_an_overrun(state: OpenState, gone: str) -> None:
    """It counts, beside what took its place, and is counted once as more than was allowed."""
    chosen(state, proposal("d1", limits=(volume(1),)))
    if gone == "released":
        asyncio.run(state.release("d1", 0))
    assert chosen(state, proposal("d2", limits=(volume(1),), customer_id="c2"), NOW + TTL) == "eggs/mail"
    for _ in range(2):
        asyncio.run(state.commit("d1", 0, "e1", NOW + TTL))
    assert known(state).usage == {VOLUME: Usage(seen=1, held=1)}
    assert asyncio.run(state.overruns()) == 1


def test_a_clock_set_back_brings_nothing_to_life(state: OpenState) -> None:
    """What has expired once stays so, beside what took its place under the cap and the limit."""
    asked = [proposal(f"d{n}", weekly(1), limits=(volume(1),)) for n in range(3)]
    chosen(state, asked[0])
    assert chosen(state, asked[1], NOW + TTL) == "eggs/mail"
    assert chosen(state, asked[2]) == DO_NOTHING
    asyncio.run(state.release("d1", 0))
    assert chosen(state, asked[2]) == "eggs/mail"


def test_a_log_that_comes_late_leaves_expired_what_has_expired(state: OpenState) -> None:
    """The decision's record says until when it was reserved; its room may be another's by then."""
    late = proposal("d1", weekly(1), limits=(volume(1),))
    grant = asyncio.run(state.reserve(late, NOW))
    chosen(state, proposal("d2", weekly(1), limits=(volume(1),)), NOW + TTL)
    asyncio.run(state.apply([decision(late, grant)], 1))
    assert known(state).usage == {VOLUME: Usage(held=1)}


def test_a_decision_that_took_place_after_all_is_taken_back(state: OpenState) -> None:
    """Released because the log did not answer, and logged all the same: it counts."""
    asked = proposal("d1", weekly(1), limits=(volume(1),))
    grant = asyncio.run(state.reserve(asked, NOW))
    asyncio.run(state.release("d1", 0))
    for _ in range(2):
        asyncio.run(state.apply([decision(asked, grant)], None))
    assert known(state).usage == {VOLUME: Usage(held=1)}
    assert chosen(state, proposal("d2", weekly(1))) == DO_NOTHING


def test_a_second_try_is_not_held_back_by_what_the_first_holds_of_a_limit(state: OpenState) -> None:
    """As with caps, a decision takes no room from itself; and it holds what it holds once."""
    for _ in range(2):
        assert chosen(state, proposal("d1", limits=(volume(1),))) == "eggs/mail"
    assert known(state).usage == {VOLUME: Usage(held=1)}


def test_tries_at_two_times_count_from_the_later(state: OpenState) -> None:
    """Whichever of them the log will name, its place in the window is taken, also by a clock that was set back."""
    for at in (NOW, NOW - timedelta(days=2)):
        chosen(state, proposal("d1", weekly(1, "decision")), at)
    assert chosen(state, proposal("d2", weekly(1, "decision")), NOW + timedelta(days=6)) == DO_NOTHING


def test_tries_on_two_days_hold_of_both(state: OpenState) -> None:
    """Until the log says which it was; then the other day's counter gets its room back."""
    asked = proposal("d1", limits=(volume(1),))
    first = asyncio.run(state.reserve(asked, NOW))
    asyncio.run(state.reserve(asked, NOW - timedelta(days=1)))
    both = SnapshotScope(LONG_AGO, LONG_AGO, (VOLUME, "volume@2026-03-01"))
    assert asyncio.run(state.snapshot("c1", both)).usage == {name: Usage(held=1) for name in both.counters}
    asyncio.run(state.apply([decision(asked, first)], 1))
    assert asyncio.run(state.snapshot("c1", both)).usage == {VOLUME: Usage(held=1)}


def test_arms_are_kept_from_the_first_decision_on(state: OpenState) -> None:
    """A live reservation keeps them where there are none; of logged ones the earlier holds, whatever their order."""
    control, treated = Arm("universal", "control", 0.1), Arm("universal", "treated", 0.9)
    for mode in ("dry_run", "shadow"):
        asked = proposal("d0", arms=(treated,))
        chosen(state, msgspec.structs.replace(asked, record=msgspec.structs.replace(asked.record, mode=mode)))
    assert known(state).arms == ()
    chosen(state, proposal("d1", arms=(control,)))
    chosen(state, proposal("d2", arms=(treated,)))
    assert known(state).arms == (control,)
    asked = proposal("d3", arms=(treated,))
    grant = asyncio.run(state.reserve(asked, NOW))
    earlier = msgspec.structs.replace(asked.record, occurred_at=NOW - TTL)
    asyncio.run(state.apply([decision(msgspec.structs.replace(asked, record=earlier), grant)], None))
    asyncio.run(state.apply([decision(asked, grant)], None))
    assert known(state).arms == (treated,)
    same_moment = msgspec.structs.replace(earlier, decision_id="d4", arms=(control,))
    asyncio.run(state.apply([decision(msgspec.structs.replace(asked, record=same_moment), grant)], None))
    assert known(state).arms == (treated,)


def test_an_interaction_counts_once(state: OpenState) -> None:
    """By its event id, for the customer alone, as far back as the snapshot is asked for."""
    seen = record("event", "e1", NOW, customer_id="c1", type="page_view")
    bought = record("outcome", "o1", NOW - TTL, customer_id="c1", kind="redemption", action="eggs")
    for offset in (None, 2, None):
        asyncio.run(state.apply([seen, bought], offset))
    redeemed = Interaction(kind="redemption", at=NOW - TTL, action="eggs")
    assert known(state).interactions == (redeemed, Interaction(kind="page_view", at=NOW))
    lately = SnapshotScope(LONG_AGO, NOW - TTL)
    assert [each.kind for each in asyncio.run(state.snapshot("c1", lately)).interactions] == ["page_view"]
    assert known(state, "c2").interactions == ()


def test_whoever_did_much_is_known_by_all_of_it(state: OpenState) -> None:
    """Ten thousand interactions are more than one command takes at a time; they come in their order."""
    moments = [NOW + timedelta(seconds=number) for number in range(10_000)]
    done = [record("event", f"v{n}", at, customer_id="c1", type="page_view") for n, at in enumerate(moments)]
    asyncio.run(state.apply(done, 1))
    assert [each.at for each in known(state).interactions] == moments


def test_a_snapshot_looks_back_as_far_as_it_is_asked_to(state: OpenState) -> None:
    """Contacts that cannot count any more are left out."""
    chosen(state, proposal("d1"))
    asked = SnapshotScope(NOW + TTL - timedelta(microseconds=1), NOW)
    assert len(asyncio.run(state.snapshot("c1", asked)).contacts) == 1
    assert asyncio.run(state.snapshot("c1", SnapshotScope(NOW + TTL, NOW))).contacts == ()


def test_state_rebuilt_from_the_log_is_the_state_kept(home: Callable[[], Settings]) -> None:
    """Decisions, impressions, interactions, consents, identities and pauses: all the next decision knows is there."""
    log: list[Envelope] = [consent("granted", NOW), record("pause", "p1", NOW, action="soap")]
    log.append(record("event", "v1", NOW, customer_id="c1", type="page_view"))
    with closing(open_state(home())) as state:
        for n, action in enumerate(("eggs", "milk", "eggs", "milk"), start=1):
            asked = proposal(f"d{n}", weekly(3), actions=(action,), limits=(volume(9),), arms=(Arm("x", "a", 0.5),))
            log.append(decision(asked, asyncio.run(state.reserve(asked, NOW))))
        log += [
            impression("e1", "d1", "eggs", NOW + TTL / 2),
            impression("e2", "d2", "milk"),
            consent("withdrawn", NOW),
        ]
        log.append(record("identity", "i1", NOW, kind="email", identifier_hmac="a" * 64, customer_id="c1"))
        for offset, entry in enumerate(log, start=1):
            asyncio.run(state.apply([entry], offset))
        kept = known(state)
    with closing(open_state(home())) as rebuilt:
        assert known(rebuilt) == Snapshot()
        for again in (len(log), None):
            asyncio.run(rebuilt.apply(log, again))
            assert known(rebuilt) == kept
    seen = [(contact.action, contact.impressed_at is not None) for contact in kept.contacts]
    assert seen == [("eggs", True), ("milk", True), ("eggs", False)]
    assert kept.usage == {VOLUME: Usage(seen=2, held=1)}


def hmac_of(customer_id: str) -> str:
    return customer_id[-1] * 64


def said_of(customer_id: str) -> list[Envelope]:
    """A word about a consent, an interaction, and an identifier of the customer."""
    who = {"customer_id": customer_id}
    return [
        record("consent", f"k-{customer_id}", NOW, **who, purpose="marketing", status="granted"),
        record("event", f"e-{customer_id}", NOW, **who, type="page_view"),
        record("identity", f"i-{customer_id}", NOW, **who, kind="email", identifier_hmac=hmac_of(customer_id)),
    ]


def test_an_erased_customer_is_forgotten(state: OpenState) -> None:
    """Consents, identifiers, arms, interactions and contacts go; what was seen still takes of the volume."""
    arms = (Arm("control", "treated", 0.9),)
    for customer_id in ("c1", "c2"):
        asyncio.run(state.apply(said_of(customer_id), None))
        for number in range(2):
            chosen(state, proposal(f"{customer_id}-{number}", limits=(volume(10),), customer_id=customer_id, arms=arms))
    before = known(state, "c2")
    asyncio.run(state.commit("c1-0", 0, "seen", NOW))
    asyncio.run(state.apply([erasure("erasure/1", "c1", NOW)], None))
    assert known(state, "c1") == Snapshot(usage={VOLUME: Usage(seen=1, held=3)})  # it may be seen yet, and else expires
    assert asyncio.run(state.customer_of([Identifier(kind="email", hmac=hmac_of("c1"))])) != "c1"
    assert asyncio.run(state.members(["c1"])) == {"c1": ("c1",)}
    assert msgspec.structs.replace(known(state, "c2"), usage={}) == msgspec.structs.replace(before, usage={})
    assert asyncio.run(state.members(["c2"])) == {"c2": ("c2", f"email:{hmac_of('c2')}")}


def test_a_customer_who_comes_back_is_a_new_one(state: OpenState) -> None:
    """What is said after an erasure holds, in the same batch too; what was said before does not."""
    page_view = record("event", "later", NOW, customer_id="c1", type="page_view")
    batch = [*said_of("c1"), erasure("erasure/1", "c1", NOW), page_view]
    asyncio.run(state.apply(batch, len(batch)))
    assert known(state) == Snapshot(interactions=(Interaction(kind="page_view", at=NOW),))
    assert asyncio.run(state.applied_offset()) == len(batch)


def test_what_counts_no_more_is_forgotten(state: OpenState) -> None:
    """Contacts and interactions up to a moment go, later ones stay; what contacts took of counters stays taken."""
    asked = [proposal(f"d{n}", limits=(volume(9),)) for n in range(3)]
    log = [decision(each, asyncio.run(state.reserve(each, NOW))) for each in asked]
    log += [impression("e0", "d0", "eggs"), impression("e1", "d1", "eggs", NOW + 3 * TTL)]
    log += [record("event", f"v{n}", NOW + n * TTL, customer_id="c1", type="page_view") for n in range(3)]
    asyncio.run(state.apply(log, len(log)))
    for _ in range(2):
        asyncio.run(state.forget_before(NOW + 2 * TTL, NOW + TTL))
    left = known(state)
    assert [contact.decision_id for contact in left.contacts] == ["d1"]
    assert [each.at for each in left.interactions] == [NOW + 2 * TTL]
    assert left.usage == {VOLUME: Usage(seen=2)}
    asyncio.run(state.rewind())
    asyncio.run(state.apply(log, len(log)))
    assert known(state).contacts == left.contacts
    assert known(state).usage == left.usage


def test_a_customer_with_much_to_forget_keeps_the_rest(state: OpenState) -> None:
    """More than one step takes at a time goes, and nothing else."""
    moments = [NOW + timedelta(seconds=number) for number in range(1_200)]
    done = [record("event", f"v{n}", at, customer_id="c1", type="page_view") for n, at in enumerate(moments)]
    asyncio.run(state.apply(done, 1))
    asyncio.run(state.forget_before(NOW, moments[1_150]))
    assert [each.at for each in known(state).interactions] == moments[1_151:]


def rests_on(state: OpenState, log_id: str) -> bool:
    """Whether a snapshot and a reservation may rest on the log."""
    asked = proposal(f"on {log_id}")
    try:
        asyncio.run(state.snapshot("c1", EVERYTHING, log_id))
        asyncio.run(state.reserve(asked, NOW, log_id))
    except StateBehindError:
        with pytest.raises(StateBehindError):
            asyncio.run(state.reserve(asked, NOW, log_id))
        return False
    return True


def test_offsets_are_of_one_log(state: OpenState) -> None:
    """Of another log nothing is applied yet, and nothing decided by: not before State was once at its end."""
    asyncio.run(state.apply([consent("granted", NOW)], 7, "one"))
    assert [asyncio.run(state.applied_offset(each)) for each in ("one", "other")] == [7, 0]
    assert not rests_on(state, "one")
    asyncio.run(state.apply([], 7, "one", after=7, is_end=True))
    assert [rests_on(state, each) for each in ("one", "other")] == [True, False]
    asyncio.run(state.apply([consent("withdrawn", NOW + TTL)], 3, "other", after=0, is_end=True))
    asyncio.run(state.apply([], 8, "one", after=7))
    assert [asyncio.run(state.applied_offset(each)) for each in ("one", "other")] == [8, 3]
    assert [rests_on(state, each) for each in ("one", "other")] == [True, True]
    assert known(state).consents == {"marketing": "withdrawn"}


def test_a_log_that_is_applied_again_leaves_its_mark(state: OpenState) -> None:
    """State knows what it knew while it goes through an older copy."""
    asyncio.run(state.apply([consent("granted", NOW)], 7, "one", is_end=True))
    asyncio.run(state.rewind("one"))
    assert asyncio.run(state.applied_offset("one")) == 0
    assert rests_on(state, "one")


def test_a_state_that_is_cleared_is_as_new(state: OpenState) -> None:
    """But for what is in no log; and what was read of the log before that cannot be applied any more."""
    asyncio.run(state.publish_policy("p"))
    asyncio.run(state.publish_model_set("m"))
    batch = [*said_of("c1"), record("pause", "p1", NOW, action="eggs")]
    asyncio.run(state.apply(batch, 4, "one", is_end=True))
    chosen(state, proposal("d1", limits=(volume(10),), arms=(Arm("control", "treated", 0.9),)))
    late = proposal("d2", limits=(volume(10),))
    asyncio.run(state.reserve(late, NOW))
    asyncio.run(state.reserve(proposal("d3", customer_id="c1"), NOW + 2 * TTL))
    asyncio.run(state.commit("d2", 0, "seen", NOW + 2 * TTL))
    assert asyncio.run(state.overruns()) == 1
    asyncio.run(state.clear())
    assert known(state) == Snapshot()
    assert not rests_on(state, "one")
    asyncio.run(state.apply(batch, 5, "one", after=4, is_end=True))
    assert (asyncio.run(state.applied_offset("one")), known(state)) == (0, Snapshot())
    assert asyncio.run(state.members(["c1"])) == {"c1": ("c1",)}
    assert [asyncio.run(each) for each in (state.current_policy(), state.current_model_set())] == ["p", "m"]
    assert asyncio.run(state.overruns()) == 1


def test_a_state_that_is_behind_gives_nothing_back(state: OpenState) -> None:
    """An impression of the log must find its contact held, however long ago that was: it is no overrun."""
    asked = proposal("d1", limits=(volume(10),))
    asyncio.run(state.apply([decision(asked, asyncio.run(state.reserve(asked, NOW)))], 1, "one"))
    for call in (
        state.reserve(proposal("d2"), NOW + 2 * TTL, "one"),
        state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO, (), NOW + 2 * TTL), "one"),
    ):
        with pytest.raises(StateBehindError):
            asyncio.run(call)
    assert known(state).usage == {VOLUME: Usage(held=1)}


def test_a_long_batch_is_at_the_end_only_with_its_last_part(state: OpenState) -> None:
    """However it is cut: hundreds of words, an erasure in between, and more."""
    words = [consent("granted", NOW + timedelta(seconds=second)) for second in range(600)]
    batch = [*words, erasure("erasure/1", "c1", NOW), consent("withdrawn", NOW)]
    asyncio.run(state.apply(batch, len(batch), "one", after=0, is_end=True))
    assert asyncio.run(state.applied_offset("one")) == len(batch)
    assert rests_on(state, "one")
    assert known(state).consents == {"marketing": "withdrawn"}


@pytest.mark.parametrize("amount", [2**63 + 9, 2**64])
def test_a_number_too_large_to_count_is_no_fault_of_the_store(state: OpenState, amount: int) -> None:
    """It raises what whoever follows the log can tell from a store that is down; and nothing else is lost by it."""
    asked = proposal("d1", limits=(volume(10),))
    entry = decision(asked, asyncio.run(state.reserve(asked, NOW)))
    text = entry.properties["record"].replace(f'"takes":{{"{VOLUME}":1}}', f'"takes":{{"{VOLUME}":{amount}}}')
    broken = msgspec.structs.replace(entry, properties=entry.properties | {"record": text})
    for _ in range(2):
        with pytest.raises(OverflowError):
            asyncio.run(state.apply([broken], 1))
    assert asyncio.run(state.applied_offset()) == 0
    asyncio.run(state.apply([consent("granted", NOW)], 2))
    assert known(state).consents == {"marketing": "granted"}
