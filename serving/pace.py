"""How long decisions take, so that one with little time left is made smaller rather than late.

Belongs here: choosing a tier by the time that is left. Does not belong here: what a tier leaves out
(`nextbest.decision`), or what happens when a part answers late (`serving.decider`).
"""

import time

from nextbest.records import Tier

_WEIGHT = 0.05
_MARGIN = 2.0
_FORGOTTEN = 0.01
"""The part of a tier's mean that each decision without it forgets."""
_LADDER: tuple[Tier, ...] = ("full", "reduced")


class Pace:
    """A running mean, per tier, of the milliseconds from having read everything to having logged the decision.

    A tier that is left out is not measured, so its mean shrinks each time: it is tried again, and a machine that was
    slow once does not decide the less for ever.
    """

    def __init__(self) -> None:
        self._mean_ms: dict[Tier, float] = {}

    def note(self, tier: Tier, took_ms: float) -> None:
        """One more decision was made."""
        mean = self._mean_ms.get(tier, took_ms)
        self._mean_ms[tier] = mean + _WEIGHT * (took_ms - mean)

    def tier(self, left_ms: float) -> Tier:
        """The most complete tier that twice its usual time is left for; `fallback` when none is."""
        for tier in _LADDER:
            mean = self._mean_ms.get(tier, 0.0)
            if left_ms > _MARGIN * mean:
                return tier
            if left_ms > 0.0:
                self._mean_ms[tier] = mean * (1.0 - _FORGOTTEN)
        return "fallback"


class Deadline:
    """The time that one decision has, from now on."""

    def __init__(self, budget_ms: float) -> None:
        self._until = time.monotonic() + budget_ms / 1_000.0

    def left_s(self) -> float:
        """How much of the budget is left; below 0 when it is over."""
        return self._until - time.monotonic()

    def left_ms(self) -> float:
        return 1_000.0 * self.left_s()
