"""The record of a decision: complete enough to decide again, bit for bit, and to say why not.

Belongs here: the record's fields, its JSON form, and its rows under the `decisions` contract. Does not belong here: how
any of it is computed (`nextbest.decision`), or where it is kept (`nextbest.log`). Fields that later parts of the engine
fill have empty defaults, so that a record written today stays readable.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from nextbest.envelope import Identifier, partition_key

DO_NOTHING = "do_nothing"
"""The action of showing the placement's fallback: a candidate like any other."""

Attribute = bool | int | float | str
Mode = Literal["live", "shadow", "batch", "dry_run"]
Stage = Literal[
    "experiment",
    "consent",
    "pause",
    "schedule",
    "stock",
    "eligibility",
    "applicability",
    "suitability",
    "contact_policy",
    "reach",
    "score",
    "arbitration",
]
Tier = Literal["full", "reduced", "fallback"]
"""How complete a decision is. Reduced: the models were not asked, for want of time."""


def candidate_key(action: str, treatment: str) -> str:
    """The name of a candidate within its placement; doing nothing is one candidate, whatever the fallback shows."""
    return DO_NOTHING if action == DO_NOTHING else f"{action}/{treatment}"


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request may ask for beyond its placements; each changes the decision, so each is kept with it."""

    limit: int | None = None
    """Most slots to fill per placement; none means as many as the placement has."""
    dedup: bool = True
    """An action fills at most one slot of the whole decision."""
    dedup_with: tuple[str, ...] = ()
    """Earlier decisions whose actions are not taken again: of the same page, say."""
    count_toward_caps: bool = True
    budget_ms: float | None = None
    """How long the answer may take; a decision that would come late is a reduced one, or the fallback."""


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """One contact with a customer that caps count: decided, perhaps reserved still, perhaps seen."""

    decision_id: str
    slot: int
    action: str
    group: str
    channel: str
    decided_at: datetime
    expires_at: datetime
    """Until then an unseen contact holds its place under caps that count impressions."""
    impressed_at: datetime | None = None
    takes: dict[str, int] = {}
    """By counter over all customers (`messages.Limit`), what it takes of it."""


class Interaction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something else the customer did: the type of an event that is no impression, or the kind of an outcome."""

    kind: str
    at: datetime
    action: str | None = None
    channel: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """How much of a counter over all customers is used up: by contacts that were seen, and by those still reserved."""

    seen: int = 0
    held: int = 0


class Arm(msgspec.Struct, frozen=True):
    """The side of an experiment the customer is on, and how likely that was."""

    experiment: str
    arm: str
    probability: float


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said last of the world outside: `signal` of `key`, a number or a text; neither where it is not known."""

    signal: str
    key: str
    value: float | None = None
    text: str | None = None
    at: datetime
    expires_at: datetime | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What State knew of the customer when the decision was made, in one round trip."""

    members: tuple[str, ...] = ()
    """All names of the customer, the customer's own first; empty where there is but the one."""

    consents: dict[str, Literal["granted", "withdrawn"]] = {}
    """By purpose, what the customer has said; a purpose not said anything about is absent."""
    contacts: tuple[Contact, ...] = ()
    """Every contact inside the longest window of the contact policy, from which counters are counted."""
    interactions: tuple[Interaction, ...] = ()
    """Every interaction as far back as the contact policy looks."""
    arms: tuple[Arm, ...] = ()
    """The arms the customer was assigned to earlier, one per experiment."""
    pauses: tuple[str, ...] = ()
    """Actions stopped by hand."""
    usage: dict[str, Usage] = {}
    """By counter over all customers; one that nothing was counted under is absent."""
    signals: tuple[Signal, ...] = ()
    """Those that the decision asked for, as they were said last; one that nothing was said of is absent."""


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A treatment that could have filled a placement, the furthest stage it reached, and why it went no further.

    `reason` is empty for what took part in the arbitration. Money is in the policy's currency; `lever` in per cent;
    `beside` is the probability that a propensity model in the shadow gives, which decides nothing. `uplift` is the part
    of `p` that the action causes: where it is there, it counts in the place of `p`.
    """

    placement: str
    action: str
    treatment: str
    stage: Stage
    reason: str = ""
    logit: float | None = None
    residual_mean: float | None = None
    residual_var: float | None = None
    p: float | None = None
    value: float | None = None
    lever: float | None = None
    cost: float | None = None
    priority: float | None = None
    beside: float | None = None
    uplift: float | None = None

    @property
    def key(self) -> str:
        return candidate_key(self.action, self.treatment)


class SlotRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What filled a slot. `probability` is conditional on the slots before it and on what was available."""

    slot: int
    """Numbered through the whole decision, so that (decision_id, slot) names one contact."""
    action: str
    treatment: str
    group: str = ""
    """The action's group then; caps count by it."""
    probability: float
    reservation_id: str | None = None
    """None where the slot counts toward no cap."""
    expires_at: datetime | None = None
    takes: dict[str, int] = {}
    """By counter over all customers, what the contact takes of it."""

    @property
    def key(self) -> str:
        return candidate_key(self.action, self.treatment)


class PlacementRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a placement was filled. Keys are `action/treatment`, or `do_nothing`."""

    id: str
    channel: str
    pmf: dict[str, float]
    """Selection probability of every candidate in the draw for the first slot, were all available; sums to 1."""
    order: tuple[str, ...]
    """The full order: mandatory candidates by priority, then all others as drawn without replacement. A slot after
    others that took actions is drawn anew among what is left (`nextbest.slates`)."""
    ahead: int = 0
    """How many of the order are mandatory: they come before the draw, and have no mass in the pmf."""
    available: tuple[tuple[bool, ...], ...] = ()
    """Per slot, along `order`: who could be had when it was filled."""
    slots: tuple[SlotRecord, ...] = ()


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision was made from and everything it came to."""

    decision_id: str
    request_id: str
    occurred_at: datetime
    customer_id: str | None
    identifiers: tuple[Identifier, ...] = ()
    trigger: str = "request"
    mode: Mode = "live"
    shadow: str = ""
    """The shadow policy that decided, in mode `shadow`."""
    tier: Tier = "full"
    degraded: tuple[str, ...] = ()
    """Why the decision is less than it could have been; empty when it is not."""
    logged: bool = True
    learning: bool = True
    """Whether models may learn from it: a live decision of the full tier, outside the universal control."""
    policy_hash: str
    model_set_id: str | None = None
    catalogue_version: str = ""
    """Names what could be proposed: the actions and placements of the policy."""
    code_version: str = ""
    currency: str = ""
    """Of every amount in the record."""
    seed: int = 0
    arms: tuple[Arm, ...] = ()
    options: Options = Options()
    context: dict[str, Attribute] = {}
    features: dict[str, Attribute] = {}
    snapshot: Snapshot = Snapshot()
    stage_us: dict[str, float] = {}
    candidates: tuple[Candidate, ...] = ()
    placements: tuple[PlacementRecord, ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DecisionRecord)


def encode(record: DecisionRecord) -> bytes:
    """The record as JSON; floats are written so that they read back to the same bits."""
    return _encoder.encode(record)


def decode(data: bytes | str) -> DecisionRecord:
    """The record in `data`.

    Raises:
        msgspec.ValidationError: not a decision record; the message names the field.

    """
    return _decoder.decode(data)


def score_of(record: DecisionRecord, placement_id: str, slot: SlotRecord) -> Candidate | None:
    """The candidate that fills a slot of the placement; none for what was not considered."""
    action, treatment = slot.action, slot.treatment
    for each in record.candidates:
        if (
            each.action == action
            and each.placement == placement_id
            and (each.treatment == treatment or action == DO_NOTHING)
        ):
            return each
    return None


def contacts_of(record: DecisionRecord) -> tuple[Contact, ...]:
    """The contacts that caps count from this decision on."""
    return tuple(
        Contact(
            decision_id=record.decision_id,
            slot=slot.slot,
            action=slot.action,
            group=slot.group,
            channel=placement.channel,
            decided_at=record.occurred_at,
            expires_at=slot.expires_at,
            takes=slot.takes,
        )
        for placement in record.placements
        for slot in placement.slots
        if slot.expires_at is not None
    )


def rows(record: DecisionRecord) -> Iterator[dict[str, Any]]:
    """The record under the `decisions` contract: one row per slot, each with the whole record as JSON text.

    A decision for somebody nobody knows is filed under the identifier it came with, or stands by itself.
    """
    text = encode(record).decode()
    customer_id = record.customer_id or partition_key(record.identifiers, record.decision_id)
    for placement in record.placements:
        for slot in placement.slots:
            score = score_of(record, placement.id, slot)
            yield {
                "decision_id": record.decision_id,
                "placement": placement.id,
                "slot": slot.slot,
                "customer_id": customer_id,
                "request_id": record.request_id,
                "occurred_at": record.occurred_at,
                "channel": placement.channel,
                "action": slot.action,
                "treatment": slot.treatment,
                "probability": slot.probability,
                "p": score and score.p,
                "value": score and score.value,
                "cost": score and score.cost,
                "currency": record.currency or None,
                "priority": score and score.priority,
                "mode": record.mode,
                "tier": record.tier,
                "learning": record.learning,
                "policy_hash": record.policy_hash,
                "model_set_id": record.model_set_id,
                "record": text,
                "source": "live",
            }
