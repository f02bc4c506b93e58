"""Counterfactuals: the situation of a recorded decision, and copies of it in which one thing is otherwise.

Belongs here: the copies, and deciding in them. Does not belong here: which of them would help whom (`nextbest.stops`,
`nextbest.why_not`). Nothing here changes what it is given; a changed policy keeps its hash, so that its draws stay the
same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec
import numpy as np

from nextbest.arbitration import Vector
from nextbest.decision import decide
from nextbest.experiments import assign, in_force
from nextbest.messages import Bound, Cap, Caps, Limit, Profile, Proposal
from nextbest.policy import Action, Placement, Policy, Treatment
from nextbest.records import Attribute, DecisionRecord, Snapshot
from nextbest.replay import RecordedResiduals, models_of, request_of
from nextbest.situation import Models, Residuals, Situation

Kind = Literal[
    "consent",
    "pause",
    "experiment",
    "rollout",
    "start",
    "end",
    "stock",
    "feature",
    "rule",
    "sequence",
    "exclusion",
    "reach",
    "cap",
    "limit",
    "dedup",
    "suppression",
    "quiet_hours",
    "class",
    "lever",
    "propensity",
    "uplift",
    "value",
    "cost",
    "threshold",
]


class Change(msgspec.Struct, frozen=True):
    """One thing that is otherwise; the text says so in plain words, with other ways to the same end."""

    kind: Kind
    subject: str
    """What changes: the id of a purpose, action, rule, experiment, or counter, or the name of a feature."""
    before: Attribute | None
    after: Attribute | None
    text: str


def situation_of(record: DecisionRecord, policy: Policy, models: Models | None) -> Situation:
    """What the decision was made in, under the policy that was in force for the customer, freed of its variants."""
    deciding = in_force(policy, record.arms, record.shadow)
    experiments = replace(deciding.experiments, challengers=(), shadows=())
    return Situation(
        request=msgspec.structs.replace(request_of(record), shadow=""),
        features=record.features,
        policy=replace(deciding, experiments=experiments),
        models=models_of(record, models),
        residuals=RecordedResiduals.of_record(record),
        snapshot=record.snapshot,
        arms=assign(experiments, record.customer_id, record.snapshot.arms) if record.customer_id else (),
        now=record.occurred_at,
        seed=record.seed,
        tier="reduced" if record.tier == "reduced" else "full",
    )


def decide_in(situation: Situation) -> Proposal:
    """What the engine proposes in a situation."""
    return decide(
        situation.request,
        Profile(features=dict(situation.features)),
        situation.policy,
        situation.models,
        situation.snapshot,
        situation.now,
        seed=situation.seed,
        residuals=situation.residuals,
        tier=situation.tier,
    )


def with_feature(situation: Situation, name: str, value: Attribute) -> Situation:
    """The customer's feature, or the request's context, is another one."""
    if situation.policy.catalogue[name].origin == "customer":
        return replace(situation, features={**situation.features, name: value})
    context = {**situation.request.context, name: value}
    return replace(situation, request=msgspec.structs.replace(situation.request, context=context))


def with_snapshot(situation: Situation, **fields: Any) -> Situation:
    """State knew something else of the customer."""
    snapshot: Snapshot = msgspec.structs.replace(situation.snapshot, **fields)
    return replace(situation, snapshot=snapshot)


def with_policy(situation: Situation, **fields: Any) -> Situation:
    """A part of the policy is another one; who is on which side of an experiment follows."""
    policy = replace(situation.policy, **fields)
    customer_id = situation.request.customer_id
    arms = assign(policy.experiments, customer_id, situation.snapshot.arms) if customer_id else ()
    return replace(situation, policy=policy, arms=arms)


def with_arbitration(situation: Situation, **fields: Any) -> Situation:
    """Arbitration has other numbers."""
    return with_policy(situation, arbitration=replace(situation.policy.arbitration, **fields))


def with_experiments(situation: Situation, **fields: Any) -> Situation:
    """Experiments are others."""
    return with_policy(situation, experiments=replace(situation.policy.experiments, **fields))


def with_residuals(situation: Situation, residuals: Residuals) -> Situation:
    """Models are corrected otherwise."""
    return replace(situation, residuals=residuals)


def with_action(situation: Situation, action_id: str, **fields: Any) -> Situation:
    """An action has other fields, wherever it can be proposed."""
    action = replace(situation.policy.actions[action_id], **fields)

    def changed(treatment: Treatment) -> Treatment:
        return replace(treatment, action=action) if treatment.action.id == action_id else treatment

    placements = _placements(situation.policy, lambda placement: _with_treatments(placement, changed))
    return with_policy(situation, actions={**situation.policy.actions, action_id: action}, placements=placements)


def with_limit(situation: Situation, name: str, most: int) -> Situation:
    """A counter over all customers allows another amount."""

    def limit(each: Limit) -> Limit:
        return msgspec.structs.replace(each, most=most) if each.name == name else each

    def changed(treatment: Treatment) -> Treatment:
        option = treatment.option
        limits = tuple([limit(each) for each in option.limits])
        return replace(treatment, option=msgspec.structs.replace(option, limits=limits))

    return with_policy(
        situation, placements=_placements(situation.policy, lambda placement: _with_treatments(placement, changed))
    )


def with_cap_limit(situation: Situation, rule: str, limit: int) -> Situation:
    """A contact rule allows another number, to every member it counts."""

    def changed(bound: Bound) -> Bound:
        cap = bound.cap
        return Bound(msgspec.structs.replace(cap, limit=limit), bound.keys) if cap.rule == rule else bound

    return _with_caps(situation, changed)


def without_cap(situation: Situation, cap: Cap, keys: frozenset[str]) -> Situation:
    """A cap does not bind the treatments with these keys."""

    def changed(bound: Bound) -> Bound:
        return Bound(cap, bound.keys - keys) if bound.cap == cap else bound

    return _with_caps(situation, changed)


def without_quiet_hours(situation: Situation, channel: str) -> Situation:
    """A channel has no quiet hours."""
    return with_policy(
        situation,
        placements=_placements(situation.policy, lambda p: replace(p, quiet_hours=None) if p.channel == channel else p),
    )


class ShiftedResiduals:
    """Corrections in which one action's is another one."""

    def __init__(self, residuals: Residuals | None, action: str, mean: float) -> None:
        self._residuals = residuals or RecordedResiduals({})
        self._action = action
        self._mean = mean

    def of(self, actions: Sequence[Action], x: Vector) -> tuple[Vector, Vector]:
        mean, variance = self._residuals.of(actions, x)
        is_shifted = np.array([action.id == self._action for action in actions], dtype=bool)
        return np.where(is_shifted, self._mean, mean), variance


def _placements(policy: Policy, changed: Callable[[Placement], Placement]) -> dict[str, Placement]:
    return {name: changed(placement) for name, placement in policy.placements.items()}


def _with_treatments(placement: Placement, changed: Callable[[Treatment], Treatment]) -> Placement:
    return replace(placement, treatments=tuple([changed(treatment) for treatment in placement.treatments]))


def _with_caps(situation: Situation, changed: Callable[[Bound], Bound]) -> Situation:
    def all_of(caps: Caps) -> Caps:
        return {member: tuple([changed(bound) for bound in bounds]) for member, bounds in caps.items()}

    def placement(each: Placement) -> Placement:
        return replace(each, caps=all_of(each.caps), event_caps=all_of(each.event_caps))

    return with_policy(situation, placements=_placements(situation.policy, placement))
