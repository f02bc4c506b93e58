"""Measuring the stages of a decision.

Belongs here: the clock of stages. Does not belong here: what the stages are.
"""

import time


class Stopwatch:
    """Microseconds per stage; a stage measured twice adds up."""

    def __init__(self) -> None:
        self._last = time.perf_counter_ns()
        self.stage_us: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End `stage`, which began where the one before it ended."""
        now = time.perf_counter_ns()
        self.stage_us[stage] = self.stage_us.get(stage, 0.0) + (now - self._last) / 1_000
        self._last = now
