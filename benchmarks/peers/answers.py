"""What nextbest itself says of its answers: how complete they are, and how long each stage of them took.

Belongs here: asking for decisions one after the other, alone and beside a load, and counting. Does not belong here:
timing them from outside (`load`).
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from benchmarks.peers.customers import CUSTOMERS
from benchmarks.peers.load import Load

_ALONE = 300
_LOADED_S = 4
_SEED = 90
_COMPLETE = {"full": 1.0}


class Answers(msgspec.Struct, frozen=True):
    """Shares of the sampled answers, and the mean microseconds of each stage.

    `acted` is the share that proposed something rather than show the placement's fallback.
    """

    sampled: int
    tiers: dict[str, float]
    degraded: dict[str, float]
    logged: float
    acted: float
    stage_us: dict[str, float]

    @property
    def are_complete(self) -> bool:
        """Whether every answer was a full decision that is in the log."""
        return self.tiers == _COMPLETE and not self.degraded and self.logged == 1.0


def first(load: Load) -> str:
    """An answer, as text.

    Raises:
        httpx.HTTPError: there is none, or it is an error.

    """
    with httpx.Client(headers=dict(load.headers), timeout=10) as client:
        return client.post(load.url, json=_body(random.Random(_SEED))).raise_for_status().text  # noqa: S311


def alone(load: Load) -> Answers:
    """Answers while nobody else asks."""
    chance = random.Random(_SEED)  # noqa: S311  the same customers every time
    with httpx.Client(headers=dict(load.headers), timeout=10) as client:
        return _counted([_ask(client, load.url, chance) for _ in range(_ALONE)])


def beside(load: Load, connections: int) -> Answers:
    """Answers while so many connections ask as fast as they can."""
    chance = random.Random(_SEED + 1)  # noqa: S311  the same customers every time
    found = []
    with (
        httpx.Client(headers=dict(load.headers), timeout=10) as client,
        load.beside(connections, _LOADED_S, _SEED) as process,
    ):
        while process.poll() is None:
            found.append(_ask(client, load.url, chance))
    return _counted(found)


def _ask(client: httpx.Client, url: str, chance: random.Random) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(url, json=_body(chance)).raise_for_status().json()
    return answer


def _body(chance: random.Random) -> Mapping[str, Any]:
    customer_id = f"c{chance.randint(1, CUSTOMERS)}"
    return {"customer": {"customer_id": customer_id}, "placements": ["home_banner"], "limit": 1}


def _counted(answers: list[dict[str, Any]]) -> Answers:
    count = len(answers)
    stages: defaultdict[str, float] = defaultdict(float)
    for answer in answers:
        for stage, took in answer["stage_us"].items():
            stages[stage] += took / count
    acted = sum(answer["placements"][0]["slots"][0]["action"] != "do_nothing" for answer in answers)
    return Answers(
        sampled=count,
        tiers=_shares(Counter(answer["tier"] for answer in answers), count),
        degraded=_shares(Counter(reason for answer in answers for reason in answer["degraded"]), count),
        logged=sum(answer["logged"] for answer in answers) / count,
        acted=acted / count,
        stage_us={stage: round(took, 1) for stage, took in stages.items()},
    )


def _shares(counts: Counter[str], total: int) -> dict[str, float]:
    return {name: round(count / total, 4) for name, count in counts.items()}
