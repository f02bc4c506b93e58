"""State on SQLite: caps hold whatever the concurrency, consents bind, effects come once."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest import records
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.decision import settle
from nextbest.envelope import Envelope, Identifier
from nextbest.messages import Cap, Count, Option, PlacementProposal, Proposal
from nextbest.records import DO_NOTHING, DecisionRecord
from nextbest.reservations import Tally, reserve
from nextbest.state import StateUnavailableError

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)
TTL = timedelta(hours=1)


def weekly(limit: int, count: Count = "impression") -> Cap:
    return Cap(rule="weekly", scope="all", member="", count=count, limit=limit, window_seconds=7 * 86_400)


def proposal(decision_id: str, *caps: Cap, actions: tuple[str, ...] = ("eggs", "milk")) -> Proposal:
    options = [
        Option(key=f"{a}/mail", action=a, treatment="mail", group="food", probability=0.5, caps=caps) for a in actions
    ]
    nothing = Option(key=DO_NOTHING, action=DO_NOTHING, treatment="", group="", probability=0.0)
    placement = PlacementProposal(id="home", channel="web", slots=1, order=(*options, nothing))
    record = DecisionRecord(
        decision_id=decision_id, request_id=decision_id, occurred_at=NOW, customer_id="c1", policy_hash="p"
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


def decision(made: DecisionRecord) -> Envelope:
    (row,) = records.rows(made)
    return record("decision", made.decision_id, NOW, **row)


def impression(event_id: str, decision_id: str, action: str, at: datetime = NOW) -> Envelope:
    return record("impression", event_id, at, decision_id=decision_id, action=action)


def consent(status: str, at: datetime) -> Envelope:
    return record("consent", f"{status}-{at}", at, customer_id="c1", purpose="marketing", status=status)


def chosen(state: SqliteState, asked: Proposal, at: datetime = NOW) -> str:
    return asyncio.run(state.reserve(asked, at)).placements["home"][0].key


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteState]:
    with closing(SqliteState(tmp_path / "state.db")) as state:
        yield state


def test_a_cap_binds_the_next_decision(state: SqliteState) -> None:
    """Once the cap is full every decision falls through to doing nothing."""
    assert chosen(state, proposal("d1", weekly(2))) == "eggs/mail"
    assert chosen(state, proposal("d2", weekly(2))) == "eggs/mail"
    assert chosen(state, proposal("d3", weekly(2))) == DO_NOTHING


def test_the_same_decision_reserves_once(state: SqliteState) -> None:
    """A repeated reservation is granted the same and takes no more room."""
    assert [chosen(state, proposal("d1", weekly(1))) for _ in range(3)] == ["eggs/mail"] * 3
    assert len(asyncio.run(state.snapshot("c1", LONG_AGO)).contacts) == 1


def test_a_second_try_of_a_decision_is_not_held_back_by_the_first(state: SqliteState) -> None:
    """Killed before it was logged, released, expired or proposing something else: the room it had is its own."""
    chosen(state, proposal("d1", weekly(1)))
    assert chosen(state, proposal("d1", weekly(1), actions=("milk",))) == "milk/mail"
    asyncio.run(state.release("d1", 0))
    assert chosen(state, proposal("d1", weekly(1))) == "eggs/mail"
    assert chosen(state, proposal("d2", weekly(1))) == DO_NOTHING


def test_room_given_back_is_not_taken_for_granted(state: SqliteState) -> None:
    """What a decision held and gave back others may have now: its second try is tested again."""
    chosen(state, proposal("d1", weekly(1)))
    asyncio.run(state.release("d1", 0))
    chosen(state, proposal("d2", weekly(1)))
    assert chosen(state, proposal("d1", weekly(1))) == DO_NOTHING


def test_every_try_of_a_decision_is_held_until_the_log_says_which_it_was(state: SqliteState) -> None:
    """Two tries at once may propose different actions; whichever is logged, no other decision took its room."""
    eggs = proposal("d1", weekly(2), actions=("eggs",))
    asyncio.run(state.reserve(eggs, NOW))
    asyncio.run(state.reserve(proposal("d1", weekly(2), actions=("milk",)), NOW))
    assert chosen(state, proposal("d2", weekly(2))) == DO_NOTHING
    grant, _ = reserve(eggs, (), NOW)
    asyncio.run(state.apply([decision(settle(eggs, grant))], None))
    assert [contact.action for contact in asyncio.run(state.snapshot("c1", LONG_AGO)).contacts] == ["eggs"]


def test_state_rebuilt_from_the_log_is_the_state_kept(state: SqliteState, tmp_path: Path) -> None:
    """Decisions, impressions, consents, identities and pauses: all that the next decision knows is in the log."""
    log: list[Envelope] = [consent("granted", NOW), record("pause", "p1", NOW, action="soap")]
    for name, actions in (("d1", ("eggs",)), ("d2", ("milk",)), ("d3", ("eggs",)), ("d4", ("milk",))):
        asked = proposal(name, weekly(3), actions=actions)
        log.append(decision(settle(asked, asyncio.run(state.reserve(asked, NOW)))))
    log += [impression("e1", "d1", "eggs", NOW + TTL / 2), impression("e2", "d2", "milk"), consent("withdrawn", NOW)]
    log.append(record("identity", "i1", NOW, kind="email", identifier_hmac="ab", customer_id="c1"))
    for offset, entry in enumerate(log, start=1):
        asyncio.run(state.apply([entry], offset))
    with closing(SqliteState(tmp_path / "rebuilt.db")) as rebuilt:
        asyncio.run(rebuilt.apply(log, len(log)))
        kept = asyncio.run(state.snapshot("c1", LONG_AGO))
        assert asyncio.run(rebuilt.snapshot("c1", LONG_AGO)) == kept
        asyncio.run(rebuilt.apply(log, None))
        assert asyncio.run(rebuilt.snapshot("c1", LONG_AGO)) == kept
    assert [(contact.action, contact.impressed_at is not None) for contact in kept.contacts] == [
        ("eggs", True),
        ("milk", True),
        ("eggs", False),
    ]


def test_a_dry_run_takes_no_room(state: SqliteState) -> None:
    """What does not reserve is granted the same, and nothing is kept of it."""
    dry = msgspec.structs.replace(proposal("d1", weekly(1)), reserves=False)
    assert [chosen(state, dry), chosen(state, dry)] == ["eggs/mail"] * 2
    assert asyncio.run(state.snapshot("c1", LONG_AGO)).contacts == ()


def test_an_unseen_contact_gives_back_when_it_expires(state: SqliteState) -> None:
    """A reservation holds room for its time to live, and no longer."""
    chosen(state, proposal("d1", weekly(1)))
    assert chosen(state, proposal("d2", weekly(1)), NOW + TTL / 2) == DO_NOTHING
    assert chosen(state, proposal("d3", weekly(1)), NOW + TTL) == "eggs/mail"


def test_a_released_contact_gives_back_at_once(state: SqliteState) -> None:
    """Release makes room before expiry; released twice is released once."""
    chosen(state, proposal("d1", weekly(1)))
    asyncio.run(state.release("d1", 0))
    asyncio.run(state.release("d1", 0))
    assert chosen(state, proposal("d2", weekly(1))) == "eggs/mail"


@pytest.mark.parametrize("late", [timedelta(0), TTL * 2, timedelta(days=-30)])
def test_an_impression_counts_for_the_whole_window(state: SqliteState, late: timedelta) -> None:
    """A seen contact counts from when it was seen, even when its reservation had expired or was released.

    A channel whose clock is behind cannot have shown it before it was decided.
    """
    chosen(state, proposal("d1", weekly(1)))
    asyncio.run(state.release("d1", 0))
    asyncio.run(state.commit("d1", 0, "e1", NOW + late))
    assert chosen(state, proposal("d2", weekly(1)), NOW + timedelta(days=6)) == DO_NOTHING
    assert chosen(state, proposal("d3", weekly(1)), NOW + timedelta(days=8)) == "eggs/mail"


def test_the_same_impression_marks_one_slot(state: SqliteState) -> None:
    """Without deduplication one action may fill two slots: an event repeated marks the first only."""
    asked = proposal("d1", actions=("eggs",))
    placement = asked.placements[0]
    twice = msgspec.structs.replace(
        asked, dedup=False, placements=(placement, msgspec.structs.replace(placement, id="cart"))
    )
    asyncio.run(state.reserve(twice, NOW))
    for offset in (1, None, 2):
        asyncio.run(state.apply([impression("e1", "d1", "eggs")], offset))
    seen = [contact.impressed_at for contact in asyncio.run(state.snapshot("c1", LONG_AGO)).contacts]
    assert seen == [NOW, None]


def test_the_latest_consent_holds_whatever_the_order(state: SqliteState) -> None:
    """An older consent that arrives late changes nothing; of two at the same moment the stricter holds."""
    later = NOW + timedelta(seconds=1)
    asyncio.run(state.apply([consent("withdrawn", later), consent("granted", NOW), consent("granted", later)], 3))
    assert asyncio.run(state.snapshot("c1", LONG_AGO)).consents == {"marketing": "withdrawn"}
    assert asyncio.run(state.snapshot("c2", LONG_AGO)).consents == {}


def test_an_identifier_finds_its_customer(state: SqliteState) -> None:
    """The latest link of the first known identifier wins, and of two at the same moment the correction."""
    linked = [
        record("identity", "i1", NOW, kind="email", identifier_hmac="ab", customer_id="c1"),
        record("identity", "i2", NOW + TTL, kind="email", identifier_hmac="ab", customer_id="c3"),
        record("identity", "i3", NOW + TTL, kind="email", identifier_hmac="ab", customer_id="c2"),
    ]
    asyncio.run(state.apply(linked, 2))
    known, unknown = Identifier(kind="email", hmac="ab"), Identifier(kind="email", hmac="cd")
    assert asyncio.run(state.customer_of([unknown, known])) == "c2"
    assert asyncio.run(state.customer_of([unknown])) is None


def test_the_kill_switch_is_known_to_everybody(state: SqliteState) -> None:
    """A paused action is in every snapshot, that of an unknown customer included, until it is resumed."""
    asyncio.run(state.apply([record("pause", "p1", NOW, action="eggs")], 1))
    assert asyncio.run(state.snapshot(None, LONG_AGO)).pauses == ("eggs",)
    asyncio.run(state.apply([record("resume", "p2", NOW + TTL, action="eggs")], 2))
    assert asyncio.run(state.snapshot("c1", LONG_AGO)).pauses == ()


def test_the_offset_moves_with_its_effects_and_never_back(state: SqliteState) -> None:
    """Records at or below the offset kept are ignored; the offset is kept over a restart."""
    asyncio.run(state.apply([consent("granted", NOW)], 7))
    asyncio.run(state.apply([consent("withdrawn", NOW + TTL)], 7))
    assert asyncio.run(state.applied_offset()) == 7
    assert asyncio.run(state.snapshot("c1", LONG_AGO)).consents == {"marketing": "granted"}


def test_a_malformed_record_does_not_hold_up_the_log(state: SqliteState, caplog: pytest.LogCaptureFixture) -> None:
    """It is passed over with a warning that names it."""
    broken = [record("consent", "bad", NOW), record("decision", "worse", NOW, slot=0, record="{")]
    asyncio.run(state.apply([*broken, consent("granted", NOW)], 2))
    assert asyncio.run(state.applied_offset()) == 2
    assert "record bad has no effect" in caplog.text
    assert "record worse has no effect" in caplog.text


def test_the_model_set_is_published(state: SqliteState, tmp_path: Path) -> None:
    """Another process sees the id published last."""
    assert asyncio.run(state.current_model_set()) is None
    asyncio.run(state.publish_model_set("m1"))
    asyncio.run(state.publish_model_set("m2"))
    with closing(SqliteState(tmp_path / "state.db")) as other:
        assert asyncio.run(other.current_model_set()) == "m2"


def test_a_lost_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    """A State that cannot be reached raises what serving falls back on."""
    (tmp_path / "online").write_text("a file where the folder should be")
    with closing(SqliteState(tmp_path / "online" / "state.db")) as state:
        with pytest.raises(StateUnavailableError):
            asyncio.run(state.snapshot("c1", LONG_AGO))
        with pytest.raises(StateUnavailableError):
            asyncio.run(state.reserve(proposal("d1"), NOW))


_RESERVE = """
import asyncio, sys
from datetime import datetime
from pathlib import Path
import msgspec
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.messages import Proposal

path, name, now, asked = sys.argv[1:]
state = SqliteState(Path(path))
asked = msgspec.json.decode(asked, type=Proposal)

async def main():
    decisions = [msgspec.structs.replace(asked.record, decision_id=f"{name}-{n}") for n in range(50)]
    calls = (state.reserve(msgspec.structs.replace(asked, record=d), datetime.fromisoformat(now)) for d in decisions)
    for grant in await asyncio.gather(*calls):
        print(grant.placements["home"][0].key)

asyncio.run(main())
"""


@pytest.mark.parametrize("count", ["impression", "decision"])
def test_no_cap_is_exceeded_by_concurrent_processes(tmp_path: Path, count: Count) -> None:
    """Four processes that reserve two hundred times at once grant exactly what the caps allow, in their order."""
    food = Cap(rule="food", scope="group", member="food", count=count, limit=11, window_seconds=60)
    eggs = Cap(rule="eggs", scope="action", member="eggs", count=count, limit=4, window_seconds=60)
    asked = proposal("d", food)
    first, *others = asked.placements[0].order
    order = (msgspec.structs.replace(first, caps=(food, eggs)), *others)
    asked = msgspec.structs.replace(asked, placements=(msgspec.structs.replace(asked.placements[0], order=order),))
    text = msgspec.json.encode(asked).decode()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RESERVE, str(tmp_path / "state.db"), name, NOW.isoformat(), text],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abcd"
    ]
    granted = [line for p in processes for line in p.communicate()[0].split()]
    assert {key: granted.count(key) for key in granted} == {"eggs/mail": 4, "milk/mail": 7, DO_NOTHING: 189}


Step = Callable[[SqliteState, int, datetime], None]


def _reserve(state: SqliteState, n: int, now: datetime) -> None:
    asyncio.run(state.reserve(proposal(f"d{n}", weekly(3)), now))


def _see(state: SqliteState, n: int, now: datetime) -> None:
    contacts = asyncio.run(state.snapshot("c1", LONG_AGO)).contacts
    held = [c for c in contacts if c.impressed_at is None and c.expires_at > now]
    if held:
        asyncio.run(state.commit(held[n % len(held)].decision_id, 0, f"e{n}", now))


def _release(state: SqliteState, n: int, _now: datetime) -> None:
    asyncio.run(state.release(f"d{n // 2}", 0))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([_reserve, _reserve, _see, _release]), st.integers(0, 3 * 86_400)), max_size=25)
)
def test_the_cap_holds_after_every_step(steps: list[tuple[Step, int]]) -> None:
    """Whatever is reserved, seen in time, released or left to expire, in whatever rhythm, three a week is the most."""
    with TemporaryDirectory() as folder, closing(SqliteState(Path(folder) / "state.db")) as state:
        now = NOW
        for n, (step, seconds) in enumerate(steps):
            now += timedelta(seconds=seconds)
            step(state, n, now)
            assert Tally(asyncio.run(state.snapshot("c1", LONG_AGO)).contacts, now).usage(weekly(3)) <= 3
