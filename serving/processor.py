"""The event processor: brings what the log holds into State, soon after it was logged, and then into projections.

Belongs here: when to look for more, and what happens while log or State is down. Does not belong here: what is applied
next (`nextbest.following`), or what a record does (`nextbest.state`).

State waits for no projection: caps and consents are in it. So projections are folded beside it, from what it has.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.envelope import Envelope
from nextbest.following import Step, advance, step
from nextbest.log import EventLog, LogUnavailableError
from nextbest.projection import Projection, ProjectionWaitsError
from nextbest.state import State, StateUnavailableError
from serving.defects import place_of, without_paths

_log = logging.getLogger(__name__)
_LOOK_S = 0.01
_ANYWAY_S = 0.25
"""State may have been lost or emptied: it is asked how far it is even if nothing new came."""
_RETRY_S = 1.0


def _nobody(_: object) -> None:
    return None


class Wait(NamedTuple):
    """What is waited for, and until when nobody asks for it again."""

    why: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Follows one log. Two of them at once, while servers are rolled, do the same work twice, to the same effect."""

    log: EventLog
    state: State
    skipped: SkippedRecords
    clock: Callable[[], datetime]
    note: Callable[[Step], None] = _nobody
    """Told of each step that was made."""
    note_skipped: Callable[[Envelope], None] = _nobody
    projections: Sequence[Projection] = ()
    """What else is made of the log; each is as far as it is."""
    waiting: dict[str, Wait] = field(default_factory=dict)
    """By name the projections that have to wait for something, or may rest."""
    _taken: asyncio.Queue[Step] = field(init=False, default_factory=lambda: asyncio.Queue(maxsize=1))
    """What State took in last, until it is folded."""

    async def step(self) -> Step:
        """Apply the records that come next, and say what they were."""
        made = await step(self.log, self.state, self.skip)
        if made.is_restart:
            _log.warning("the log is an older copy: all of it is applied to State, which keeps what it knew")
        self.note(made)
        return made

    async def follow(self) -> None:
        """Apply records to State as they come, until cancelled; a log or State that is down is tried again."""
        while True:
            try:
                made = await self.step()
                if self._taken.full():
                    self._taken.get_nowait()  # the later one will do
                self._taken.put_nowait(made)
                if made.is_end:
                    await self._more_than(made.offset)
            except (LogUnavailableError, StateUnavailableError) as error:
                _log.warning("events wait: %s", without_paths(error))
                await asyncio.sleep(_RETRY_S)

    async def project(self) -> None:
        """Bring projections to where `follow` brings State, until cancelled; one that waits holds up no other."""
        while True:
            made = await self._taken.get()
            try:
                while not all([await self._advance(each, made) for each in tuple(self.projections)]):
                    pass
            except (LogUnavailableError, StateUnavailableError) as error:
                _log.warning("projections wait: %s", without_paths(error))
                await asyncio.sleep(_RETRY_S)

    async def _advance(self, projection: Projection, made: Step) -> bool:
        waits = self.waiting.get(projection.name)
        if waits is not None and time.monotonic() < waits.until:
            return True
        try:
            is_end = await advance(self.log, self.state, projection, made, self.skip)
        except ProjectionWaitsError as error:
            why = without_paths(error)
            if why and (waits is None or waits.why != why):  # else every second would say so
                _log.warning("the projection %s waits: %s", projection.name, why)
            self.waiting[projection.name] = Wait(why, time.monotonic() + _RETRY_S)
            return True
        self.waiting.pop(projection.name, None)
        if is_end and made.records and projection.rest_s:
            self.waiting[projection.name] = Wait("", time.monotonic() + projection.rest_s)
        return is_end

    def retry(self) -> None:
        """What is waited for may have come: try again with the next look."""
        self.waiting.clear()

    async def _more_than(self, offset: int) -> None:
        """Return once the log goes on, or after a while. One look is one read of the log's last page."""
        until = time.monotonic() + _ANYWAY_S
        while await self.log.last_offset() <= offset and time.monotonic() < until:  # noqa: ASYNC110  another process writes
            await asyncio.sleep(_LOOK_S)

    def skip(self, log_id: str, offset: int, record: Envelope, error: Exception) -> None:
        """Say that a record is passed over, and keep which."""
        _log.error("record %s at offset %d is passed over: %s", record.event_id, offset, place_of(error))
        self.skipped.add(log_id, offset, record, error, self.clock())
        self.note_skipped(record)
