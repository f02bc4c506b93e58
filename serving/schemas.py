"""The bodies of the API: what channels send and what they get.

Belongs here: the types of requests and responses, from which OpenAPI is made. Does not belong here: handling them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from nextbest.intake import Verdict
from nextbest.records import Mode, Tier

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Given = bool | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str
"""A value of the context; a whole number beyond 64 bits is no number that rules or models could take."""

EVENTS_LIMIT = 500


class CustomerReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the decision is for: a customer id, or an identifier as the keyed hash of its value."""

    customer_id: Id | None = None
    kind: Id | None = None
    hmac: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None

    def __post_init__(self) -> None:
        if (self.customer_id is None) == (self.kind is None) or (self.kind is None) != (self.hmac is None):
            raise ValueError("name the customer by customer_id, or by kind and hmac of an identifier")


class DecisionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fill placements for one customer."""

    customer: CustomerReference
    placements: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=20)]
    context: Annotated[dict[str, Given], Meta(max_length=100)] = {}
    limit: Annotated[int, Meta(ge=1, le=100, description="Most slots to fill per placement.")] | None = None
    dedup: Annotated[bool, Meta(description="An action fills at most one slot.")] = True
    dedup_with: Annotated[
        tuple[Id, ...],
        Meta(max_length=20, description="Earlier decisions, of the same page say, whose actions are not taken again."),
    ] = ()
    count_toward_caps: bool = True
    budget_ms: (
        Annotated[
            float,
            Meta(gt=0, le=60_000, description="How long it may take; what would come late is a simpler decision."),
        ]
        | None
    ) = None
    dry_run: Annotated[bool, Meta(description="Decide, but count toward no cap.")] = False
    include: tuple[Literal["content", "explanation"], ...] = ("content",)
    request_id: (
        Annotated[Id, Meta(description="The same id gets the same decision; 409 for another request.")] | None
    ) = None


class SlotAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What fills a slot. `slot` counts through the whole decision; money is in the policy's currency."""

    slot: int
    action: str
    treatment: str
    reason: Annotated[str, Meta(description="Why this fills the slot, in a few words.")]
    probability: float
    p: float | None
    value: float | None
    cost: float | None
    priority: float | None
    expires_at: datetime | None
    content: dict[str, str]


class PlacementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A placement and what fills it, best first; `do_nothing` shows the placement's fallback."""

    id: str
    channel: str
    slots: tuple[SlotAnswer, ...]


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a candidate came, and why no further; no reason means it took part in the arbitration."""

    placement: str
    action: str
    treatment: str
    stage: str
    reason: str = ""
    p: float | None = None
    value: float | None = None
    cost: float | None = None
    priority: float | None = None
    selection_probability: float | None = None


class DecisionResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. `degraded` says why it is less than it could have been."""

    decision_id: str
    request_id: str
    customer_id: str | None
    occurred_at: datetime
    mode: Mode
    tier: Tier
    degraded: tuple[str, ...]
    logged: bool
    policy_hash: str
    model_set_id: str | None
    placements: tuple[PlacementAnswer, ...]
    stage_us: dict[str, float]
    explanation: tuple[Reason, ...] | None = None


INTAKE = ("events", "outcomes", "consents")
"""Contracts whose rows the API takes in."""


class EventRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row under the contract it names."""

    contract: Literal["events", "outcomes", "consents"]
    properties: dict[str, Any]
    sent_at: Annotated[datetime, Meta(tz=True, description="When it was sent, by the sender's clock.")] | None = None


class EventsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of what happened."""

    events: Annotated[tuple[EventRow, ...], Meta(min_length=1, max_length=EVENTS_LIMIT)]


class EventsResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each row, in the order sent; accepted rows are durable."""

    accepted: int
    duplicates: int
    rejected: int
    results: tuple[Verdict, ...]


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether decisions can be complete; `missing` says by part what is not there."""

    ready: bool
    missing: dict[str, str]
    policy_hash: str
    model_set_id: str | None
