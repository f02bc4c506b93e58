"""The decision path: read, decide, reserve, settle, log, answer.

Belongs here: the order of these steps for one request, and what happens when a part is down: the customer gets
the placement's fallback, never an error. Does not belong here: HTTP, or any rule about what to decide
(`nextbest.decision`).
"""

import hashlib
import logging
import time
import uuid
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
from nextbest.envelope import Envelope, Identifier
from nextbest.errors import NextbestError
from nextbest.experiments import shadows
from nextbest.intake import envelope
from nextbest.log import EventLog, LogUnavailableError, decision_entries
from nextbest.messages import Profile, Proposal, Request
from nextbest.policy import Policy
from nextbest.records import DecisionRecord, Options, Snapshot
from nextbest.reservations import reserve
from nextbest.situation import Models
from nextbest.state import SnapshotScope, State, StateUnavailableError
from serving.pace import Deadline, Pace
from serving.policies import InForce
from serving.schemas import DecisionRequest
from serving.stopwatch import Stopwatch

_log = logging.getLogger(__name__)


class RequestIdTakenError(NextbestError):
    """A request comes with the id of another one."""


class NoPolicyError(NextbestError):
    """A replica was asked before it had a policy."""


class FeatureReader(Protocol):
    """Where a customer's features are read."""

    async def profile(self, customer_id: str) -> Profile:
        """The customer's features, or why there are none; never raises."""
        ...

    async def missing(self) -> str:
        """Why features cannot be read; empty when they can."""
        ...


class CurrentPolicy(Protocol):
    """Whatever policy is in use now; a replica does not begin without one."""

    @property
    def current(self) -> InForce | None: ...


class CurrentModels(Protocol):
    """Whatever model set is in use now."""

    @property
    def current(self) -> Models | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Decides with whatever policy and model set are current when a request comes."""

    policies: CurrentPolicy
    models: CurrentModels
    features: FeatureReader
    state: State
    log: EventLog
    contract: Contract
    """Of `decisions`: a decision is logged as its rows."""
    clock: Callable[[], datetime]
    pace: Pace = field(default_factory=Pace)

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

        Raises:
            UnknownPlacementError: the policy has no such placement.
            RequestIdTakenError: the request id belongs to a request for somebody or something else.

        """
        request = _request(asked)
        earlier = await self._earlier(request.decision_id) if asked.request_id else None
        record = earlier or await self._decide(request)
        if _asked_for(record) != _asked_for(request):
            raise RequestIdTakenError(f"request id {request.request_id} was used for another request")
        return record

    async def record(self, decision_id: str) -> DecisionRecord | None:
        """The record of a decision made earlier.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        entries = await decision_entries(self.log, decision_id)
        return records.decode(entries[0].properties["record"]) if entries else None

    async def _earlier(self, decision_id: str) -> DecisionRecord | None:
        try:
            return await self.record(decision_id)
        except LogUnavailableError:
            return None  # deciding again will say that the log is down

    async def _decide(self, request: Request) -> DecisionRecord:
        now, watch, deadline = self.clock(), Stopwatch(), Deadline(request.options.budget_ms)
        policy, beliefs = self.in_force
        try:
            request, snapshot = await deadline.keep(self._known(request, policy.scope(now)))
            watch.lap("state")
            profile = await deadline.keep(self._profile(request))
            watch.lap("features")
            tier = self.pace.tier(deadline.left_ms())
            if tier == "fallback":
                return _fallback(request, policy, "deadline", now, watch)
            began = time.monotonic()
            models = self.models.current
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
            grant = await self.state.reserve(proposal, now)
            watch.lap("reserve")
        except TimeoutError:
            return _fallback(request, policy, "deadline", now, watch)
        except StateUnavailableError:
            return _fallback(request, policy, "state_unavailable", now, watch)
        except UnknownPlacementError:
            raise
        except Exception:  # noqa: BLE001  a defect of ours is not the customer's: it is in the log
            _log.exception("decision %s is the fallback", request.decision_id)
            return _fallback(request, policy, "defect", now, watch)
        decision = settle(proposal, grant, watch.stage_us)
        beside = list(_beside(propose, request, policy, decision)) if request.mode == "live" else []
        try:
            decision = await self._log(decision, beside, watch)
        except LogUnavailableError:
            await self._release(decision)
            return _fallback(request, policy, "log_unavailable", now, watch)
        self.pace.note(tier, 1_000.0 * (time.monotonic() - began))
        return decision

    async def _known(self, request: Request, scope: SnapshotScope) -> tuple[Request, Snapshot]:
        """The request with its customer, and what State knows of them."""
        if request.identifiers:
            customer_id = await self.state.customer_of(request.identifiers)
            request = msgspec.structs.replace(request, customer_id=customer_id)
        return request, await self.state.snapshot(request.customer_id, scope)

    async def _profile(self, request: Request) -> Profile:
        if request.customer_id is None:
            return Profile(unavailable="unknown_customer")
        return await self.features.profile(request.customer_id)

    async def _log(
        self, decision: DecisionRecord, beside: Sequence[DecisionRecord], watch: Stopwatch
    ) -> DecisionRecord:
        """Log and return `decision`, or the one that the same request id got meanwhile elsewhere."""
        entries = [_entry(self.contract, row, each) for each in (decision, *beside) for row in records.rows(each)]
        appended = await self.log.append(entries, together=True)
        watch.lap("log")
        if appended.duplicates:
            earlier = await decision_entries(self.log, decision.decision_id)
            with suppress(StateUnavailableError):
                await self.state.apply(earlier, None)  # its contacts count, and not those reserved here
            return records.decode(earlier[0].properties["record"])
        return msgspec.structs.replace(decision, stage_us=watch.stage_us)

    async def _release(self, decision: DecisionRecord) -> None:
        """Give back what a decision that does not take place has reserved; without State it expires by itself."""
        with suppress(StateUnavailableError):
            for placement in decision.placements:
                for slot in placement.slots:
                    await self.state.release(decision.decision_id, slot.slot)


def _fallback(request: Request, policy: Policy, reason: str, now: datetime, watch: Stopwatch) -> DecisionRecord:
    """The placements' fallbacks, which need neither consent nor room under a cap; nothing is kept of it."""
    proposal = decide(request, Profile(unavailable=reason), policy, None, Snapshot(), now, lap=watch.lap)
    return msgspec.structs.replace(_unreserved(proposal, now, watch.stage_us), logged=False, learning=False)


def _beside(
    propose: Callable[[Request], Proposal], request: Request, policy: Policy, decision: DecisionRecord
) -> Iterator[DecisionRecord]:
    """What shadow policies would have decided; one that fails is in the log, and keeps nobody waiting."""
    for shadow in shadows(policy, decision.arms):
        try:
            yield _unreserved(propose(_shadow_of(request, shadow.id)), decision.occurred_at)
        except Exception:  # noqa: BLE001  on trial is what it is
            _log.exception("shadow %s of decision %s", shadow.id, decision.decision_id)


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


def _asked_for(given: Request | DecisionRecord) -> tuple[object, ...]:
    """Whom and what a request, or the one that a record answers, is about."""
    placements = given.placements if isinstance(given, Request) else [each.id for each in given.placements]
    return given.identifiers or given.customer_id, tuple(dict.fromkeys(placements)), given.mode


def _decision_id(request_id: str | None) -> str:
    """Follows from the request id where there is one, so that a repeated request is the same decision."""
    if request_id is None:
        return uuid.uuid4().hex
    return hashlib.sha256(f"decision of request {request_id}".encode()).hexdigest()[:32]


def _request(asked: DecisionRequest) -> Request:
    customer, decision_id = asked.customer, _decision_id(asked.request_id)
    identifiers = () if customer.kind is None else (Identifier(kind=customer.kind, hmac=customer.hmac or ""),)
    return Request(
        decision_id=decision_id,
        request_id=asked.request_id or decision_id,
        customer_id=customer.customer_id,
        placements=asked.placements,
        identifiers=identifiers,
        context=asked.context,
        options=Options(
            limit=asked.limit,
            dedup=asked.dedup,
            dedup_with=asked.dedup_with,
            count_toward_caps=asked.count_toward_caps,
            budget_ms=asked.budget_ms,
        ),
        mode="dry_run" if asked.dry_run else "live",
    )
