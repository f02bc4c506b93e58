"""The decision: what to propose to one customer at one moment, and how likely it was.

Belongs here: `decide` and `settle`, the two calls around State's `reserve`. Pure: clock, counters, scores and the seed
come in as arguments. Does not belong here: the parts (`screening`, `scoring`, `arbitration`), or the atomic step
between the calls (`nextbest.reservations`, run by State).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import isfinite

import msgspec
import numpy as np

import nextbest
from nextbest.arbitration import draw_order, selection_pmf, selection_probability
from nextbest.errors import NextbestError
from nextbest.hashing import uniforms
from nextbest.messages import Grant, Option, PlacementProposal, Profile, Proposal, Request, SlotGrant
from nextbest.policy import Placement, Policy, Treatment
from nextbest.records import DO_NOTHING, Attribute, Candidate, DecisionRecord, PlacementRecord, SlotRecord, Snapshot
from nextbest.scoring import PROPENSITY, Models, ScoringError, logit, priority, propensities
from nextbest.screening import Screening, Verdict

_Screened = list[tuple[Placement, list[tuple[Treatment, Verdict]]]]
_Pool = list[tuple[Treatment | None, Candidate]]
"""What could fill a placement and how far each came; doing nothing has no treatment of the policy's."""


class UnknownPlacementError(NextbestError):
    """A request names a placement the policy has not."""


class _Fallback(Exception):  # noqa: N818  it is no error but the other way a decision can go
    """Why nothing is considered: every placement shows its fallback."""


def decide(  # noqa: PLR0917  six things a decision follows from, in the order it uses them
    request: Request,
    profile: Profile,
    policy: Policy,
    models: Models | None,
    snapshot: Snapshot,
    now: datetime,
    *,
    seed: int = 0,
    lap: Callable[[str], None] = lambda _stage: None,
) -> Proposal:
    """Propose, for every placement asked for, all candidates in an order drawn from the policy's pmf.

    Args:
        request: Who asks for what.
        profile: The customer's features, or why there are none.
        policy: What people wrote.
        models: The model set in use; without one each placement proposes its fallback.
        snapshot: What State knows of the customer.
        now: The moment of the decision.
        seed: Part of every draw, beside policy and decision id.
        lap: Called at the end of each stage with its name, so that a caller with a clock can time it.

    Raises:
        UnknownPlacementError: the policy has no such placement.

    """
    placements = _placements(request, policy)
    features = _present(profile.features)
    degraded = ""
    pools: list[_Pool] = [[] for _ in placements]
    try:
        _refuse_unready(request, profile, policy, models)
        screening = Screening(policy, request, features, snapshot, now)
        screened = [(p, [(treatment, screening.verdict(treatment)) for treatment in p.treatments]) for p in placements]
        lap("screening")
        scores = _scores(screened, features, request, policy, models)
        pools = [[(t, _candidate(p, t, verdict, scores, policy)) for t, verdict in found] for p, found in screened]
        lap("scoring")
    except _Fallback as fallback:
        degraded = str(fallback)
    pools = [[_nothing(placement, policy), *pool] for placement, pool in zip(placements, pools, strict=True)]
    record = _record(
        request, policy, models, degraded, now=now, seed=seed, features=features, snapshot=snapshot, pools=pools
    )
    proposal = Proposal(
        record=record,
        placements=tuple(_propose(p, pool, record, policy) for p, pool in zip(placements, pools, strict=True)),
        dedup=request.options.dedup,
        reserves=request.mode in ("live", "batch") and request.options.count_toward_caps,
        ttl_seconds=policy.reservation_seconds,
    )
    lap("arbitration")
    return proposal


def settle(proposal: Proposal, grant: Grant, stage_us: Mapping[str, float] | None = None) -> DecisionRecord:
    """The record of the decision a grant makes of a proposal, with the probability of what fills each slot.

    Args:
        proposal: From `decide`.
        grant: From `State.reserve`, for this proposal.
        stage_us: Microseconds per stage, as the caller measured them.

    """
    filled = tuple(_fill(placement, grant.placements[placement.id]) for placement in proposal.placements)
    return msgspec.structs.replace(proposal.record, placements=filled, stage_us=dict(stage_us or {}))


def _placements(request: Request, policy: Policy) -> list[Placement]:
    unknown = [name for name in request.placements if name not in policy.placements]
    if unknown:
        raise UnknownPlacementError(f"unknown placement {unknown[0]}: there is {', '.join(sorted(policy.placements))}")
    return [policy.placements[name] for name in dict.fromkeys(request.placements)]


def _present(features: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """The features there are: null and what JSON cannot write (NaN, infinity) count as missing."""
    return {name: v for name, v in features.items() if v is not None and (isinstance(v, str) or isfinite(v))}


def _refuse_unready(request: Request, profile: Profile, policy: Policy, models: Models | None) -> None:
    if profile.unavailable:
        raise _Fallback(profile.unavailable)
    if request.customer_id is None:
        raise _Fallback("unknown_customer")
    if policy.arbitration.use_propensity and (models is None or PROPENSITY not in models.model_set.models):
        raise _Fallback("no_model_set")


def _scores(
    screened: _Screened,
    features: Mapping[str, Attribute],
    request: Request,
    policy: Policy,
    models: Models | None,
) -> dict[str, float]:
    """Propensity by action: each that passed in some placement is scored once for all of them."""
    if models is None or not policy.arbitration.use_propensity:
        return {}
    passed = {t.action.id: t.action for _, found in screened for t, verdict in found if verdict is None}
    try:
        return propensities(models, tuple(passed.values()), features, request.context)
    except ScoringError as error:
        raise _Fallback("scoring_failed") from error


def _candidate(
    placement: Placement, treatment: Treatment, verdict: Verdict, scores: Mapping[str, float], policy: Policy
) -> Candidate:
    action = treatment.action
    if verdict is not None:
        stage, reason = verdict
        return Candidate(placement=placement.id, action=action.id, treatment=treatment.id, stage=stage, reason=reason)
    p = scores.get(action.id)
    return Candidate(
        placement=placement.id,
        action=action.id,
        treatment=treatment.id,
        stage="arbitration",
        logit=None if p is None else logit(p),
        p=p,
        value=action.value,
        lever=action.lever,
        cost=treatment.cost,
        priority=priority(treatment, 1.0 if p is None else p, policy.arbitration),
    )


def _nothing(placement: Placement, policy: Policy) -> tuple[None, Candidate]:
    """Doing nothing: the placement shows its fallback."""
    return None, Candidate(
        placement=placement.id,
        action=DO_NOTHING,
        treatment=placement.fallback,
        stage="arbitration",
        priority=policy.arbitration.do_nothing_threshold,
    )


def _propose(placement: Placement, pool: _Pool, record: DecisionRecord, policy: Policy) -> PlacementProposal:
    """The candidates nothing stopped, in the order drawn.

    A treatment keeps its number in the hash whoever else is stopped, so that a draw changes only by who takes part.
    """
    formula = policy.arbitration
    racing = [number for number, (_, candidate) in enumerate(pool) if not candidate.reason]
    priorities = np.array([pool[number][1].priority for number in racing])
    pmf = selection_pmf(priorities, formula.strategy, formula.epsilon)
    draws = uniforms(len(pool), "order", formula.salt, record.seed, policy.hash, record.decision_id, placement.id)
    order = draw_order(pmf, priorities, draws[racing])
    limit = record.options.limit
    return PlacementProposal(
        id=placement.id,
        channel=placement.channel,
        slots=placement.slots if limit is None else min(limit, placement.slots),
        order=tuple(_option(placement, pool[racing[i]][0], pmf[i].item()) for i in order),
    )


def _option(placement: Placement, treatment: Treatment | None, probability: float) -> Option:
    if treatment is None:
        return Option(
            key=DO_NOTHING,
            action=DO_NOTHING,
            treatment=placement.fallback,
            group=DO_NOTHING,
            probability=probability,
        )
    return Option(
        key=treatment.key,
        action=treatment.action.id,
        treatment=treatment.id,
        group=treatment.action.group,
        probability=probability,
        caps=treatment.caps,
    )


def _record(
    request: Request,
    policy: Policy,
    models: Models | None,
    degraded: str,
    *,
    now: datetime,
    seed: int,
    features: dict[str, Attribute],
    snapshot: Snapshot,
    pools: Sequence[_Pool],
) -> DecisionRecord:
    """What the decision is made from and what was considered; what fills the placements comes with the grant."""
    return DecisionRecord(
        decision_id=request.decision_id,
        request_id=request.request_id,
        occurred_at=now,
        customer_id=request.customer_id,
        identifiers=request.identifiers,
        trigger=request.trigger,
        mode=request.mode,
        tier="fallback" if degraded else "full",
        degraded=(degraded,) if degraded else (),
        learning=request.mode == "live" and not degraded,
        policy_hash=policy.hash,
        model_set_id=models.model_set.id if models else None,
        catalogue_version=policy.catalogue_version,
        code_version=nextbest.__version__,
        currency=policy.currency,
        seed=seed,
        options=request.options,
        context=request.context,
        features=features,
        snapshot=snapshot,
        candidates=tuple(candidate for pool in pools for _, candidate in pool),
    )


def _fill(placement: PlacementProposal, grants: Sequence[SlotGrant]) -> PlacementRecord:
    pmf = {option.key: option.probability for option in placement.order}
    options = {option.key: option for option in placement.order}
    probabilities = list(pmf.values())
    keys = list(pmf)
    return PlacementRecord(
        id=placement.id,
        channel=placement.channel,
        pmf=pmf,
        order=tuple(keys),
        available=tuple(grant.available for grant in grants),
        slots=tuple(
            SlotRecord(
                slot=grant.slot,
                action=options[grant.key].action,
                treatment=options[grant.key].treatment,
                group=options[grant.key].group,
                probability=selection_probability(probabilities, grant.available, keys.index(grant.key)),
                reservation_id=grant.reservation_id,
                expires_at=grant.expires_at,
            )
            for grant in grants
        ),
    )
