"""The event processor brings the log into State, soon and once, whatever is in the log."""

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from nextbest import records
from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.envelope import Envelope
from nextbest.following import BATCH_RECORDS
from nextbest.log import EventLog
from nextbest.projection import ProjectionWaitsError, Read, Values
from nextbest.records import DecisionRecord, PlacementRecord, SlotRecord
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, State, StateUnavailableError
from serving.app import running
from serving.processor import Processor

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCOPE = SnapshotScope(AT, AT)


@pytest.fixture
def state(settings: Settings) -> Iterator[SqliteState]:
    """One that has caught up with nothing yet."""
    with closing(SqliteState(settings.online_state)) as state:
        yield state


def processor(log: EventLog, state: State, folder: Path = Path("nowhere")) -> Processor:
    return Processor(log=log, state=state, skipped=SkippedRecords(folder / "skipped.json"), clock=lambda: AT)


def process(log: EventLog, state: State, folder: Path = Path("nowhere")) -> int:
    """How many records one step applies."""
    return len(asyncio.run(processor(log, state, folder).step()).records)


def said(state: State, log_id: str = "") -> dict[str, str]:
    return dict(asyncio.run(state.snapshot("c1", SCOPE, log_id)).consents)


def consent(status: str, at: datetime) -> Envelope:
    return Envelope(
        event_id=f"consents/{at.timestamp()}",
        type="consent",
        contract="consents",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c1",
        properties={"customer_id": "c1", "purpose": "marketing", "status": status},
    )


def poison() -> Envelope:
    """A decision that takes more of a volume than any store can count."""
    slot = SlotRecord(
        slot=0, action="beef", treatment="beef", probability=1.0, expires_at=AT, takes={"volume@2026-03-02": 2**64}
    )
    placement = PlacementRecord(id="home_banner", channel="web", pmf={}, order=(), slots=(slot,))
    made = DecisionRecord(
        decision_id="d1", request_id="d1", occurred_at=AT, customer_id="c1", policy_hash="p", placements=(placement,)
    )
    entry = consent("granted", AT)
    properties = {"slot": 0, "record": records.encode(made).decode().replace(str(2**64 - 1), str(2**64))}
    return msgspec.structs.replace(entry, event_id="decisions/d1/0", type="decision", properties=properties)


def test_an_event_is_visible_within_a_tenth_of_a_second(log: SqliteLog, state: SqliteState) -> None:
    """Acknowledged by the log, known to the next decision 100 ms later."""

    async def follow_for_a_moment() -> dict[str, str]:
        async with running(processor(log, state).follow()):
            await asyncio.sleep(0.05)
            await log.append([consent("withdrawn", AT)])
            await asyncio.sleep(0.1)
            return dict((await state.snapshot("c1", SCOPE)).consents)

    assert asyncio.run(follow_for_a_moment()) == {"marketing": "withdrawn"}


def test_two_processors_do_no_harm(log: SqliteLog, state: SqliteState, settings: Settings) -> None:
    """The old and the new one, while servers are rolled, each with a connection of its own."""

    async def follow_twice() -> int:
        with closing(SqliteState(settings.online_state)) as other:
            async with running(processor(log, state).follow()), running(processor(log, other).follow()):
                for second in range(50):
                    status = "withdrawn" if second % 2 else "granted"
                    await log.append([consent(status, AT + timedelta(seconds=second))])
                    await asyncio.sleep(0)
                while await state.applied_offset(await log.log_id()) < 50:  # noqa: ASYNC110  nobody sets an event
                    await asyncio.sleep(0.001)
        return await state.applied_offset(await log.log_id())

    assert asyncio.run(follow_twice()) == 50
    assert said(state) == {"marketing": "withdrawn"}


def test_a_record_that_cannot_be_applied_holds_up_no_other(
    log: SqliteLog, state: SqliteState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is passed over, said in the server's log, and kept for a person to look at; applied again, it is so once."""
    log.append_sync([poison(), consent("withdrawn", AT)])
    for _ in range(2):
        assert process(log, state, tmp_path) == 2
        assert said(state, asyncio.run(log.log_id())) == {"marketing": "withdrawn"}
        asyncio.run(state.clear())
    assert "record decisions/d1/0 at offset 1 is passed over: OverflowError" in caplog.text
    kept = SkippedRecords(tmp_path / "skipped.json").read()
    assert kept.count == 1
    assert [(each.offset, each.event_id, each.error) for each in kept.last] == [(1, "decisions/d1/0", "OverflowError")]


def test_a_state_that_is_down_is_tried_again(
    log: SqliteLog, state: SqliteState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pause, and then all of it is applied: nothing is passed over because a disk was full."""
    log.append_sync([consent("withdrawn", AT)])
    tries: list[int] = []
    apply = SqliteState.apply

    async def full_at_first(*arguments: object, **options: object) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise StateUnavailableError("State cannot be used: database or disk is full")
        await apply(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteState, "apply", full_at_first)
    monkeypatch.setattr("serving.processor._RETRY_S", 0.001)

    async def follow_until_applied() -> None:
        async with running(processor(log, state).follow()):
            while not await state.is_caught_up(await log.log_id()):  # noqa: ASYNC110  nobody sets an event
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(follow_until_applied(), 10))
    assert said(state) == {"marketing": "withdrawn"}
    assert caplog.text.count("events wait: State cannot be used: database or disk is full") == 2


class Sizes:
    """A projection that keeps how many records it was given at a time."""

    name = "sizes"
    rest_s = 0.0

    def __init__(self) -> None:
        self.seen: list[int] = []

    async def fold(self, records: Sequence[tuple[int, Envelope]], _: Read) -> Values:
        self.seen.append(len(records))
        return {}


def test_projections_follow_state_to_the_end(log: SqliteLog, state: SqliteState) -> None:
    """Each record once, and none that State does not have yet."""
    log.append_sync([consent("granted", AT + timedelta(seconds=second)) for second in range(2 * BATCH_RECORDS + 1)])
    sizes = Sizes()
    follower = dataclasses.replace(processor(log, state), projections=[sizes])

    async def follow_to_the_end() -> None:
        async with running(follower.follow()), running(follower.project()):
            while sum(sizes.seen) < 2 * BATCH_RECORDS + 1:
                assert sum(sizes.seen) <= await state.applied_offset(await log.log_id())
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(follow_to_the_end(), 30))
    assert sum(sizes.seen) == 2 * BATCH_RECORDS + 1


class Endless(Sizes):
    """One that never gets done."""

    async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
        await super().fold(records, read)
        return await asyncio.Future()


def test_state_waits_for_no_projection(log: SqliteLog, state: SqliteState) -> None:
    """What customers forbid holds, however long it takes to work out what they like."""
    endless = Endless()
    follower = dataclasses.replace(processor(log, state), projections=[endless])

    async def follow_to_the_end() -> None:
        async with running(follower.follow()), running(follower.project()):
            await log.append([consent("granted", AT)])
            while not endless.seen:  # noqa: ASYNC110  nobody sets an event
                await asyncio.sleep(0.001)
            await log.append([consent("withdrawn", AT + timedelta(seconds=1))])
            while await state.applied_offset(await log.log_id()) < 2:  # noqa: ASYNC110  nobody sets an event
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(follow_to_the_end(), 30))
    assert said(state) == {"marketing": "withdrawn"}


class Late(Sizes):
    """One that is written where nothing can be written yet."""

    is_there = False

    async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
        if not self.is_there:
            raise ProjectionWaitsError("it is not there yet")
        return await super().fold(records, read)


def test_what_has_come_is_not_waited_for_any_longer(
    log: SqliteLog, state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows that it has come says so: it is not for the next try to find out."""
    monkeypatch.setattr("serving.processor._RETRY_S", 3_600.0)
    log.append_sync([consent("granted", AT)])
    late = Late()
    follower = dataclasses.replace(processor(log, state), projections=[late])

    async def follow_to_the_end() -> None:
        async with running(follower.follow()), running(follower.project()):
            while not follower.waiting:  # noqa: ASYNC110  nobody sets an event
                await asyncio.sleep(0.001)
            late.is_there = True
            follower.retry()
            while not late.seen:  # noqa: ASYNC110  nobody sets an event
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(follow_to_the_end(), 30))
    assert late.seen == [1]


class Resting(Sizes):
    """One that nobody waits for."""

    rest_s = 3_600.0


def test_what_comes_while_a_projection_rests_is_folded_at_once(log: SqliteLog, state: SqliteState) -> None:
    """State has it meanwhile."""
    resting = Resting()
    follower = dataclasses.replace(processor(log, state), projections=[resting])

    async def follow_to_the_end() -> None:
        async with running(follower.follow()), running(follower.project()):
            for count in range(1, 4):
                await log.append([consent("granted", AT + timedelta(seconds=count))])
                while await state.applied_offset(await log.log_id()) < count or not resting.seen:  # noqa: ASYNC110  nobody sets an event
                    await asyncio.sleep(0.001)
            assert resting.seen == [1]
            follower.retry()
            while sum(resting.seen) < 3:  # noqa: ASYNC110  nobody sets an event
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(follow_to_the_end(), 30))
    assert resting.seen == [1, 2]
