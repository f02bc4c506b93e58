"""How State and its projections follow the log: from where they are to the log's end, step by step.

Belongs here: which records are next, that a log which ends before what was applied is an older copy, and that a record
which cannot be applied holds up none after it. Does not belong here: when to look, or what to do while log or State is
down (the event processor and `nextbest log replay`, which both go this way), or what a record does (`nextbest.state`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from nextbest.envelope import UNREADABLE, Envelope
from nextbest.errors import NextbestError
from nextbest.log import EventLog
from nextbest.projection import Projection
from nextbest.state import State

BATCH_RECORDS = 1_000

Skip = Callable[[str, int, Envelope, Exception], None]
"""Told of a record that is passed over: the log's id, its offset, the record, and what applying it raised."""


class UnreadableRecordError(ValueError):
    """A record of the log cannot be decoded: what it said is not known."""


class Step(msgspec.Struct, frozen=True):
    """Records that are in State now.

    Attributes:
        log_id: the log's.
        offset: up to which State has all of it.
        after: the offset they follow.
        records: those of this step, with their offsets, in order.
        is_end: there were no more.
        is_restart: the log ended before what was applied: it is an older copy, and applied from its beginning.

    """

    log_id: str
    offset: int
    after: int
    records: Sequence[tuple[int, Envelope]]
    is_end: bool
    is_restart: bool = False


async def step(log: EventLog, state: State, skip: Skip | None = None) -> Step:
    """Apply the records that come next. Whoever else does the same, and whoever empties State meanwhile, does no harm.

    Args:
        log: What is followed.
        state: What follows it.
        skip: Told of records that cannot be applied; without it, what applying one raised is raised.

    Raises:
        LogUnavailableError: the log cannot be read; nothing was applied.
        StateUnavailableError: State cannot be used; what was applied of the step is applied again, to no effect.

    """
    log_id = await log.log_id()
    after = await state.applied_offset(log_id)
    is_restart = after > await log.last_offset()
    if is_restart:
        await state.rewind(log_id)
        after = 0
    records = await log.read(after, BATCH_RECORDS)
    made = Step(log_id, records[-1][0] if records else after, after, records, len(records) < BATCH_RECORDS, is_restart)
    if records or not await state.is_caught_up(log_id):
        await _apply(state, made, skip)
    return made


async def _apply(state: State, made: Step, skip: Skip | None) -> None:
    entries = [record for _, record in made.records]
    try:
        _check(entries)
        await state.apply(entries, made.offset, made.log_id, after=made.after, is_end=made.is_end)
    except NextbestError:
        raise
    except Exception:
        if skip is None:
            raise
        await _apply_singly(state, made, skip)


def _check(entries: Sequence[Envelope]) -> None:
    if any(record.type == UNREADABLE for record in entries):
        raise UnreadableRecordError


async def _apply_singly(state: State, made: Step, skip: Skip) -> None:
    after = made.after
    for offset, record in made.records:
        is_end = made.is_end and offset == made.offset
        try:
            _check([record])
            await state.apply([record], offset, made.log_id, after=after, is_end=is_end)
        except NextbestError:
            raise
        except Exception as error:  # noqa: BLE001  it is told, and what comes after it must not wait
            skip(made.log_id, offset, record, error)
            await state.apply([], offset, made.log_id, after=after, is_end=is_end)
        after = offset


async def advance(
    log: EventLog, state: State, projection: Projection, made: Step | None = None, skip: Skip | None = None
) -> bool:
    """Fold the records that come next; whether there are no more of them for now.

    Args:
        log: What is followed.
        state: Where the projection is kept.
        projection: What is folded.
        made: What State has just taken in. It need not be read again where it is what comes next; and where it is not,
            nothing is folded that State has not yet, for State says who is one.
        skip: Told of records that cannot be folded; without it, what folding one raised is raised.

    Raises:
        LogUnavailableError: the log cannot be read; nothing was folded.
        StateUnavailableError: State cannot be used; what was folded may have to be folded again.

    """
    log_id = await log.log_id()
    after = (await state.projected(projection.name, log_id, ())).offset
    if after > await log.last_offset():  # an older copy of the log: what it says is not what was folded
        await state.discard(projection.name)
        after = 0
    is_next = made is not None and (made.log_id, made.after) == (log_id, after)
    records = made.records if made is not None and is_next else await log.read(after, BATCH_RECORDS)
    is_end = len(records) < BATCH_RECORDS
    if made is not None and not is_next:
        applied = await state.applied_offset(log_id)
        records = [(offset, record) for offset, record in records if offset <= applied]
        is_end = is_end or not records
    try:
        await _Folding(state, projection, log_id).take(records, after, skip)
    except _OvertakenError:
        return False
    return is_end


class _OvertakenError(NextbestError):
    """Somebody else has folded on, or begun anew: what is kept is not what was there before these records."""


@dataclass(frozen=True, slots=True)
class _Folding:
    state: State
    projection: Projection
    log_id: str

    async def take(self, records: Sequence[tuple[int, Envelope]], after: int, skip: Skip | None) -> None:
        try:
            await self._take(records, after)
        except NextbestError:
            raise
        except Exception:
            if skip is None:
                raise
            await self._take_singly(records, after, skip)

    async def _take(self, records: Sequence[tuple[int, Envelope]], after: int) -> None:
        if records:
            values = await self.projection.fold(records, partial(self._read, after))
            await self.state.project(self.projection.name, self.log_id, values, after=after, offset=records[-1][0])

    async def _take_singly(self, records: Sequence[tuple[int, Envelope]], after: int, skip: Skip) -> None:
        """One that cannot be folded holds up none after it."""
        for offset, record in records:
            try:
                await self._take([(offset, record)], after)
            except NextbestError:
                raise
            except Exception as error:  # noqa: BLE001  it is told, and what comes after it must not wait
                skip(self.log_id, offset, record, error)
                await self.state.project(self.projection.name, self.log_id, {}, after=after, offset=offset)
            after = offset

    async def _read(self, after: int, keys: Sequence[str]) -> dict[str, str]:
        """What was kept before these records: what is written elsewhere, before the offset moves, has them once."""
        if not keys:
            return {}
        kept = await self.state.projected(self.projection.name, self.log_id, keys)
        if kept.offset != after:
            raise _OvertakenError
        return kept.values
