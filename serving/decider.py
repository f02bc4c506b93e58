"""The decision path: read, decide, reserve, settle, log, answer.

Belongs here: the order of these steps for one request, and what happens when a part is down: the customer gets
the placement's fallback, never an error. Does not belong here: HTTP, or any rule about what to decide
(`nextbest.decision`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec

from nextbest import records
from nextbest.contracts import Contract
from nextbest.decision import UnknownPlacementError, decide, settle
from nextbest.envelope import Envelope
from nextbest.errors import NextbestError
from nextbest.experiments import shadows
from nextbest.intake import envelope
from nextbest.live_plan import LivePlans
from nextbest.log import EventLog, LogUnavailableError, decision_entries
from nextbest.messages import Profile, Proposal, Request
from nextbest.policy import Policy
from nextbest.records import DecisionRecord, Snapshot
from nextbest.reservations import reserve
from nextbest.residual import Beliefs
from nextbest.situation import Models
from nextbest.state import SnapshotScope, State, StateBehindError, StateUnavailableError
from nextbest.wire import DecisionRequest
from serving.basis import Basis
from serving.defects import place_of
from serving.pace import Deadline, Pace
from serving.policies import InForce
from serving.profiles import FeatureReader, completed, profile_of
from serving.requests import check_context, is_answered_by, request_of
from serving.stopwatch import Stopwatch

_log = logging.getLogger(__name__)


class RequestIdTakenError(NextbestError):
    """A request comes with the id of another one."""


class NoPolicyError(NextbestError):
    """A replica was asked before it had a policy."""


class CurrentPolicy(Protocol):
    """Whatever policy is in use now; a replica does not begin without one."""

    @property
    def current(self) -> InForce | None: ...


class CurrentModels(Protocol):
    """Whatever model set is in use now."""

    @property
    def current(self) -> Models | None: ...


class Meter(Protocol):
    """What counts decisions."""

    def note(self, record: DecisionRecord) -> None:
        """One more was made."""
        ...


class NoMeter:
    """Counts nothing."""

    def note(self, record: DecisionRecord) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Decides with whatever policy and model set are current when a request comes."""

    policies: CurrentPolicy
    models: CurrentModels
    features: FeatureReader
    basis: Basis
    contract: Contract
    """Of `decisions`: a decision is logged as its rows."""
    clock: Callable[[], datetime]
    budget_ms: float
    """How long a decision may take where the request does not say."""
    pace: Pace = field(default_factory=Pace)
    meter: Meter = field(default_factory=NoMeter)
    live: LivePlans = field(default_factory=LivePlans)
    giving_back: set["asyncio.Task[None]"] = field(default_factory=set)
    """What is under way beside the answers."""

    @property
    def state(self) -> State:
        return self.basis.state

    @property
    def log(self) -> EventLog:
        return self.basis.log

    @property
    def in_force(self) -> InForce:
        """The policy in use.

        Raises:
            NoPolicyError: there is none yet.

        """
        current = self.policies.current
        if current is None:
            raise NoPolicyError("no policy is in use: `nextbest policy publish` puts one there")
        return current

    async def decide(self, asked: DecisionRequest) -> DecisionRecord:
        """The decision, logged unless its record says otherwise; a request id seen before gets the decision it got.

        Whatever goes wrong on the way, and whatever takes too long, the customer gets their placements' fallbacks.

        Raises:
            UnknownPlacementError: the policy has no such placement.
            ContextError: a value of the context is of the wrong kind, or no time zone.
            RequestIdTakenError: the request id belongs to another request.

        """
        attempt = Attempt.of(request_of(asked), self.clock(), self.budget_ms)
        attempt.is_repeatable = asked.request_id is not None
        policy, beliefs = self.in_force
        check_context(attempt.request, policy)
        record = await self._in_time(attempt, policy, beliefs)
        if attempt.is_repeatable and not is_answered_by(record, attempt.request):
            raise RequestIdTakenError("the request id was used for another request: every request needs its own")
        if not attempt.is_repeated:
            self.meter.note(record)
        return record

    async def settled(self) -> None:
        """Return once all is given back of what did not take place."""
        await asyncio.gather(*self.giving_back)

    async def record(self, decision_id: str) -> DecisionRecord | None:
        """The record of a decision made earlier.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        entries = await decision_entries(self.log, decision_id)
        return records.decode(entries[0].properties["record"]) if entries else None

    async def _in_time(self, attempt: "Attempt", policy: Policy, beliefs: Beliefs) -> DecisionRecord:
        """The decision, or a fallback that says why there is no better one in time."""
        try:
            async with asyncio.timeout(attempt.deadline.left_s()):
                earlier = await self._earlier(attempt) if attempt.is_repeatable else None
                return earlier or await self._decide(attempt, policy, beliefs)
        except TimeoutError:
            reason = f"{attempt.waits_for}_slow"
        except StateBehindError:
            reason = "state_rebuilding"
        except StateUnavailableError:
            reason = "state_unavailable"
        except LogUnavailableError:
            reason = "log_unavailable"
        except UnknownPlacementError:
            raise
        except Exception as error:  # noqa: BLE001  a defect of ours is not the customer's: it is in the server's log
            _log.error("decision %s is the fallback: %s", attempt.request.decision_id, place_of(error))
            reason = "defect"
        self._give_back(attempt)
        return _fallback(attempt, policy, reason)

    async def _earlier(self, attempt: "Attempt") -> DecisionRecord | None:
        attempt.waits_for = "log"
        try:
            earlier = await self.record(attempt.request.decision_id)
        except LogUnavailableError:
            return None  # deciding again will say that the log is down
        attempt.is_repeated = earlier is not None
        return earlier

    async def _decide(self, attempt: "Attempt", policy: Policy, beliefs: Beliefs) -> DecisionRecord:
        now, watch = attempt.now, attempt.watch
        request, snapshot, profile = await self._known(attempt, policy.scope(now, attempt.request.context))
        tier = self.pace.tier(attempt.deadline.left_ms())
        if tier == "fallback":
            return _fallback(attempt, policy, "deadline")
        began = time.monotonic()
        models = self.models.current
        profile = self.live.profile(profile, request.context, policy, models.model_set if models else None, now)
        watch.lap("features")
        propose = partial(
            decide,
            profile=profile,
            policy=policy,
            models=models,
            snapshot=snapshot,
            now=now,
            residuals=beliefs.of(models),
            tier=tier,
        )
        proposal = propose(request, lap=watch.lap)
        attempt.waits_for = "state"
        attempt.slots = sum(placement.slots for placement in proposal.placements) if proposal.reserves else 0
        grant = await self.state.reserve(proposal, now, attempt.log_id)
        watch.lap("reserve")
        decision = settle(proposal, grant, watch.stage_us)
        watch.lap("settle")
        beside = list(_beside(propose, request, policy, decision)) if request.mode == "live" else []
        attempt.waits_for = "log"
        decision = await self._log(decision, beside, watch, fresh=not attempt.is_repeatable)
        attempt.slots = 0  # it took place
        self.pace.note(tier, 1_000.0 * (time.monotonic() - began))
        return decision

    async def _known(self, attempt: "Attempt", scope: SnapshotScope) -> tuple[Request, Snapshot, Profile]:
        """The request with its customer, what State knows of them, and their features, which are read beside it."""
        request, watch = attempt.request, attempt.watch
        attempt.waits_for = "state"
        name = await self.state.customer_of(request.identifiers) if request.identifiers else request.customer_id
        reading = asyncio.create_task(profile_of(name, self.features, attempt.deadline))
        try:
            snapshot, attempt.log_id = await self.basis.snapshot(name, scope)
            watch.lap("state")
            attempt.waits_for = "features"
            profile = read = await reading
            customer_id, *others = snapshot.members or (name,)
            if customer_id != name:  # by one of the other names of the customer, under which no live features are
                profile = await profile_of(customer_id, self.features, attempt.deadline)
            profile = await completed(profile, others, {name: read}, self.features, attempt.deadline)
            watch.lap("features")
        finally:
            reading.cancel()
        return msgspec.structs.replace(request, customer_id=customer_id), snapshot, profile

    async def _log(
        self, decision: DecisionRecord, beside: Sequence[DecisionRecord], watch: Stopwatch, *, fresh: bool
    ) -> DecisionRecord:
        """Log and return `decision`, or the one that the same request id got meanwhile elsewhere."""
        entries = [_entry(self.contract, row, each) for each in (decision, *beside) for row in records.rows(each)]
        appended = await self.log.append(entries, together=True, fresh=fresh)
        watch.lap("log")
        if appended.duplicates:
            earlier = await decision_entries(self.log, decision.decision_id)
            with suppress(StateUnavailableError):
                await self.state.apply(earlier, None)  # its contacts count, and not those reserved here
            return records.decode(earlier[0].properties["record"])
        return msgspec.structs.replace(decision, stage_us=watch.stage_us)

    def _give_back(self, attempt: "Attempt") -> None:
        """Give back what a decision that does not take place may have reserved; nobody waits for that.

        Where the log may come to have it all the same, it may take place: what it reserved counts, or expires.
        """
        if attempt.slots and (attempt.waits_for != "log" or self.log.is_definite):
            task = asyncio.create_task(self._release(attempt))
            self.giving_back.add(task)
            task.add_done_callback(self.giving_back.discard)

    async def _release(self, attempt: "Attempt") -> None:
        """Without State it expires by itself; what another try of the request has logged, or logs meanwhile, holds."""
        decision_id = attempt.request.decision_id
        with suppress(StateUnavailableError, LogUnavailableError):
            if attempt.is_repeatable and await self.record(decision_id):
                return
            for slot in range(attempt.slots):
                await self.state.release(decision_id, slot)
            if attempt.is_repeatable and (logged := await decision_entries(self.log, decision_id)):
                await self.state.apply(logged, None)


@dataclass(slots=True)
class Attempt:
    """A request on its way, and what it waits for."""

    request: Request
    now: datetime
    deadline: Deadline
    watch: Stopwatch
    waits_for: str = "state"
    log_id: str = ""
    """The log that State had caught up with when it was read."""
    slots: int = 0
    """How many it may have reserved."""
    is_repeatable: bool = False
    """Whether it has an id of the channel's."""
    is_repeated: bool = False
    """Whether it was decided before."""

    @classmethod
    def of(cls, request: Request, now: datetime, budget_ms: float) -> "Attempt":
        return cls(request, now, Deadline(request.options.budget_ms or budget_ms), Stopwatch())


def _fallback(attempt: Attempt, policy: Policy, reason: str) -> DecisionRecord:
    """The placements' fallbacks, which need neither consent nor room under a cap; nothing is kept of it."""
    watch, now = attempt.watch, attempt.now
    proposal = decide(attempt.request, Profile(unavailable=reason), policy, None, Snapshot(), now, lap=watch.lap)
    return msgspec.structs.replace(_unreserved(proposal, now, watch.stage_us), logged=False, learning=False)


def _beside(
    propose: Callable[[Request], Proposal], request: Request, policy: Policy, decision: DecisionRecord
) -> Iterator[DecisionRecord]:
    """What shadow policies would have decided; one that fails is in the log, and keeps nobody waiting."""
    for shadow in shadows(policy, decision.arms):
        try:
            yield _unreserved(propose(_shadow_of(request, shadow.id)), decision.occurred_at)
        except Exception as error:  # noqa: BLE001  on trial is what it is
            _log.error("shadow %s of decision %s: %s", shadow.id, decision.decision_id, place_of(error))


def _shadow_of(request: Request, shadow: str) -> Request:
    """The request as a shadow policy answers it: nobody sees that."""
    return msgspec.structs.replace(
        request,
        decision_id=f"{request.decision_id}.{shadow}",
        mode="shadow",
        shadow=shadow,
        trigger=f"beside {request.decision_id}",
    )


def _unreserved(proposal: Proposal, now: datetime, stage_us: Mapping[str, float] | None = None) -> DecisionRecord:
    """The decision that a proposal is where it reserves nothing."""
    snapshot = proposal.record.snapshot
    asked = msgspec.structs.replace(proposal, reserves=False)
    return settle(proposal, reserve(asked, snapshot.contacts, now, snapshot.usage)[0], stage_us)


def _entry(contract: Contract, row: Mapping[str, Any], decision: DecisionRecord) -> Envelope:
    """The log's entry of a slot, named without the placement: two tries of a decision always share their first id."""
    event_id = f"{contract.name}/{decision.decision_id}/{row['slot']}"
    entry = envelope(contract, row, decision.occurred_at)
    return msgspec.structs.replace(entry, event_id=event_id, identifiers=decision.identifiers)
