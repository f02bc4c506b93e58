"""Requests for decisions, as channels send them, turned into what the engine takes.

Belongs here: the decision's id, what makes two requests the same, and what the policy says of a context. Does not
belong here: deciding (`serving.decider`), or the types (`nextbest.wire`).
"""

import hashlib
import uuid
from collections.abc import Sequence

from nextbest.contact_rules import zone_of
from nextbest.envelope import Identifier
from nextbest.errors import NextbestError
from nextbest.messages import Request
from nextbest.policy import Policy
from nextbest.records import DecisionRecord, Options
from nextbest.wire import CustomerReference, DecisionRequest


class ContextError(NextbestError):
    """A value of the context is none that the policy takes: rules would take a default in its place."""

    def __init__(self, name: str, takes: str) -> None:
        super().__init__(f"{name} of the context takes a {takes}")
        self.name = name


def request_of(asked: DecisionRequest) -> Request:
    """The engine's request; identities are not resolved yet."""
    decision_id = decision_id_of(asked.request_id)
    return Request(
        decision_id=decision_id,
        request_id=asked.request_id or decision_id,
        customer_id=asked.customer.customer_id,
        placements=asked.placements,
        identifiers=_identifiers(asked.customer),
        context=asked.context,
        options=Options(
            limit=None if asked.limit is None else int(asked.limit),
            dedup=asked.dedup,
            dedup_with=asked.dedup_with,
            count_toward_caps=asked.count_toward_caps,
            budget_ms=asked.budget_ms,
        ),
        mode="dry_run" if asked.dry_run else "live",
    )


def decision_id_of(request_id: str | None) -> str:
    """Follows from the request id where there is one, so that a repeated request is the same decision."""
    if request_id is None:
        return uuid.uuid4().hex
    return hashlib.sha256(f"decision of request {request_id}".encode()).hexdigest()[:32]


def check_context(request: Request, policy: Policy) -> None:
    """Let pass a context whose values are of the kinds that the policy says; it may hold more than rules know.

    Raises:
        ContextError: one is of another kind, or a time zone that there is not.

    """
    for name, given in request.context.items():
        feature = policy.catalogue.get(name)
        if feature is not None and feature.origin == "context" and not feature.takes(given):
            raise ContextError(name, feature.kind)
    name = policy.time_zone.feature or ""
    zone = request.context.get(name)
    if zone and not (isinstance(zone, str) and zone_of(zone)):
        raise ContextError(name, f"time zone, such as America/Chicago: there is no {zone}")


def is_answered_by(record: DecisionRecord, request: Request) -> bool:
    """Whether `record` answers this very request: the same customer, placements, context and options."""
    placements = [each.id for each in record.placements]
    return _is_about(record, request) and _asked(record, placements) == _asked(request, request.placements)


def _is_about(record: DecisionRecord, request: Request) -> bool:
    """Whether they name the same customer: one may be named by any of the names that they had then."""
    if record.identifiers or request.identifiers:
        return record.identifiers == request.identifiers
    return request.customer_id in {record.customer_id, *record.snapshot.members}


def _asked(given: Request | DecisionRecord, placements: Sequence[str]) -> tuple[object, ...]:
    return list(dict.fromkeys(placements)), given.mode, given.context, given.options


def _identifiers(customer: CustomerReference) -> tuple[Identifier, ...]:
    return () if customer.kind is None else (Identifier(kind=customer.kind, hmac=customer.hmac or ""),)
