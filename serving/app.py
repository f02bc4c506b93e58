"""What a replica is made of, from the settings: the parts of the decision path and the processes beside it.

Belongs here: building and closing. Does not belong here: Ray (`serving.cluster`), which calls this in each replica.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.policy_archive import ArchiveError
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import open_state
from nextbest.settings import Settings
from serving.api import Api
from serving.backpressure import Backpressure
from serving.decider import Decider
from serving.events import Intake
from serving.model_sets import ModelSets
from serving.online_features import OnlineFeatures
from serving.policies import Policies
from serving.readiness import Probe
from serving.schemas import INTAKE

_PATIENCE_S = 0.5
"""How long a customer waits for a log or State that somebody else holds, before the placement's fallback is shown."""
_OPENING_S = 30.0
IN_FLIGHT = 256
"""How many requests a replica takes at a time: at a millisecond or two of work each, the last is answered within half a
second; who would wait longer is told at once to come again."""


def build(settings: Settings) -> ASGIApp:
    """The application of one replica.

    Raises:
        ContractError: a contract cannot be used.

    """
    contracts = load_contracts(settings.folder("contracts"))
    log, state = SqliteLog(settings.event_log, _PATIENCE_S), open_state(settings, _PATIENCE_S)
    policies, models = Policies(settings.policies_archive, state), ModelSets(settings.bundles, state)
    features = OnlineFeatures(settings.feature_repo, settings.feast_registry)
    decider = Decider(
        policies=policies,
        models=models,
        features=features,
        state=state,
        log=log,
        contract=contracts["decisions"],
        clock=_now,
    )
    intake = Intake(contracts={name: contracts[name] for name in INTAKE}, log=log, state=state, clock=_now)

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        await policies.start()
        if policies.current is None:
            raise ArchiveError(f"{settings.policies_archive} has no policy: `nextbest policy publish` puts one there")
        await models.start()
        async with running(policies.follow()), running(models.follow()), running(features.keep_open()):
            with suppress(TimeoutError):  # a replica that takes another's place must not know less than it did
                await asyncio.wait_for(features.tried.wait(), _OPENING_S)
            yield
        log.close()
        state.close()

    return Backpressure(Api(decider=decider, intake=intake, probe=Probe(decider)).application(lifespan), IN_FLIGHT)


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `loop` beside what is inside the context."""
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _now() -> datetime:
    return datetime.now(UTC)
