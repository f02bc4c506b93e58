"""What a replica is made of, from the settings: the parts of the decision path and the processes beside it.

Belongs here: building and closing. Does not belong here: Ray (`serving.cluster`), which calls this in each replica.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

import nextbest
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.key_file import KeyRing
from nextbest.adapters.logs import open_log
from nextbest.adapters.policy_archive import ArchiveError
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.rate_limits import RateLimits
from nextbest.adapters.states import open_state
from nextbest.contracts import Contract
from nextbest.keys import SLOTS
from nextbest.names import CustomerNames
from nextbest.settings import Settings
from serving import openapi
from serving.api import Api
from serving.backpressure import Backpressure
from serving.basis import Basis
from serving.customers import Customers
from serving.decider import Decider
from serving.details import Details
from serving.examples import examples
from serving.gate import Gate
from serving.intake import Intake
from serving.lessons import Lessons
from serving.metrics import Meter
from serving.model_sets import ModelSets
from serving.online_features import OnlineFeatures
from serving.operations import Operation
from serving.policies import Policies
from serving.readiness import Probe
from serving.routes.actions import Actions
from serving.routes.customers import CustomerRoutes
from serving.routes.decisions import Decisions
from serving.routes.events import Events
from serving.routes.flags import Flags
from serving.routes.segment import Segment
from serving.routes.service import Service
from serving.segment_messages import SegmentMessages

_CANCEL_AGAIN_S = 0.1
_PATIENCE_S = 0.5
"""How long a customer waits for log, State or features that are held or silent, before the fallback is shown."""
_OPENING_S = 30.0
_COLLECT_AFTER = 50_000
"""Objects made and not freed again before the collector looks at them."""
IN_FLIGHT = 256
"""How many requests a replica takes at a time: at a millisecond or two of work each, the last is answered within half a
second; who would wait longer is told at once to come again."""
EVENTS_IN_FLIGHT = 64
"""And how many that bring events, beside those: one with 500 rows takes tens of milliseconds."""


def build(settings: Settings) -> ASGIApp:
    """The application of one replica.

    Raises:
        ContractError: a contract cannot be used.

    """
    contracts = load_contracts(settings.folder("contracts"))
    log, state = open_log(settings, _PATIENCE_S), open_state(settings, _PATIENCE_S)
    quarantine = Quarantine(settings.rejected_events, contracts, _PATIENCE_S)
    policies, models = Policies(settings.policies_archive, state), ModelSets(settings.bundles, state)
    features = OnlineFeatures(settings, _PATIENCE_S)
    meter = Meter(settings.metrics)
    decider = Decider(
        policies=policies,
        models=models,
        features=features,
        basis=Basis(state, log),
        contract=contracts["decisions"],
        clock=_now,
        budget_ms=settings.budget_ms,
        meter=meter,
    )
    lessons = Lessons(state=state, log=log, policies=policies, models=models, clock=_now)

    def in_use() -> tuple[str, str, str]:
        model_set = models.current.model_set.id if models.current else ""
        return decider.in_force.policy.hash, model_set, nextbest.__version__

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        await policies.start()
        if policies.current is None:
            raise ArchiveError(f"{settings.policies_archive} has no policy: `nextbest policy publish` puts one there")
        await models.start()
        meter.in_use = in_use
        beside = (policies.follow(), models.follow(), lessons.follow(), features.keep_open(), meter.keep_writing())
        async with AsyncExitStack() as stack:
            for loop in beside:
                await stack.enter_async_context(running(loop))
            with suppress(TimeoutError):  # a replica that takes another's place must not know less than it did
                await asyncio.wait_for(features.tried.wait(), _OPENING_S)
            rest_heap()
            yield
            await decider.settled()
        meter.retire()
        log.close()
        state.close()
        quarantine.close()

    answering = api(decider=decider, contracts=contracts, settings=settings, meter=meter, quarantine=quarantine)
    return Backpressure(answering.application(lifespan), IN_FLIGHT, EVENTS_IN_FLIGHT)


def api(
    *, decider: Decider, contracts: Mapping[str, Contract], settings: Settings, meter: Meter, quarantine: Quarantine
) -> Api:
    """Everything that a replica answers, around the decider."""
    log, state, clock = decider.log, decider.state, decider.clock
    names = CustomerNames(contracts["identities"])
    intake = Intake(contracts=contracts, log=log, state=state, clock=clock, quarantine=quarantine, meter=meter)
    customers = Customers(basis=decider.basis, features=decider.features, intake=intake, names=names, clock=clock)
    operations: list[Operation] = []

    def describe() -> dict[str, Any]:
        return openapi.document(operations, contracts, examples(decider.in_force.policy))

    parts = (
        Decisions(decider=decider, details=Details(decider, settings), names=names),
        Flags(decider, names),
        Events(intake),
        Segment(SegmentMessages.through(intake, contracts)),
        CustomerRoutes(customers, decider),
        Actions(decider=decider, log=log, state=state, clock=clock),
        Service(probe=Probe(decider), meter=meter, describe=describe),
    )
    operations += [operation for part in parts for operation in part.operations()]
    gate = Gate(KeyRing(settings.api_keys), RateLimits(settings.rates, SLOTS))
    return Api(operations=operations, gate=gate, meter=meter)


def rest_heap() -> None:
    """Let the collector pass over what is there for good, and come seldom: a decision leaves no cycles behind.

    It would come with every other decision, and now and then look through a million objects of libraries.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 100)


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `loop` beside what is inside the context."""
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        while not task.done():  # what was just committed has its result, and keeps the cancellation to itself
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)
        with suppress(asyncio.CancelledError):
            await task


def _now() -> datetime:
    return datetime.now(UTC)
