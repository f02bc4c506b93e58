"""What a channel gets of a decision: the record, turned into an answer.

Belongs here: choosing from the record, and the content to show, which the policy holds. Does not belong here: deciding.
"""

from collections.abc import Collection

from nextbest.content import content_of
from nextbest.policy import Policy
from nextbest.reasons import reason
from nextbest.records import Candidate, DecisionRecord, PlacementRecord, SlotRecord, score_of
from nextbest.wire import ActionMetadata, DecisionResponse, Part, PlacementAnswer, Reason, SlotAnswer

_UNSCORED = Candidate(placement="", action="", treatment="", stage="arbitration")


def answer(record: DecisionRecord, policy: Policy, include: Collection[Part]) -> DecisionResponse:
    """The answer to a request that `record` decided, with the parts in `include`."""
    return DecisionResponse(
        decision_id=record.decision_id,
        request_id=record.request_id,
        customer_id=record.customer_id,
        occurred_at=record.occurred_at,
        mode=record.mode,
        tier=record.tier,
        degraded=record.degraded,
        logged=record.logged,
        policy_hash=record.policy_hash,
        model_set_id=record.model_set_id,
        placements=tuple(
            PlacementAnswer(
                id=placement.id,
                channel=placement.channel,
                slots=tuple(_slot(record, placement, slot, policy, include) for slot in placement.slots),
            )
            for placement in record.placements
        ),
        stage_us=record.stage_us,
        explanation=_explanation(record) if "explanation" in include else None,
    )


def _slot(
    record: DecisionRecord, placement: PlacementRecord, slot: SlotRecord, policy: Policy, include: Collection[Part]
) -> SlotAnswer:
    score = score_of(record, placement.id, slot) or _UNSCORED
    return SlotAnswer(
        slot=slot.slot,
        action=slot.action,
        treatment=slot.treatment,
        reason=reason(record, placement, slot).text,
        probability=slot.probability,
        p=score.p,
        value=score.value,
        cost=score.cost,
        priority=score.priority,
        expires_at=slot.expires_at,
        content=content_of(policy, record, placement, slot) if "content" in include else {},
        metadata=_metadata(policy, slot.action) if "metadata" in include else None,
    )


def _metadata(policy: Policy, action_id: str) -> ActionMetadata | None:
    """What the policy says of an action; nothing of `do_nothing`, or of one that it has no more."""
    action = policy.actions.get(action_id)
    if action is None:
        return None
    return ActionMetadata(
        name=action.name,
        group=action.group,
        objective=action.objective,
        action_class=action.action_class,
        attributes=dict(action.words),
    )


def _explanation(record: DecisionRecord) -> tuple[Reason, ...]:
    """Every candidate, those that took part first and by priority."""
    masses = {(placement.id, key): mass for placement in record.placements for key, mass in placement.pmf.items()}
    ordered = sorted(record.candidates, key=lambda each: (each.reason != "", -(each.priority or 0.0)))
    return tuple(
        Reason(
            placement=each.placement,
            action=each.action,
            treatment=each.treatment,
            stage=each.stage,
            reason=each.reason,
            p=each.p,
            uplift=each.uplift,
            value=each.value,
            cost=each.cost,
            priority=each.priority,
            selection_probability=masses.get((each.placement, each.key)),
        )
        for each in ordered
    )
