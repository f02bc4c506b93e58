"""The decision: what to propose to one customer at one moment, and how likely it was.

Belongs here: `decide` and `settle`, the two calls around State's `reserve`. Pure: clock, counters, scores and the seed
come in as arguments. Does not belong here: the parts (`screening`, `scoring`, `contest`), or the atomic step between
the calls (`nextbest.reservations`, run by State).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain

import cel
import msgspec
import numpy as np

import nextbest
from nextbest.arbitration import selection_probability
from nextbest.contest import Contest, contest, no_contest, passed_by
from nextbest.errors import NextbestError
from nextbest.experiments import assign, in_control, in_force
from nextbest.messages import Grant, PlacementProposal, Profile, Proposal, Request, SlotGrant
from nextbest.policy import Placement, Policy
from nextbest.records import DO_NOTHING, Attribute, DecisionRecord, PlacementRecord, SlotRecord, Snapshot, Tier
from nextbest.scoring import Rows, Scores, depends_on_channel, score
from nextbest.screening import Screening
from nextbest.situation import Models, Residuals, ScoringError, Situation, has_propensity
from nextbest.slates import slot_draw
from nextbest.uplift import UPLIFT_FAILED, with_uplift

LIVE_ONLY = "live_features_only"
"""Why a decision is less than it could have been: all that is known of the customer is what they did just now."""


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
    residuals: Residuals | None = None,
    tier: Tier = "full",
    lap: Callable[[str], None] = lambda _stage: None,
) -> Proposal:
    """Propose, for every placement asked for, all candidates in an order drawn from the policy's pmf.

    Args:
        request: Who asks for what.
        profile: The customer's features, or why there are none.
        policy: What people wrote; a challenger or a shadow of it may be in force for the customer.
        models: The model set in use; without one each placement proposes its fallback.
        snapshot: What State knows of the customer.
        now: The moment of the decision.
        seed: Part of every draw, beside policy and decision id.
        residuals: What answers say that the models do not know; without them models are taken at their word.
        tier: `reduced` asks no model: each action has the propensity that the policy starts it with.
        lap: Called at the end of each stage with its name, so that a caller with a clock can time it.

    Raises:
        UnknownPlacementError: the policy has no such placement.

    """
    arms = assign(policy.experiments, request.customer_id, snapshot.arms) if request.customer_id else ()
    situation = Situation(
        request=request,
        features=_present(profile.features),
        policy=in_force(policy, arms, request.shadow),
        models=models,
        residuals=residuals,
        snapshot=snapshot,
        arms=arms,
        now=now,
        seed=seed,
        tier=tier,
    )
    placements = _placements(request, situation.policy)
    degraded = (("deadline",) if tier == "reduced" else ()) + ((LIVE_ONLY,) if profile.is_live_only else ())
    try:
        _refuse_unready(situation, profile)
        contests, failed = _contests(placements, situation, lap)
        degraded = (*failed, *degraded)
    except _Fallback as fallback:
        tier, degraded = "fallback", (str(fallback),)
        contests = [no_contest(placement, situation) for placement in placements]
    proposal = Proposal(
        record=_record(situation, policy, contests, tier, degraded),
        placements=tuple([each.proposal for each in contests]),
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
    filled, taken = [], set[str]()
    for placement in proposal.placements:
        if not proposal.dedup:
            taken = set()
        filled.append(_fill(placement, grant.placements[placement.id], taken))
    return msgspec.structs.replace(proposal.record, placements=tuple(filled), stage_us=dict(stage_us or {}))


def _placements(request: Request, policy: Policy) -> list[Placement]:
    unknown = [name for name in request.placements if name not in policy.placements]
    if unknown:
        raise UnknownPlacementError(f"unknown placement {unknown[0]}: there is {', '.join(sorted(policy.placements))}")
    return [policy.placements[name] for name in dict.fromkeys(request.placements)]


def _present(features: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """The features there are: null and what JSON cannot write (NaN, infinity) count as missing."""
    # Of a finite number nothing is left when it is taken from itself: where all are numbers, one test for all of them.
    with suppress(TypeError):
        total = sum(features.values())  # type: ignore[arg-type]  # what is no number raises
        if total - total == 0:
            return dict(features)  # type: ignore[arg-type]
    return {name: v for name, v in features.items() if v is not None and (isinstance(v, str) or v - v == 0)}


def _refuse_unready(situation: Situation, profile: Profile) -> None:
    if profile.unavailable:
        raise _Fallback(profile.unavailable)
    if situation.request.customer_id is None:
        raise _Fallback("unknown_customer")
    asks_models = situation.tier == "full" and situation.policy.arbitration.uses_propensity
    if asks_models and not has_propensity(situation.models):
        raise _Fallback("no_model_set")


def _contests(
    placements: Sequence[Placement], situation: Situation, lap: Callable[[str], None]
) -> tuple[list[Contest], tuple[str, ...]]:
    """A contest per placement, and what failed that the decision can do without."""
    screening = Screening(situation)
    verdicts = [screening.verdicts(placement) for placement in placements]
    lap("screening")
    passed = [passed_by(found) for found in verdicts]
    try:
        scores, failed = _scores(placements, passed, situation, screening.context)
    except ScoringError as error:
        raise _Fallback("scoring_failed") from error
    lap("scoring")
    contests = [
        contest(placement, found, numbers, scored, situation)
        for placement, found, numbers, scored in zip(placements, verdicts, passed, scores, strict=True)
    ]
    return contests, failed


def _scores(
    placements: Sequence[Placement], passed: Sequence[Rows], situation: Situation, context: cel.Context
) -> tuple[list[Scores], tuple[str, ...]]:
    """For each placement the scores that hold there, and what failed that the decision can do without.

    An action that passed in several placements is scored once for all of them; where a model asks for the channel,
    once for each channel. Uplift counts in all placements or in none.
    """
    depends = depends_on_channel(situation)
    channels = [placement.channel if depends else "" for placement in placements]
    passing: dict[str, list[int]] = {channel: [] for channel in channels}
    for placement, numbers, channel in zip(placements, passed, channels, strict=True):
        passing[channel] += placement.rows[numbers].tolist()
    rows = {channel: np.array(list(dict.fromkeys(some)), dtype=np.intp) for channel, some in passing.items()}
    scores = {channel: score(some, situation, context, channel) for channel, some in rows.items()}
    failed: tuple[str, ...] = ()
    models = situation.models
    if models and situation.counts_uplift:
        try:
            scores = {
                channel: with_uplift(each, rows[channel], models, situation, channel)
                for channel, each in scores.items()
            }
        except ScoringError:
            failed = (UPLIFT_FAILED,)
    return [scores[channel] for channel in channels], failed


def _record(
    situation: Situation, policy: Policy, contests: Sequence[Contest], tier: Tier, degraded: tuple[str, ...]
) -> DecisionRecord:
    """What the decision is made from and what was considered; what fills the placements comes with the grant."""
    request, models = situation.request, situation.models
    is_control = in_control(situation.policy, situation.arms)
    return DecisionRecord(
        decision_id=request.decision_id,
        request_id=request.request_id,
        occurred_at=situation.now,
        customer_id=request.customer_id,
        identifiers=request.identifiers,
        trigger=request.trigger,
        mode=request.mode,
        shadow=request.shadow,
        tier=tier,
        degraded=degraded,
        learning=request.mode == "live" and tier == "full" and not is_control,
        policy_hash=policy.hash,
        model_set_id=models.model_set.id if models else None,
        catalogue_version=policy.catalogue_version,
        code_version=nextbest.__version__,
        currency=policy.currency,
        seed=situation.seed,
        arms=tuple(situation.arms),
        options=request.options,
        context=request.context,
        features=dict(situation.features),
        snapshot=situation.snapshot,
        candidates=tuple(chain.from_iterable(each.candidates for each in contests)),
    )


def _fill(placement: PlacementProposal, grants: Sequence[SlotGrant], taken: set[str]) -> PlacementRecord:
    """What fills the placement; `taken` has the actions of slots before it, and gets those of its own."""
    keys = tuple([option.key for option in placement.order])
    slots = []
    for number, grant in enumerate(grants):
        position = keys.index(grant.key)
        option = placement.order[position]
        _, pmf = slot_draw(placement, taken, number)
        slots.append(
            SlotRecord(
                slot=grant.slot,
                action=option.action,
                treatment=option.treatment,
                group=option.group,
                probability=selection_probability(pmf, grant.available, position, placement.ahead),
                reservation_id=grant.reservation_id,
                expires_at=grant.expires_at,
                takes=grant.takes,
            )
        )
        if option.action != DO_NOTHING:
            taken.add(option.action)
    return PlacementRecord(
        id=placement.id,
        channel=placement.channel,
        pmf=dict(zip(keys[placement.ahead :], placement.pmf[placement.ahead :], strict=True)),
        order=keys,
        ahead=placement.ahead,
        available=tuple([grant.available for grant in grants]),
        slots=tuple(slots),
    )
