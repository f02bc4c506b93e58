"""How the event log and the State that follows it stand: how much came, how much of it waits, and since when.

Belongs here: what is asked of any log and any State for it. Does not belong here: showing it (`nextbest log status`),
or what is unusual about it (`nextbest.stream_watch`).
"""

from collections import Counter
from datetime import datetime, timedelta

import msgspec

from nextbest.log import EventLog
from nextbest.state import State

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_PAGE, _PAGES = 1_000, 50


class Received(msgspec.Struct, frozen=True):
    """How many records of one contract and type came in the last hour."""

    contract: str
    type: str
    records: int


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A log at one moment; rates are records per second, by when they were received."""

    log_id: str
    last_offset: int
    per_second_last_minute: float
    per_second_last_hour: float
    last_hour: tuple[Received, ...]
    is_estimated: bool
    """Whether `last_hour` is from a sample of pages: there were too many records to count each."""


class FollowingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far State is."""

    applied_offset: int
    lag_records: int
    oldest_unprocessed_seconds: float | None
    """How long the first record that State does not have has been in the log; none where it has all."""
    is_caught_up: bool
    """Whether it has once been at the log's end, without which nothing is decided by it."""
    projections: dict[str, int]
    """By name of what else is made of the log, such as live features, how many records it does not have."""


class Waiting(msgspec.Struct, frozen=True):
    """How many records State does not have, and when the oldest of them was received; none where it has all."""

    records: int
    since: datetime | None


async def status_of_log(log: EventLog, now: datetime) -> LogStatus:
    """What came into the log, and how fast.

    Raises:
        LogUnavailableError: it cannot be read.

    """
    last = await log.last_offset()
    hour, minute = await _before(log, now - _HOUR, last), await _before(log, now - _MINUTE, last)
    counted = last - hour <= _PAGE * _PAGES
    return LogStatus(
        log_id=await log.log_id(),
        last_offset=last,
        per_second_last_minute=(last - minute) / _MINUTE.total_seconds(),
        per_second_last_hour=(last - hour) / _HOUR.total_seconds(),
        last_hour=await _received(log, hour, last),
        is_estimated=not counted,
    )


async def status_of_following(log: EventLog, state: State, now: datetime) -> FollowingStatus:
    """How far State is behind the log.

    Raises:
        LogUnavailableError: the log cannot be read.
        StateUnavailableError: State cannot be read.

    """
    log_id = await log.log_id()
    applied = await state.applied_offset(log_id)
    waits = await waiting(log, applied)
    projections, last = await state.projections(log_id), await log.last_offset()
    return FollowingStatus(
        applied_offset=applied,
        lag_records=waits.records,
        oldest_unprocessed_seconds=(now - waits.since).total_seconds() if waits.since else None,
        is_caught_up=await state.is_caught_up(log_id),
        projections={name: max(last - offset, 0) for name, offset in sorted(projections.items())},
    )


async def waiting(log: EventLog, applied: int) -> Waiting:
    """What comes after the offset `applied`.

    Raises:
        LogUnavailableError: the log cannot be read.

    """
    records = max(await log.last_offset() - applied, 0)
    oldest = await log.read(applied, 1) if records else []
    return Waiting(records, oldest[0][1].received_at if oldest else None)


async def _before(log: EventLog, moment: datetime, last: int) -> int:
    """The offset after which records were received at `moment` or later: they are in that order, but for moments."""
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        found = await log.read(middle, 1)
        if found and found[0][1].received_at < moment:
            low = found[0][0]
        else:
            high = middle
    return low


async def _received(log: EventLog, after: int, last: int) -> tuple[Received, ...]:
    """Records after an offset, counted, or estimated from pages at even distances."""
    found: Counter[tuple[str, str]] = Counter()
    stride = max((last - after) // _PAGES, _PAGE)
    read = 0
    for start in range(after, last, stride):
        page = await log.read(start, _PAGE)
        read += len(page)
        found.update((record.contract, record.type) for _, record in page)
    share = (last - after) / read if stride > _PAGE and read else 1.0
    rows = [Received(contract, type_, round(number * share)) for (contract, type_), number in found.items()]
    return tuple(sorted(rows, key=lambda each: (-each.records, each.contract, each.type)))
