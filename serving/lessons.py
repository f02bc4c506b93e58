"""Lessons: what answers say, brought to the beliefs that a replica decides by, soon after it is known.

Belongs here: when to look, and that looking costs little. Does not belong here: what is believed after them
(`nextbest.residual`), or folding the log (`serving.learner`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nextbest.contact_book import CLOCK
from nextbest.learning import COMPLETE, Learned, projection_name
from nextbest.log import EventLog, LogUnavailableError
from nextbest.moments import to_microseconds
from nextbest.policy import Policy
from nextbest.residual import Beliefs
from nextbest.situation import Models
from nextbest.state import State, StateUnavailableError
from serving.decider import CurrentModels, CurrentPolicy
from serving.defects import without_paths

_log = logging.getLogger(__name__)
_LOOK_S = 0.25
_REST = 10.0
"""What looking took, so many times over it rests: most of a replica's time is for decisions."""
_ANYWAY_S = 60.0
"""Silence says more the longer it lasts."""


@dataclass(slots=True, kw_only=True)
class Lessons:
    """Keeps the beliefs of one replica up to date."""

    state: State
    log: EventLog
    policies: CurrentPolicy
    models: CurrentModels
    clock: Callable[[], datetime]
    _told: tuple[Any, ...] = ()
    """Whom was told last, of which offset of the log, and whether it was complete."""
    _values: Mapping[str, str] | None = None
    _told_at: float = 0.0

    async def follow(self) -> None:
        """Look again and again, until cancelled; where State or log are down, what is believed stays."""
        while True:
            began = time.monotonic()
            try:
                await self.step()
            except (LogUnavailableError, StateUnavailableError) as error:
                _log.warning("what answers say is not followed: %s", without_paths(error))
            await asyncio.sleep(max(_LOOK_S, _REST * (time.monotonic() - began)))

    async def step(self) -> None:
        """Bring what is new to the beliefs in use; where nothing is, that costs one small read."""
        in_force, models = self.policies.current, self.models.current
        if in_force is None or models is None:
            return
        policy, beliefs = in_force
        name, log_id = projection_name(policy, models.model_set.id), await self.log.log_id()
        mark = await self.state.projected(name, log_id, (COMPLETE,))  # what completes it leaves the offset as it is
        told = (in_force, name, mark.offset, COMPLETE in mark.values)
        is_old = time.monotonic() > self._told_at + _ANYWAY_S
        if told == self._told and not is_old:
            return
        kept = await self.state.projected(name, log_id, Learned.keys(policy))
        values = {key: value for key, value in kept.values.items() if key != CLOCK}
        if values != self._values or told[:2] != self._told[:2] or is_old:
            is_behind = kept.offset < await self.log.last_offset()
            now = None if is_behind else to_microseconds(self.clock())
            await asyncio.to_thread(_teach, beliefs, policy, models, kept.values, now)
            self._values, self._told_at = values, time.monotonic()
        self._told = told if models is self.models.current else ()


def _teach(beliefs: Beliefs, policy: Policy, models: Models, values: Mapping[str, str], now: int | None) -> None:
    """In a thread. What is not folded to the log's end yet would be believed only to be taken back.

    Args:
        beliefs: To be brought up to date.
        policy: They are of.
        models: In use.
        values: What is kept.
        now: None where the log has more to say of the time until then: it is as late as what is folded of it.

    """
    learned = Learned.of(values, policy)
    at = learned.now if now is None else now
    beliefs.learn(models, learned.statistics(policy.arbitration.rewards, at) if learned.is_complete else {})
