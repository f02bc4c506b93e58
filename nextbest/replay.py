"""Replay: deciding again from a record, to show that the record is complete and the engine the same.

Belongs here: turning a record back into what the engine was given. Does not belong here: finding the record, or the
policy and the model set it names (adapters).
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from nextbest.decision import decide, settle
from nextbest.errors import NextbestError
from nextbest.messages import Grant, Profile, Request, SlotGrant
from nextbest.policy import Action, Policy
from nextbest.records import DecisionRecord
from nextbest.residual import Vector
from nextbest.situation import Models


class ReplayError(NextbestError):
    """A record made with another policy or model set than the ones at hand."""


def replay(record: DecisionRecord, policy: Policy, models: Models | None) -> DecisionRecord:
    """Decide again from a record; the same policy and models give the same record, bit for bit.

    What was measured, learned or happened around the decision (`stage_us`, `logged`, the residuals, what State granted)
    is taken over.

    Raises:
        ReplayError: policy or models are not those the record names.

    """
    model_set_id = models.model_set.id if models else None
    if (policy.hash, model_set_id) != (record.policy_hash, record.model_set_id):
        raise ReplayError(
            f"decision {record.decision_id} was made with policy {record.policy_hash} and model set "
            f"{record.model_set_id}, not with {policy.hash} and {model_set_id}"
        )
    proposal = decide(
        request_of(record),
        Profile(features=dict(record.features), unavailable=record.degraded[0] if record.tier == "fallback" else ""),
        policy,
        models,
        record.snapshot,
        record.occurred_at,
        seed=record.seed,
        residuals=RecordedResiduals.of_record(record),
        tier="reduced" if record.tier == "reduced" else "full",
    )
    again = settle(proposal, _granted(record), record.stage_us)
    return msgspec.structs.replace(again, logged=record.logged)


def request_of(record: DecisionRecord) -> Request:
    """The request that a record answers."""
    return Request(
        decision_id=record.decision_id,
        request_id=record.request_id,
        customer_id=record.customer_id,
        placements=tuple(placement.id for placement in record.placements),
        identifiers=record.identifiers,
        context=record.context,
        options=record.options,
        trigger=record.trigger,
        mode=record.mode,
        shadow=record.shadow,
    )


class RecordedResiduals:
    """The corrections that a record says were made."""

    def __init__(self, corrections: Mapping[str, tuple[float, float]]) -> None:
        self._corrections = corrections

    @classmethod
    def of_record(cls, record: DecisionRecord) -> "RecordedResiduals | None":
        """Those of the record; none where it was decided without."""
        corrections = {
            each.action: (each.residual_mean, each.residual_var)
            for each in record.candidates
            if each.residual_mean is not None and each.residual_var is not None
        }
        return cls(corrections) if corrections else None

    def of(self, actions: Sequence[Action], _x: Vector) -> tuple[Vector, Vector]:
        """As recorded; an action that was not scored then is not corrected."""
        found = np.array([self._corrections.get(action.id, (0.0, 0.0)) for action in actions]).reshape(-1, 2)
        return found[:, 0], found[:, 1]


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
                    takes=slot.takes,
                )
                for slot, available in zip(placement.slots, placement.available, strict=True)
            )
            for placement in record.placements
        }
    )
