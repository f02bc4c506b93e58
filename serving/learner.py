"""The learner: has what became of contacts folded under the policy and the model set in use, and no others kept.

Belongs here: when a projection is begun, when it is complete, and when it is dropped. Does not belong here: what is
folded (`nextbest.learning`), or bringing a complete one along the log (`serving.processor`).

A projection is built beside the processor, which meanwhile brings the one before along, and then takes its place.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from nextbest.following import Skip, advance
from nextbest.learning import COMPLETE, LEARNING, Learning, projection_name
from nextbest.log import EventLog, LogUnavailableError
from nextbest.projection import Projection
from nextbest.state import State, StateUnavailableError
from serving.decider import CurrentModels, CurrentPolicy
from serving.defects import without_paths

_log = logging.getLogger(__name__)
_LOOK_S = 0.25
_RETRY_S = 1.0
_TRIES = 5


@dataclass(slots=True, kw_only=True)
class Learner:
    """Keeps one of the processor's projections the one that is wanted."""

    log: EventLog
    state: State
    policies: CurrentPolicy
    models: CurrentModels
    skip: Skip
    projections: list[Projection] = field(default_factory=list)
    """The processor's."""
    _learning: Learning | None = None
    _goal: tuple[str, int] | None = None
    """The log, and its end at some moment after building began: whatever has all of that is complete."""

    async def follow(self) -> None:
        """Look for another policy or model set, until cancelled; a log or State that is down is tried again."""
        while True:
            try:
                await self.step()
            except (LogUnavailableError, StateUnavailableError) as error:
                _log.warning("learning waits: %s", without_paths(error))
                await asyncio.sleep(_RETRY_S)
            await asyncio.sleep(_LOOK_S)

    async def step(self) -> None:
        """Build what is wanted, where it is not there yet, and mark it once it is at the log's end."""
        in_force, models = self.policies.current, self.models.current
        if in_force is None or models is None:
            return
        if self._learning is None or self._learning.name != projection_name(in_force.policy, models.model_set.id):
            self._learning = await self._built(Learning(in_force.policy, models))
        if not await self._is_complete(self._learning.name):
            await self._mark(self._learning.name)

    async def _built(self, learning: Learning) -> Learning:
        """Bring it to the log's end, and have the processor go on with it instead of the one before."""
        _log.info("%s is built from the log", learning.name)
        while not await advance(self.log, self.state, learning, skip=self.skip):
            pass
        self._goal = None
        self.projections[:] = [*(each for each in self.projections if each is not self._learning), learning]
        return learning

    async def _is_complete(self, name: str) -> bool:
        return COMPLETE in (await self.state.projected(name, await self.log.log_id(), [COMPLETE])).values

    async def _mark(self, learning: str) -> None:
        """From now on it may be used, and those before it are dropped; the log goes on meanwhile."""
        log_id = await self.log.log_id()
        if self._goal is None or self._goal[0] != log_id:
            self._goal = log_id, await self.log.last_offset()
        for _ in range(_TRIES):
            offset = (await self.state.projected(learning, log_id, ())).offset
            if offset < self._goal[1]:
                return
            if await self.state.project(learning, log_id, {COMPLETE: "1"}, after=offset, offset=offset):
                break  # else the processor has just brought it on
        else:
            return
        self._goal = None  # State may be emptied and filled again: then the log's end is a later one
        for name in await self.state.projections(log_id):
            if name.startswith(LEARNING) and name != learning:
                await self.state.discard(name)
