"""Signals that nobody reads: said once in the server's log, since whoever sends one expects it to do something.

Belongs here: noticing them among what is applied. Does not belong here: what reads a signal (`nextbest.policy`).
"""

import logging
from dataclasses import dataclass, field

from nextbest.following import Step
from nextbest.signals import Key
from serving.decider import CurrentPolicy

_log = logging.getLogger(__name__)
_SHOWN = 5
_MOST = 10_000
"""Of how many signals it is known that they were told of; then no more are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadSignals:
    """Tells of each signal and key that the policy in use does not read."""

    policies: CurrentPolicy
    told: set[Key] = field(default_factory=set)

    def note(self, step: Step) -> None:
        """Look through the records of a step, and tell of all that is new in one line."""
        in_force = self.policies.current
        if in_force is None or len(self.told) >= _MOST:
            return
        said = {
            (str(record.properties.get("signal")), str(record.properties.get("key")))
            for _, record in step.records
            if record.type == "signal"
        }
        unread = sorted(key for key in said - self.told if not in_force.policy.reads(*key))
        if not unread:
            return
        self.told.update(unread)
        shown = ", ".join(repr(f"{signal}:{key}"[:100]) for signal, key in unread[:_SHOWN])
        more = f" and {len(unread) - _SHOWN:,} more" if len(unread) > _SHOWN else ""
        _log.warning("the policy reads no such signal, which is kept and changes nothing: %s%s", shown, more)
