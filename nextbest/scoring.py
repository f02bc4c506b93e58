"""Scoring: what each action is worth to this customer, in the policy's currency.

Belongs here: feeding the models, their online correction, amounts that are expressions, and the priority formula. Does
not belong here: running a model (an adapter), who is scored at all (`nextbest.screening`), or
who wins (`nextbest.arbitration`). Arrays have a row per action of the policy; what is not scored is NaN.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cel
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from nextbest.arbitration import Vector
from nextbest.expressions import Expression, ExpressionError, evaluation_context
from nextbest.features import Matrix, rule_values
from nextbest.model_input import is_by_channel, model_input
from nextbest.model_set import Model
from nextbest.policy import Action, Policy
from nextbest.residual import numbers
from nextbest.situation import PROPENSITY, UPLIFT, ScoringError, Situation

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Scores:
    """What was found out about the actions that passed, shape (actions,) each; money in the policy's currency."""

    logit: Vector
    """Of the batch model."""
    residual_mean: Vector | None
    residual_var: Vector | None
    p: Vector
    value: Vector
    cost: Vector
    """Of the action alone; a channel's comes on top."""
    failed: Mapping[str, str]
    """Actions whose value or cost could not be found out, and why."""
    beside: Vector | None = None
    """What a propensity model in the shadow says."""
    share: Vector | None = None
    """Of the responses, that the action causes (`nextbest.uplift`); NaN where nothing is known of that."""

    @property
    def uplift(self) -> Vector | None:
        """The probability of a response that the action causes; NaN where nothing is known of that."""
        return None if self.share is None else self.p * self.share


def depends_on_channel(situation: Situation) -> bool:
    """Whether a model may say something else of the same action in another channel."""
    models = situation.models
    if models is None or situation.tier != "full":
        return False
    model_set = models.model_set
    asked = [model_set.models.get(PROPENSITY), model_set.shadows.get(PROPENSITY)]
    if situation.counts_uplift:
        asked.append(model_set.models[UPLIFT])
    return any(is_by_channel(model) for model in asked if model)


def score(rows: Rows, situation: Situation, context: cel.Context, channel: str) -> Scores:
    """Score the actions with these numbers for one customer, as they would be proposed in a channel.

    `context` has the features as expressions see them.

    Raises:
        ScoringError: the model cannot score.

    """
    policy, residuals = situation.policy, situation.residuals
    actions = [policy.roll[row] for row in rows.tolist()]
    value, cost, failed = _amounts(actions, policy, context)
    logits, p, *corrections = np.full((4, len(policy.actions)), np.nan)
    mean = variance = None
    if len(rows) and policy.arbitration.uses_propensity:
        found = _propensities(rows, actions, situation, channel)
        odds = logit(found)
        if residuals is not None:
            moves, doubts = residuals.of(actions, numbers(policy.arbitration.learning, situation.features))
            if situation.tier != "full":  # what is corrected is what the model says, or a new action's start
                moves = np.where(_are_new(rows, situation), moves, 0.0)
            mean, variance = corrections
            mean[rows], variance[rows] = moves, doubts
            if moves.any():
                moved = moves != 0.0  # what is not corrected keeps its very bits
                found[moved] = expit(odds[moved] + moves[moved])
        logits[rows], p[rows] = odds, found
    return Scores(logits, mean, variance, p, value, cost, failed, _beside(rows, actions, situation, channel))


@np.errstate(over="ignore", invalid="ignore")  # what a float cannot hold is no number, and takes no part
def priorities(rows: Rows, scores: Scores, situation: Situation, channel_cost: float) -> Vector:
    """P · V · L less cost for actions by number, of the parts that are switched on; shape (len(rows),).

    Or what the policy's own formula comes to; not finite where that is no number.
    """
    policy = situation.policy
    formula = policy.arbitration
    if formula.formula is not None:
        return _by_formula(formula.formula, rows, scores, situation, channel_cost)
    worth = scores.p[rows] if formula.use_propensity else np.ones(len(rows))
    gain, cost = gains(rows, scores, policy, channel_cost)
    return worth * gain - cost


def gains(rows: Rows, scores: Scores, policy: Policy, channel_cost: float) -> tuple[Vector, Vector]:
    """V · L and cost of actions by number, as far as they are switched on: priority is P · gain - cost.

    Where it is known which share of the responses an action causes, a response gains that share of V · L.
    """
    formula = policy.arbitration
    gain = scores.value[rows] if formula.use_value else np.ones(len(rows))
    if formula.use_lever:
        gain = gain * (policy.levers[rows] / 100.0)
    if scores.share is not None:
        share = scores.share[rows]
        gain = gain * np.where(np.isnan(share), 1.0, share)
    return gain, scores.cost[rows] + channel_cost if formula.use_cost else np.zeros(len(rows))


def _by_formula(formula: Expression, rows: Rows, scores: Scores, situation: Situation, channel_cost: float) -> Vector:
    """Priority by an expression over propensity, uplift, value, lever (1 for 100 per cent), cost and the features.

    Uplift is the propensity where nothing is known of it.
    """
    named = [feature for feature in situation.policy.features if feature.name in formula.variables]
    values = rule_values(named, situation.features, situation.context)
    found = np.full(len(rows), np.nan)
    uplift = scores.p if scores.uplift is None else np.where(np.isnan(scores.uplift), scores.p, scores.uplift)
    for position, row in enumerate(rows):
        given = {
            "propensity": scores.p[row].item(),
            "uplift": uplift[row].item(),
            "value": scores.value[row].item(),
            "lever": situation.policy.levers[row].item() / 100.0,
            "cost": scores.cost[row].item() + channel_cost,
        }
        with suppress(ExpressionError):
            found[position] = formula.number(evaluation_context(values | given))
    return found


def _amounts(
    actions: Sequence[Action], policy: Policy, context: cel.Context
) -> tuple[Vector, Vector, Mapping[str, str]]:
    """Value and cost by action number, and those that failed with the reason."""
    value, cost, failed = policy.values, policy.costs, {}
    written = [action for action in policy.written if action in actions] if policy.written else []
    if written:
        value, cost = value.copy(), cost.copy()
    for action in written:
        try:
            value[action.number] = _amount(action.value, context)
            cost[action.number] = _amount(action.cost, context)
        except ExpressionError as error:
            failed[action.id] = f"failed: {error}"
            continue
        if cost[action.number] < 0.0:
            failed[action.id] = f"failed: a cost of {cost[action.number]:g} is below 0"
    return value, cost, failed


def _amount(amount: float | Expression, context: cel.Context) -> float:
    return amount.number(context) if isinstance(amount, Expression) else amount


def _propensities(rows: Rows, actions: Sequence[Action], situation: Situation, channel: str) -> Vector:
    """The probability that the customer responds to each of the actions with these numbers, shape (len(rows),).

    A new action has what the policy starts it with; so has every action where models are not asked.
    """
    policy, models = situation.policy, situation.models
    p = policy.unscored[rows]
    if models is None or situation.tier != "full":
        return p
    is_asked = ~_are_new(rows, situation)
    asked = actions if is_asked.all() else [action for action, asks in zip(actions, is_asked, strict=True) if asks]
    if asked:
        model = models.model_set.models[PROPENSITY]
        p[is_asked] = models.score(PROPENSITY, matrix(asked, model, situation, channel))
    return p


def _beside(rows: Rows, actions: Sequence[Action], situation: Situation, channel: str) -> Vector | None:
    """What the shadow of the propensity model says, by action number; what it fails at keeps no decision waiting."""
    policy, models = situation.policy, situation.models
    shadow = models.model_set.shadows.get(PROPENSITY) if models and situation.tier == "full" else None
    if models is None or shadow is None or not policy.arbitration.uses_propensity or not len(rows):
        return None
    said = np.full(len(policy.actions), np.nan)
    with suppress(ScoringError):
        said[rows] = models.score_beside(PROPENSITY, matrix(actions, shadow, situation, channel))
    return said


def matrix(actions: Sequence[Action], model: Model, situation: Situation, channel: str) -> Matrix:
    """What a model is fed to score the actions, one row each."""
    return model_input(
        model,
        actions,
        features=situation.features,
        context=situation.context,
        channel=channel,
        now=situation.now,
    )


def _are_new(rows: Rows, situation: Situation) -> NDArray[np.bool_]:
    """Which of the actions with these numbers start from what the policy says, shape (len(rows),)."""
    known = situation.known_actions
    new = {action.number for action in situation.policy.startings if action.id not in known}
    return np.array([row in new for row in rows.tolist()], dtype=bool) if new else np.zeros(len(rows), dtype=bool)
