"""What Ray Serve runs: replicas of the API, and one event processor.

Belongs here: the deployments and their limits. Imported only once Ray's variables are set (`serving.cluster`). Does not
belong here: what a replica is made of (`serving.app`).
"""

import asyncio
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from ray import serve
from ray.serve.config import BackpressureConfig
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.logs import mirror, open_log
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.adapters.states import open_state
from nextbest.following import Step
from nextbest.projection import Projection
from nextbest.settings import Settings
from serving.app import IN_FLIGHT, build
from serving.learner import Learner
from serving.live_features import LiveFeatures
from serving.live_store import LiveStore
from serving.loopback import keep_replica_local
from serving.metrics import Meter
from serving.model_sets import ModelSets
from serving.policies import Policies
from serving.processor import Processor
from serving.stream_monitor import StreamMonitor
from serving.unread_signals import UnreadSignals

_STOP_S = 2.0
_DRAIN_S = 0.1
_SURGE_PERCENT = 1
"""Rounded up, one: a fresh replica starts before an old one ends, and another only after that."""
_ONGOING_REQUESTS = 1_000
"""More than a replica takes: it refuses by itself what is too many (`serving.backpressure`)."""
_LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_LOGGING = LoggingConfig(log_level="WARNING", enable_access_log=False)


def replica() -> ASGIApp:
    """Built in each replica, from the environment it inherits."""
    keep_replica_local()
    _log_to_stderr()
    return build(Settings.from_env())


def _log_to_stderr() -> None:
    """Ray brings it to the server's own (`serving.cluster`); `sys.stderr` is Serve's stand-in here, which drops it."""
    logging.basicConfig(stream=sys.__stderr__, level=logging.WARNING, format=_LOG_FORMAT, force=True)


@serve.deployment(
    name="events",
    max_surge_percent=_SURGE_PERCENT,
    ray_actor_options={"num_cpus": 0},
    graceful_shutdown_timeout_s=_STOP_S,
    graceful_shutdown_wait_loop_s=_DRAIN_S,
    logging_config=_LOGGING,
)
class EventProcessor:
    """Follows the log, brings one that is elsewhere into the home, and watches it; started again when it does not."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits it
        keep_replica_local()
        _log_to_stderr()
        settings = Settings.from_env()
        log, meter = open_log(settings), Meter(settings.metrics)
        monitor = StreamMonitor(
            log=log,
            meter=meter,
            path=settings.stream_watch,
            clock=_now,
            webhook=settings.alert_webhook,
            rejects=Quarantine(settings.rejected_events, load_contracts(settings.folder("contracts"))),
        )
        state = open_state(settings)
        policies, models = Policies(settings.policies_archive, state), ModelSets(settings.bundles, state)
        unread = UnreadSignals(policies=policies)

        def note(made: Step) -> None:
            monitor.note(made)
            unread.note(made)

        live = LiveStore(settings, _now)
        projections: list[Projection] = [LiveFeatures(state, live)]
        processor = Processor(
            log=log,
            state=state,
            projections=projections,
            skipped=SkippedRecords(settings.skipped_records),
            clock=_now,
            note=note,
            note_skipped=monitor.note_skipped,
        )
        learner = Learner(
            log=log, state=state, policies=policies, models=models, skip=processor.skip, projections=projections
        )
        loop = asyncio.get_running_loop()
        following = (policies.follow(), models.follow(), learner.follow(), processor.follow(), processor.project())
        beside = (mirror(settings), monitor.watch(), meter.keep_writing(), *following)
        self._beside = [loop.create_task(each) for each in beside]
        await live.tried()  # where servers are rolled the one before writes until then
        processor.retry()

    def check_health(self) -> None:
        for each in self._beside:
            if each.done():
                each.result()


def _now() -> datetime:
    return datetime.now(UTC)


def application(replicas: int, version: str) -> Any:
    """Everything on the decision path in one deployment: a decision crosses no process but its replica's.

    Ray replaces the replicas of another `version`, and leaves those of this one alone. Left to itself it takes every
    call for another version.
    """
    decisions: Any = serve.deployment(
        serve.ingress(replica)(),
        name="decisions",
        num_replicas=replicas,
        max_ongoing_requests=_ONGOING_REQUESTS,
        max_queued_requests=IN_FLIGHT,  # where there is no replica, those that wait for one
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
        max_surge_percent=_SURGE_PERCENT,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=_STOP_S,
        graceful_shutdown_wait_loop_s=_DRAIN_S,
        logging_config=_LOGGING,
    )
    processor: Any = EventProcessor
    return decisions.options(_internal=True, version=version).bind(
        processor.options(_internal=True, version=version).bind()
    )
