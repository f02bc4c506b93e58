"""The event processor: brings what the log holds into State, soon after it was logged.

Belongs here: following the log. Does not belong here: what a record does (`nextbest.state`).
"""

import asyncio
import logging

from nextbest.log import EventLog, LogUnavailableError
from nextbest.state import State, StateUnavailableError
from serving.defects import without_paths

_log = logging.getLogger(__name__)
_BATCH_RECORDS = 1_000
_POLL_S = 0.05
_RETRY_S = 1.0


async def process(log: EventLog, state: State) -> int:
    """Apply the next records; returns how many there were. A log that ends before what was applied is another one."""
    applied = await state.applied_offset()
    if applied > await log.last_offset():
        _log.warning("the log was replaced: all of it is applied to State, which keeps what it knew")
        await state.rewind()
        applied = 0
    records = await log.read(applied, _BATCH_RECORDS)
    if records:
        await state.apply([record for _, record in records], records[-1][0])
    return len(records)


async def follow(log: EventLog, state: State) -> None:
    """Apply records as they come, until cancelled; a log or State that is down is tried again."""
    while True:
        try:
            wait_s = _POLL_S if await process(log, state) < _BATCH_RECORDS else 0.0
        except (LogUnavailableError, StateUnavailableError) as error:
            _log.warning("events wait: %s", without_paths(error))
            wait_s = _RETRY_S
        await asyncio.sleep(wait_s)
