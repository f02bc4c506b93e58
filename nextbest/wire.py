"""What goes over the wire: the bodies that channels send to the API and get from it.

Belongs here: the types of requests and responses, from which OpenAPI is made, and which the client (`nextbest.client`)
speaks too. Does not belong here: handling them (serving).
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from nextbest.envelope import Envelope, Identifier
from nextbest.records import Attribute, DecisionRecord, Mode, Snapshot, Tier

TEXT_LIMIT = 1_000
"""Most characters of a text of the context."""
LONG_TEXT_LIMIT = 10_000
"""Most characters of a text of an event."""
LIST_LIMIT = 1_000
"""Most items of a list, and members of an object, in an event."""
EVENTS_LIMIT = 500
Taken = Literal["events", "outcomes", "consents", "transactions", "identities", "signals"]
INTAKE: tuple[Taken, ...] = get_args(Taken)
"""Contracts whose rows the API takes in."""

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
# To Python's patterns an end of line comes before the end, to those of JSON Schema not: the length decides.
Hmac = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
Text = Annotated[str, Meta(max_length=TEXT_LIMIT)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Real = Annotated[float, Meta(ge=-(2.0**63), le=2.0**63 - 1024.0)]
"""A number within the bounds of `Whole`, since in JSON nothing tells 1e30 from a one with thirty zeros."""
_Count = Annotated[float, Meta(multiple_of=1, extra_json_schema={"type": "integer"})]
"""A whole number as JSON Schema means it: 2.0 is one."""
Given = bool | Whole | Real | Text
"""A value of the context; a number beyond 64 bits is none that rules or models could take."""
if TYPE_CHECKING:  # to whoever reads it the contract says what it is
    Value = Any
else:
    _Scalar = bool | Whole | Real | Annotated[str, Meta(max_length=LONG_TEXT_LIMIT)] | None
    _Few = Meta(max_length=LIST_LIMIT)
    _Flat = _Scalar | Annotated[list[_Scalar], _Few] | Annotated[dict[Name, _Scalar], _Few]
    Value = _Scalar | Annotated[list[_Flat], _Few] | Annotated[dict[Name, _Flat], _Few]
"""What an event may say of one thing: a value, or lists and objects of values, two deep."""
Part = Literal["content", "metadata", "explanation"]
Status = Literal["granted", "withdrawn"]
Money = Annotated[float | None, Meta(description="In the policy's currency; null for what was not scored.")]


class CustomerReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the decision is for: a customer id, or an identifier as the keyed hash of its value."""

    customer_id: Id | None = None
    kind: Annotated[Name | None, Meta(description="What kind of identifier it is: email, device, loyalty_card …")] = (
        None
    )
    hmac: Annotated[Hmac | None, Meta(description="Its keyed hash, as the contract `identities` has it.")] = None

    def __post_init__(self) -> None:
        if (self.customer_id is None) == (self.kind is None) or (self.kind is None) != (self.hmac is None):
            raise ValueError("name the customer by customer_id, or by kind and hmac of an identifier")


class DecisionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fill placements for one customer."""

    customer: CustomerReference
    placements: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=20, extra_json_schema={"uniqueItems": True})]
    context: Annotated[
        dict[Name, Given],
        Meta(max_length=100, description="What the channel knows now; the policy says which names rules use."),
    ] = {}
    limit: Annotated[_Count, Meta(ge=1, le=100, description="Most slots to fill per placement.")] | None = None
    dedup: Annotated[bool, Meta(description="An action fills at most one slot.")] = True
    dedup_with: Annotated[
        tuple[Id, ...],
        Meta(max_length=20, description="Earlier decisions, of the same page say, whose actions are not taken again."),
    ] = ()
    count_toward_caps: Annotated[
        bool, Meta(description="Without it caps are obeyed, and nothing is counted under them.")
    ] = True
    budget_ms: (
        Annotated[
            float,
            Meta(gt=0, le=60_000, description="How long it may take; what would come late is a simpler decision."),
        ]
        | None
    ) = None
    dry_run: Annotated[bool, Meta(description="Decide, but count toward no cap and teach no model.")] = False
    include: Annotated[
        tuple[Part, ...],
        Meta(max_length=3, description="What each slot comes with; an explanation names every candidate."),
    ] = ("content",)
    request_id: (
        Annotated[Id, Meta(description="The same id gets the same decision; 409 for another request.")] | None
    ) = None


class ActionMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy says of an action."""

    name: str
    group: str
    objective: str
    action_class: Annotated[str, Meta(description="`standard`, `transactional` or `mandatory`")]
    attributes: Annotated[dict[str, Attribute], Meta(description="What content may say of it.")]


class SlotAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What fills a slot."""

    slot: Annotated[int, Meta(description="Counts through the whole decision: events name it.")]
    action: Annotated[str, Meta(description="`do_nothing` shows the placement's fallback.")]
    treatment: str
    reason: Annotated[str, Meta(description="Why this fills the slot, in a few words.")]
    probability: Annotated[float, Meta(description="How likely it was to be selected, given the slots before it.")]
    p: Annotated[float | None, Meta(description="The propensity: how likely the customer responds.")]
    value: Money
    cost: Money
    priority: Money
    expires_at: Annotated[
        datetime | None, Meta(description="Until then it holds its place under caps without an impression.")
    ]
    content: dict[str, str]
    metadata: ActionMetadata | None = None


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
    uplift: Annotated[
        float | None, Meta(description="The part of p that the action causes, where that counts and is known.")
    ] = None
    value: float | None = None
    cost: float | None = None
    priority: float | None = None
    selection_probability: float | None = None


class DecisionResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A decision."""

    decision_id: str
    request_id: str
    customer_id: str | None
    occurred_at: datetime
    mode: Mode
    tier: Annotated[
        Tier, Meta(description="`full`; `reduced` asked no model, for want of time; `fallback` shows the fallbacks.")
    ]
    degraded: Annotated[tuple[str, ...], Meta(description="Why it is less than it could have been; empty when not.")]
    logged: Annotated[bool, Meta(description="Whether it is in the log; what is not counts nowhere.")]
    policy_hash: str
    model_set_id: str | None
    placements: tuple[PlacementAnswer, ...]
    stage_us: Annotated[dict[str, float], Meta(description="Microseconds that each stage took.")]
    explanation: tuple[Reason, ...] | None = None


class DifferenceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a record where deciding again says something else."""

    place: str
    recorded: Any
    again: Any


class ReplayVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether deciding again comes to the same record, bit for bit."""

    identical: bool
    differences: tuple[DifferenceSeen, ...]
    code_version: Annotated[str, Meta(description="Of the code that decided again.")]


class FeatureContribution(msgspec.Struct, frozen=True, kw_only=True):
    """What a feature does for a propensity: how much lower it would be had the feature its default."""

    feature: str
    value: float
    default: float
    change: float


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """The terms whose sum is the priority of what fills a slot, and the features that moved its propensity most."""

    placement: str
    slot: int
    action: str
    terms: Annotated[
        dict[str, float],
        Meta(
            description="`response` (p · value), `uplift` (what of it would come without the action, below 0), `lever` "
            "(what it adds) and `cost` (below 0)."
        ),
    ]
    features: tuple[FeatureContribution, ...]


class DecisionDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as the log has it; with `explain` also whether it can be decided again, and what it rests on."""

    record: DecisionRecord
    replay: ReplayVerdict | None = None
    contributions: tuple[Contribution, ...] | None = None


class EventRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row under the contract it names."""

    contract: Taken
    properties: Annotated[dict[Name, Value], Meta(max_length=LIST_LIMIT)]
    sent_at: Annotated[datetime, Meta(tz=True, description="When it was sent, by the sender's clock.")] | None = None


class EventsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of what happened."""

    events: Annotated[tuple[EventRow, ...], Meta(min_length=1, max_length=EVENTS_LIMIT)]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one row: a `duplicate` is in the log already; `rule` and `column` name what it breaks."""

    status: Literal["accepted", "duplicate", "rejected"]
    reason: str = ""
    rule: str = ""
    column: str = ""


class EventsResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each row, in the order sent; accepted rows are durable."""

    accepted: int
    duplicates: int
    rejected: int
    results: tuple[Verdict, ...]


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer has said about a purpose, and what follows from it."""

    purpose: str
    regime: Annotated[str, Meta(description="`opt_in` asks for a yes first, `opt_out` for a no.")]
    status: Annotated[Status | None, Meta(description="What the customer said last; null for nothing.")]
    is_allowed: Annotated[bool, Meta(description="Whether decisions may rest on the purpose now.")]


class Consents(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's consents, one for each purpose that the policy knows."""

    customer_id: str
    consents: tuple[Consent, ...]


class ConsentsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer says now; a purpose left out stays as it is."""

    consents: Annotated[dict[Name, Status], Meta(min_length=1, max_length=100)]


class CustomerExport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept about a customer."""

    customer_id: str
    exported_at: datetime
    identifiers: tuple[Identifier, ...]
    state: Annotated[Snapshot, Meta(description="Consents, contacts, interactions and arms, as decisions know them.")]
    features: Annotated[
        dict[str, dict[str, Attribute | None]],
        Meta(description="By each name of the customer, as the online feature store has them."),
    ]
    log: Annotated[tuple[Envelope, ...], Meta(description="Every entry of the event log about the customer.")]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased of a customer: entries of the log and features are gone when this is answered."""

    customer_id: str
    log_entries: int
    features: int


class SwitchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an action is paused or resumed."""

    reason: Text = ""


class SwitchResponse(msgspec.Struct, frozen=True, kw_only=True):
    """How an action is now: what is said binds the next decision on every replica."""

    action: str
    is_paused: bool
    changed: bool


class FlagRequest(msgspec.Struct, frozen=True):
    """OpenFeature's evaluation context; `targetingKey` is the customer's id, or `kind:hmac` of an identifier."""

    context: Annotated[
        dict[str, Any],
        Meta(description="Of all that applications put here, for other flags too, only what decisions know is read."),
    ] = {}


class FlagVariation(msgspec.Struct, frozen=True, kw_only=True):
    """A placement as a flag: its first slot, and all of them under `slots`."""

    key: str
    reason: Literal["TARGETING_MATCH", "DEFAULT"]
    variant: str
    value: dict[str, Any]
    metadata: dict[str, str | bool | float]


FlagError = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]


class FlagProblem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a flag was not evaluated, in the words of OpenFeature's remote evaluation protocol."""

    key: str
    errorCode: FlagError  # noqa: N815
    errorDetails: str = ""  # noqa: N815


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    healthy: bool = True


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether decisions can be complete; `missing` says by part what is not there."""

    ready: bool
    missing: dict[str, str]
    policy_hash: str
    model_set_id: str | None


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one part of the body; `pointer` is a JSON pointer as a URI fragment."""

    detail: str
    pointer: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with the parts of the body that are wrong as `errors`."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: tuple[FieldError, ...] = ()
