"""What an installation can take, as measured by those who will send half of it.

Belongs here: asking as fast as answers come. Does not belong here: traffic at a pace (`traffic`).
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from benchmarks.trials.installation import Installation
from benchmarks.trials.traffic import BATCH, Traffic

_AT_ONCE = 16
_WARM_S, _SECONDS = 1.0, 3.0


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Per second, when nothing else is asked; the client that asks has its share of the same cores."""

    decisions_per_s: float
    events_per_s: float

    @property
    def said(self) -> str:
        return (
            f"{self.decisions_per_s:,.0f} decisions a second, or {self.events_per_s:,.0f} events in batches of {BATCH}"
        )


def capacity(installation: Installation, customers: Sequence[str], placements: Sequence[str]) -> Capacity:
    """Measure decisions, then events."""
    traffic = Traffic(
        url=installation.url,
        key=installation.key,
        customers=customers,
        placements=placements,
        decisions_per_s=0.0,
        batches_per_s=0.0,
        name=f"capacity-{time.time_ns()}",
    )
    decisions, batches = asyncio.run(_measure(traffic))
    return Capacity(decisions_per_s=round(decisions, 1), events_per_s=round(batches * BATCH, 1))


async def _measure(traffic: Traffic) -> tuple[float, float]:
    async with traffic.client() as client:
        return (
            await _rate(lambda number: traffic.decide(client, number)),
            await _rate(lambda number: traffic.tell(client, number)),
        )


async def _rate(ask: Callable[[int], Awaitable[None]]) -> float:
    numbers = itertools.count()
    await _as_fast_as_possible(ask, numbers, _WARM_S)
    began, first = time.monotonic(), next(numbers)
    await _as_fast_as_possible(ask, numbers, _SECONDS)
    return (next(numbers) - first) / (time.monotonic() - began)


async def _as_fast_as_possible(
    ask: Callable[[int], Awaitable[None]], numbers: "itertools.count[int]", for_s: float
) -> None:
    end = time.monotonic() + for_s

    async def client() -> None:
        while time.monotonic() < end:
            await ask(next(numbers))

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
