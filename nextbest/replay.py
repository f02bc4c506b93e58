"""Replay: deciding again from a record, to show that the record is complete and the engine the same.

Belongs here: turning a record back into what the engine was given, and where two records differ. Does not belong here:
finding the record, or the policy and the model set it names (adapters).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from nextbest.arbitration import Vector
from nextbest.decision import LIVE_ONLY, decide, settle
from nextbest.errors import NextbestError
from nextbest.messages import Grant, Profile, Request, SlotGrant
from nextbest.policy import Action, Policy
from nextbest.records import DecisionRecord, encode
from nextbest.situation import Models
from nextbest.uplift import UPLIFT_FAILED, WithoutUplift


class ReplayError(NextbestError):
    """A record made with another policy or model set than the ones at hand."""


def replay(record: DecisionRecord, policy: Policy, models: Models | None) -> DecisionRecord:
    """Decide again from a record; the same policy and models give the same record, bit for bit.

    What was measured, learned or happened around the decision (`stage_us`, `logged`, the residuals, what State granted)
    is taken over.

    Raises:
        ReplayError: policy or models are not those the record names.

    """
    refuse_others(record, policy, models)
    profile = Profile(
        features=dict(record.features),
        unavailable=record.degraded[0] if record.tier == "fallback" else "",
        is_live_only=LIVE_ONLY in record.degraded,
    )
    proposal = decide(
        request_of(record),
        profile,
        policy,
        models_of(record, models),
        record.snapshot,
        record.occurred_at,
        seed=record.seed,
        residuals=RecordedResiduals.of_record(record),
        tier="reduced" if record.tier == "reduced" else "full",
    )
    again = settle(proposal, _granted(record), record.stage_us)
    return msgspec.structs.replace(again, logged=record.logged)


def refuse_others(record: DecisionRecord, policy: Policy, models: Models | None) -> None:
    """Let pass the policy and the models that a record was made with.

    Raises:
        ReplayError: they are others.

    """
    model_set_id = models.model_set.id if models else None
    if (policy.hash, model_set_id) != (record.policy_hash, record.model_set_id):
        raise ReplayError(
            f"decision {record.decision_id} was made with policy {record.policy_hash} and model set "
            f"{record.model_set_id}, not with {policy.hash} and {model_set_id}"
        )


class Difference(NamedTuple):
    """A place in a record where another one says something else; None where one of them says nothing."""

    place: str
    recorded: Any
    again: Any


def differences(record: DecisionRecord, again: DecisionRecord) -> list[Difference]:
    """Where two records differ, bit for bit, in the order of their fields.

    The version of the code is not compared: it says who decided, not what.
    """
    same_code = msgspec.structs.replace(again, code_version=record.code_version)
    return list(_differences("", *(msgspec.json.decode(encode(each)) for each in (record, same_code))))


def _differences(place: str, recorded: Any, again: Any) -> Iterator[Difference]:
    if isinstance(recorded, dict) and isinstance(again, dict):
        for name in dict.fromkeys([*recorded, *again]):
            inner = f"{place}.{name}" if place else name
            yield from _differences(inner, recorded.get(name), again.get(name))
    elif isinstance(recorded, list) and isinstance(again, list):
        for number in range(max(len(recorded), len(again))):
            pair = [items[number] if number < len(items) else None for items in (recorded, again)]
            yield from _differences(f"{place}[{_name(pair, number)}]", *pair)
    elif msgspec.json.encode(recorded) != msgspec.json.encode(again):  # 1 is not 1.0, and -0.0 not 0.0
        yield Difference(place, recorded, again)


def _name(items: Sequence[Any], number: int) -> str:
    """What people call an item of a list: the ids it has, else its number."""
    for item in items:
        if isinstance(item, dict):
            ids = [item[key] for key in ("id", "experiment", "placement", "action", "treatment") if item.get(key)]
            if ids:
                return "/".join(ids)
    return str(number)


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


def models_of(record: DecisionRecord, models: Models | None) -> Models | None:
    """The models as they answered then."""
    return WithoutUplift(models) if models and UPLIFT_FAILED in record.degraded else models


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
