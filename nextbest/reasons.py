"""Reasons: why this is what fills a slot, in a few words for people.

Belongs here: reading a record for the one thing that decided. Does not belong here: every candidate's fate (that is in
the record already), or showing it (answers, tables).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from nextbest.records import DO_NOTHING, DecisionRecord, PlacementRecord, SlotRecord, score_of

Kind = Literal["degraded", "mandatory", "explored", "best", "stopped", "taken", "worthless"]


class Reason(NamedTuple):
    """The kind of reason, and the reason in words."""

    kind: Kind
    text: str


def reason(record: DecisionRecord, placement: PlacementRecord, slot: SlotRecord) -> Reason:
    """Why `slot` of `placement` holds what it holds."""
    if record.tier == "fallback":
        return Reason("degraded", ", ".join(record.degraded))
    mask = placement.available[placement.slots.index(slot)]
    rivals = [key for key, free in zip(placement.order, mask, strict=True) if free]
    if placement.order.index(slot.key) < placement.ahead:
        return Reason("mandatory", "mandatory: before all that is drawn")
    if not _above(record, placement, slot).isdisjoint(rivals):
        return Reason("explored", f"explored: drawn with probability {slot.probability:.3f}")
    if slot.action != DO_NOTHING:
        return Reason("best", f"highest priority of {len(rivals)}")
    return _why_nothing(record, placement, rivals)


def _above(record: DecisionRecord, placement: PlacementRecord, slot: SlotRecord) -> set[str]:
    """The keys of the placement's candidates that earn more than what fills the slot."""
    score = score_of(record, placement.id, slot)
    own = (score and score.priority) or 0.0
    above = [each for each in record.candidates if (each.priority or 0.0) > own]
    return {each.key for each in above if each.placement == placement.id}


def _why_nothing(record: DecisionRecord, placement: PlacementRecord, rivals: Sequence[str]) -> Reason:
    """Why doing nothing is the best that is left."""
    if len(rivals) > 1:
        return Reason("worthless", "nothing earns more than it costs")
    taken = {slot.action for each in record.placements for slot in each.slots}
    keys = {each.key for each in record.candidates if each.placement == placement.id and each.action in taken}
    if set(placement.order) - keys:
        return Reason("taken", "no other action is left: a cap is full")
    return _stopped(record, placement)


def _stopped(record: DecisionRecord, placement: PlacementRecord) -> Reason:
    """What stopped most actions, where it stopped all of them."""
    stopped = Counter(each.reason for each in record.candidates if each.placement == placement.id and each.reason)
    if not stopped:
        return Reason("stopped", "the placement has no action")
    most, count = stopped.most_common(1)[0]
    return Reason("stopped", f"{most} ({count} action{'' if count == 1 else 's'})")
