"""How long decisions take, so that one with little time left is made smaller rather than late.

Belongs here: choosing a tier by the time that is left. Does not belong here: what a tier leaves out
(`nextbest.decision`), or what happens when a part answers late (`serving.decider`).
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from nextbest.records import Tier

T = TypeVar("T")
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

    def tier(self, left_ms: float | None) -> Tier:
        """The most complete tier that twice its usual time is left for; `fallback` when none is."""
        if left_ms is None:
            return "full"
        for tier in _LADDER:
            mean = self._mean_ms.get(tier, 0.0)
            if left_ms > _MARGIN * mean:
                return tier
            if left_ms > 0.0:
                self._mean_ms[tier] = mean * (1.0 - _FORGOTTEN)
        return "fallback"


class Deadline:
    """The time that one decision has, from now on; without a budget it has all the time there is."""

    def __init__(self, budget_ms: float | None) -> None:
        self._began = time.monotonic()
        self._budget_ms = budget_ms

    def left_ms(self) -> float | None:
        """How much of the budget is left; none without a budget."""
        return None if self._budget_ms is None else self._budget_ms - 1_000.0 * (time.monotonic() - self._began)

    async def keep(self, answer: Awaitable[T]) -> T:
        """What `answer` comes to, if it comes in time.

        Raises:
            TimeoutError: it does not.

        """
        left_ms = self.left_ms()
        return await (answer if left_ms is None else asyncio.wait_for(answer, max(left_ms, 0.0) / 1_000.0))
