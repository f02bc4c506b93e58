"""Replay: deciding again from a record, to show that the record is complete and the engine the same.

Belongs here: turning a record back into what the engine was given. Does not belong here: finding the record, or the
policy and the model set it names (adapters).
"""

import msgspec

from nextbest.decision import decide, settle
from nextbest.errors import NextbestError
from nextbest.messages import Grant, Profile, Request, SlotGrant
from nextbest.policy import Policy
from nextbest.records import DecisionRecord
from nextbest.scoring import Models


class ReplayError(NextbestError):
    """A record made with another policy or model set than the ones at hand."""


def replay(record: DecisionRecord, policy: Policy, models: Models | None) -> DecisionRecord:
    """Decide again from a record; the same policy and models give the same record, bit for bit.

    What was measured or happened around the decision (`stage_us`, `logged`, what State granted) is taken over.

    Raises:
        ReplayError: policy or models are not those the record names.

    """
    model_set_id = models.model_set.id if models else None
    if (policy.hash, model_set_id) != (record.policy_hash, record.model_set_id):
        raise ReplayError(
            f"decision {record.decision_id} was made with policy {record.policy_hash} and model set "
            f"{record.model_set_id}, not with {policy.hash} and {model_set_id}"
        )
    request = Request(
        decision_id=record.decision_id,
        request_id=record.request_id,
        customer_id=record.customer_id,
        placements=tuple(placement.id for placement in record.placements),
        identifiers=record.identifiers,
        context=record.context,
        options=record.options,
        trigger=record.trigger,
        mode=record.mode,
    )
    profile = Profile(features=dict(record.features), unavailable=record.degraded[0] if record.degraded else "")
    proposal = decide(request, profile, policy, models, record.snapshot, record.occurred_at, seed=record.seed)
    again = settle(proposal, _granted(record), record.stage_us)
    return msgspec.structs.replace(again, logged=record.logged)


def _granted(record: DecisionRecord) -> Grant:
    return Grant(
        {
            placement.id: tuple(
                SlotGrant(
                    slot=slot.slot,
                    key=slot.key,
                    available=available,
                    reservation_id=slot.reservation_id,
                    expires_at=slot.expires_at,
                )
                for slot, available in zip(placement.slots, placement.available, strict=True)
            )
            for placement in record.placements
        }
    )
