"""Decisions, impressions and answers as the log has them, for tests of what is learned from them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from nextbest import records
from nextbest.envelope import Envelope
from nextbest.records import Candidate, DecisionRecord, PlacementRecord, SlotRecord

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ANSWERS = ("click", "conversion", "redemption", "dismissal", "unsubscribe")


def decided(name: str, at: datetime = NOW, actions: Sequence[str] = ("apples",), **fields: Any) -> Envelope:
    """A decision for c1, or whom `fields` say, with a slot per action."""
    slots = tuple(
        SlotRecord(slot=number, action=action, treatment="home", probability=1.0)
        for number, action in enumerate(actions)
    )
    made: dict[str, Any] = {
        "decision_id": name,
        "request_id": name,
        "occurred_at": at,
        "customer_id": "c1",
        "policy_hash": "p",
        "features": {"spend_91d": 25.0},
        "candidates": tuple(Candidate("home", a, "home", "arbitration", logit=0.0, p=0.5) for a in {*actions}),
        "placements": (PlacementRecord(id="home", channel="web", pmf={}, order=(), slots=slots),),
    }
    record = DecisionRecord(**(made | fields))
    text = records.encode(record).decode()
    return entry(f"decisions/{name}", "decision", at, {"slot": 0, "record": text}, decision_id=name, slot=0)


def entry(event_id: str, kind: str, at: datetime, properties: dict[str, Any], **fields: Any) -> Envelope:
    return Envelope(
        event_id=event_id,
        type=kind,
        contract="events",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c1",
        properties=properties,
        **fields,
    )


def told(kind: str, decision_id: str | None, at: datetime, customer: str = "c1", **fields: Any) -> Envelope:
    """An impression or an answer."""
    properties = {"customer_id": customer, "type": kind}
    of = kind if kind == "impression" else "event"
    return entry(f"{kind}/{decision_id}/{at}/{fields}", of, at, properties, decision_id=decision_id, **fields)
