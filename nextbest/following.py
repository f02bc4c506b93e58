"""How State follows the log: from where it is to the log's end, step by step.

Belongs here: which records are next, that a log which ends before what was applied is an older copy, and that a record
which cannot be applied holds up none after it. Does not belong here: when to look, or what to do while log or State is
down (the event processor and `nextbest log replay`, which both go this way), or what a record does (`nextbest.state`).
"""

from collections.abc import Callable, Sequence

import msgspec

from nextbest.envelope import UNREADABLE, Envelope
from nextbest.errors import NextbestError
from nextbest.log import EventLog
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
        records: those of this step, with their offsets, in order.
        is_end: there were no more.
        is_restart: the log ended before what was applied: it is an older copy, and applied from its beginning.

    """

    log_id: str
    offset: int
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
    made = Step(log_id, records[-1][0] if records else after, records, len(records) < BATCH_RECORDS, is_restart)
    if records or not await state.is_caught_up(log_id):
        await _apply(state, made, after, skip)
    return made


async def _apply(state: State, made: Step, after: int, skip: Skip | None) -> None:
    entries = [record for _, record in made.records]
    try:
        _check(entries)
        await state.apply(entries, made.offset, made.log_id, after=after, is_end=made.is_end)
    except NextbestError:
        raise
    except Exception:
        if skip is None:
            raise
        await _apply_singly(state, made, after, skip)


def _check(entries: Sequence[Envelope]) -> None:
    if any(record.type == UNREADABLE for record in entries):
        raise UnreadableRecordError


async def _apply_singly(state: State, made: Step, after: int, skip: Skip) -> None:
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
