"""What decisions rest on: a State that has caught up with the event log, or nothing.

Belongs here: which log that is, and that nothing is asked of a State that knows less than was said. Does not belong
here: what is answered instead (`serving.decider`, `serving.problems`), or bringing State there (`serving.processor`).
"""

from dataclasses import dataclass
from typing import NamedTuple

from nextbest.log import EventLog
from nextbest.records import Snapshot
from nextbest.state import SnapshotScope, State, StateBehindError


class Known(NamedTuple):
    """What State knows, and the id of the log that what follows must rest on too; empty where there is nothing yet."""

    snapshot: Snapshot
    log_id: str


@dataclass(slots=True)
class Basis:
    """The State and the log of one home. A log in which nothing is yet is no reason to wait for anybody."""

    state: State
    log: EventLog
    _log_id: str = ""
    _has_records: bool = False

    async def snapshot(self, customer_id: str | None, scope: SnapshotScope) -> Known:
        """What State knows of the customer; one round trip once it has caught up.

        Raises:
            StateBehindError: State has not caught up yet.
            StateUnavailableError: State cannot be read.
            LogUnavailableError: the log has never been read so far, and cannot be.

        """
        log_id = self._log_id or await self._find_log()
        try:
            return Known(await self.state.snapshot(customer_id, scope, log_id), log_id)
        except StateBehindError:
            if await self._is_another_log(log_id):
                return await self.snapshot(customer_id, scope)
            if not await self._is_new():
                raise
            return Known(await self.state.snapshot(customer_id, scope), "")

    async def check(self) -> None:
        """Return where State may be relied on; raises what `snapshot` does."""
        log_id = self._log_id or await self._find_log()
        if await self.state.is_caught_up(log_id):
            return
        if await self._is_another_log(log_id):
            await self.check()
        elif not await self._is_new():
            raise StateBehindError

    async def _find_log(self) -> str:
        self._log_id = await self.log.log_id()
        return self._log_id

    async def _is_another_log(self, log_id: str) -> bool:
        """Whether the log is not the one it was: a copy of a topic may have been made anew, of which State knows."""
        return await self._find_log() != log_id

    async def _is_new(self) -> bool:
        """Whether the log is empty; asked until it is not."""
        self._has_records = self._has_records or await self.log.last_offset() > 0
        return not self._has_records
