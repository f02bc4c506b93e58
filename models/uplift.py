"""Uplift: what each action brings over doing nothing, for the customer at hand; one model for all actions.

Belongs here: the candidates, and how one is chosen. Does not belong here: reading the log (`models.decision_log`), the
outcome models under it (`models.doubly_robust`), or how a policy is judged (`models.uplift_evaluation`).

Candidates, all of which share strength between actions:

- `doubly_robust`: doubly robust scores of the action less those of nothing, regressed on customer and action (the
  DR-learner; Kennedy, 2023, algorithm 1) by a pooled ridge.
- `r_learner`: what the outcome has over its expectation, regressed on what was done over its probability, in one
  regression over all actions (Nie & Wager, 2021).
- either with `_trees`: boosted trees of the customer's features on what the ridge leaves in mean over the actions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

import numpy as np
import pandas as pd

from models.arrays import Array
from models.boosted import BoostedModel
from models.decision_log import LEAST_PROBABILITY, Overlap, decision_log, overlap
from models.doubly_robust import cross_fitted_outcomes
from models.effect_regressions import (
    EffectData,
    common_rest,
    effect_data,
    residual_moments,
    robust_loss,
    robust_moments,
)
from models.errors import TooLittleDataError
from models.fitted import Fitted
from models.offers import Codes, offers, with_indicators
from models.pooled import Moments, Penalty, PooledModel, learned_penalty, solve
from models.trees import Boosting, fit_regressor
from nextbest.model_set import FeatureSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order.
        action_features: By action what is known of it; only these actions are known.
        trees: How trees are grown on what the ridge leaves; their `l2` means what the ridge's penalties do.
        least_probability: Smaller ones are clipped, and comparisons that need them trimmed (`models.decision_log`).
        folds: Of customers, for outcome models and for the choice.
        seed: Of folds and of trees.

    """

    features: Sequence[FeatureSpec]
    action_features: Mapping[str, Mapping[str, float]]
    trees: Boosting = Boosting(rounds=40, learning_rate=0.06, leaves=4, least_rows=100, l2=30.0, bins=16)
    least_probability: float = LEAST_PROBABILITY
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """The model, what it has to be fed, and how it was chosen.

    Attributes:
        model: Of rows of `features`; its answer is in the outcome's unit, negative where an action does harm.
        features: The features that were asked for, and an indicator of each action.
        action_features: By action, its indicator included: what `nextbest.model_set.Model` takes. An action that is
            not among them is scored as one of which nothing is known: the effect that all actions have in common.
        overlap: What the log supports.
        chosen: Which candidate, and the doubly robust loss of each.

    """

    model: Fitted
    features: tuple[FeatureSpec, ...]
    action_features: dict[str, dict[str, float]]
    overlap: Overlap
    chosen: Mapping[str, object] = field(default_factory=dict)


def train(frame: pd.DataFrame, params: Params) -> Uplift:
    """The model of the decisions in `frame`, which were randomized, or made with known probabilities.

    Args:
        frame: One row per decision: `customer_id`, `action` (or `do_nothing`), `probability` with which it was selected
            given the customer, `outcome` (0 and 1, or an amount), the customer's features by name, match features as
            `name__<action>`. With `probability__<action>` for every action and for `do_nothing` the R-learner takes
            part, and comparisons without support are trimmed; without them it does not, and rows are only clipped.
        params: Features and settings.

    Each customer's scores come from outcome models that have not seen the customer. The candidate is kept whose
    effects, fitted without a fold of customers, are nearest to that fold's scores: the doubly robust loss
    (`models.effect_regressions.robust_loss`); noise in the scores is the same for all candidates.

    Raises:
        TooLittleDataError: an arm never occurs or is nowhere comparable with nothing, there are fewer customers than
            folds, or probabilities that are none.
        TrainingDataError: actions that are not in `params.action_features`, or no outcome.

    """
    log = decision_log(frame, sorted(params.action_features))
    fold = log.folds(params.folds, params.seed)
    offered = offers(frame, params.features, params.action_features)
    outcomes = cross_fitted_outcomes(log, offered, fold, params.seed)
    data = effect_data(offered, log, outcomes.expected, params.least_probability)
    if alone := [name for name, p in zip(log.actions, data.support[:, 1:].T, strict=True) if not p.any()]:
        raise TooLittleDataError(
            f"decisions: {', '.join(alone)}: nowhere were this and nothing likelier than {params.least_probability}"
        )
    members = [np.flatnonzero(fold == each) for each in range(params.folds)]
    parts = [robust_moments(data, rows) for rows in members]
    whole = reduce(add, parts)
    penalty = learned_penalty(whole, data.actions)
    candidates = _Candidates(data, params, penalty, np.concatenate(members), whole)
    losses: dict[str, float] = {}
    for unseen, part in zip(members, parts, strict=True):
        for kind, model in candidates.without(unseen, part).fits().items():
            losses[kind] = losses.get(kind, 0.0) + robust_loss(data, unseen, model) / len(log)
    kind = min(losses, key=losses.__getitem__)
    fitted = candidates.fits()[kind]
    features, action_features = with_indicators(params.features, params.action_features)
    found = {"kind": kind, "outcome_model": outcomes.kind} | {f"loss_{name}": loss for name, loss in losses.items()}
    return Uplift(
        model=fitted,
        features=features,
        action_features=action_features,
        overlap=overlap(log, params.least_probability),
        chosen=found,
    )


def effects(uplift: Uplift, frame: pd.DataFrame) -> Array:
    """What each action brings each row of `frame`, shape (rows, actions), actions in their order."""
    told = offers(frame, uplift.features, uplift.action_features)
    return np.column_stack([uplift.model.predict(told.of(arm)) for arm in range(1, 1 + len(told.actions))])


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Fits to some of the rows."""

    data: EffectData
    params: Params
    penalty: Penalty
    rows: Codes
    moments: Moments

    def without(self, rows: Codes, moments: Moments) -> "_Candidates":
        """Fits to the rest, `moments` being those of `rows`."""
        return replace(self, rows=np.setdiff1d(self.rows, rows), moments=self.moments - moments)

    def fits(self) -> dict[str, Fitted]:
        """Every candidate by its kind."""
        pmf = self.data.log.pmf
        learners = {"doubly_robust": self.moments}
        if pmf is not None:
            learners["r_learner"] = residual_moments(self.data, self.rows, pmf)
        found: dict[str, Fitted] = {}
        for learner, moments in learners.items():
            ridge = PooledModel(self.data.scale, solve(moments, self.data.actions, self.penalty))
            found |= {learner: ridge, f"{learner}_trees": self._with_trees(ridge)}
        return found

    def _with_trees(self, ridge: PooledModel) -> BoostedModel:
        columns = self.data.offers.own_of_rows
        target, precision = common_rest(self.data, self.rows, ridge)
        mean = float(precision.mean())
        how = replace(self.params.trees, seed=self.params.seed, l2=self.params.trees.l2 / mean)
        # Equal weights change nothing, but scikit-learn takes long over them.
        weight = None if np.allclose(precision, mean) else precision / mean
        x = self.data.offers.base[np.ix_(self.rows, columns)]
        return BoostedModel(ridge, fit_regressor(x, target, how, weight=weight), columns)
