"""Whether a replica can make complete decisions, and what it lacks where it cannot.

Belongs here: asking every part. Does not belong here: what a decision does without a part (`serving.decider`).
"""

from dataclasses import dataclass

from nextbest.log import LogUnavailableError
from nextbest.state import StateBehindError, StateUnavailableError
from nextbest.wire import Readiness
from serving.decider import Decider

_BEHIND_RECORDS = 1_000


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks the parts of a decider. A model set may come later: until then decisions are fallbacks, and say so."""

    decider: Decider

    async def readiness(self) -> Readiness:
        parts = {
            "log": await self._log(),
            "state": await self._state(),
            "features": await self.decider.features.missing(),
        }
        missing = {part: reason for part, reason in parts.items() if reason}
        models = self.decider.models.current
        return Readiness(
            ready=not missing,
            missing=missing,
            policy_hash=self.decider.in_force.policy.hash,
            model_set_id=models.model_set.id if models else None,
        )

    async def _log(self) -> str:
        try:
            await self.decider.log.append([])
        except LogUnavailableError:
            return "the event log cannot be used"
        return ""

    async def _state(self) -> str:
        log, state = self.decider.log, self.decider.state
        try:
            behind = await log.last_offset() - await state.applied_offset(await log.log_id())
            await self.decider.basis.check()
        except StateBehindError:
            return f"State is being rebuilt: {behind:,} records of the log are not applied yet"
        except (StateUnavailableError, LogUnavailableError):
            return "State cannot be used"
        return f"{behind:,} records of the log are not applied yet" if behind > _BEHIND_RECORDS else ""
