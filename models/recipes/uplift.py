"""A version of uplift: what is measured of the effects it expects, and what is asked of it.

Belongs here: the measures, the demands. Does not belong here: the fit (`models.uplift`), how a policy is judged
(`models.uplift_evaluation`), the split (`models.recipes.decisions`), reading the frame (`models.decision_frames`), or
the registry (`models.lifecycle`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models import decision_frames, evaluation, uplift, uplift_evaluation
from models.arrays import Array
from models.calibration import Expectation
from models.candidate import Candidate, Champion
from models.cards import Words
from models.decision_log import DecisionLog, decision_log
from models.doubly_robust import cross_fitted_outcomes, scores
from models.errors import TooLittleDataError
from models.evaluation import UNTOLD, Interval, Statistic
from models.frames import TrainingSet
from models.gates import Thresholds
from models.inputs import uplift_features
from models.lifecycle import Recipe
from models.offers import NOTHING, Codes, offers
from models.plots import qini_figure
from models.recipes.decisions import split, trained_until
from models.recipes.measures import Measures, of_interval
from models.recipes.trial import Fit, Trial, candidate, spend_segments, trial, trial_of
from nextbest.adapters.onnx import OnnxModel
from nextbest.records import DO_NOTHING

NAME = "uplift"
THRESHOLDS = Thresholds(champion_margin=0.005, calibration={"effect_bias_at_least": 0.02})
_FOLDS = 5
WORDS = Words(
    title="Uplift: by how much an action raises the probability of a response over doing nothing",
    what="""\
One model for all actions, the better of a doubly robust learner and an R-learner, with or without boosted trees, by the
doubly robust loss on unseen customers. Its answer is a difference of probabilities, below 0 where an action harms.""",
    rows="""\
Rows are decisions that were drawn with known probabilities, older than seven days. Features are those known when it was
decided. Answers to the training rows had come when the test period began.""",
    labels="Whether the customer redeemed or bought on an offer within seven days, whoever caused it.",
    measured="""\
On the decisions of the last 14 days, by doubly robust scores. A gain is what proposing the best action where its effect
is positive brings over doing nothing, and over the single action that is best for everybody in training, in responses
per decision. `effect_bias` is how much too much is expected of an action in mean, `effect_bias_at_least` how much of
that is certain. `qini` is the area between the uplift curve and treating at random, `auuc` that below the curve,
`treated` the part of the decisions for which an action is proposed. By segment and group, *expected* is the effect of
the best action (0 where none has any), *happened* its doubly robust score, in mean: it may be below 0, and where it is,
*off by* tells nothing.""",
    unit="responses per decision",
    time="decided_at",
    limits="""\
- **Causal where the decisions were drawn**, with probabilities as they were logged; a simulated response says something
  of the simulator.
- A response within seven days: what an action brings forward counts as what it brings.
- The effect of one decision among others that the policy makes before and after.""",
)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on the decisions of `data` and measure on those of its last two weeks."""
    train, test = _rows(data)
    actions = _actions(data, train)
    how = uplift.Params(features=uplift_features(data.frame), action_features=actions)
    trained = uplift.train(train, how)
    fit = Fit(
        fitted=trained.model,
        chosen=trained.chosen,
        features=trained.features,
        trained_until=trained_until(train),
        action_features=trained.action_features,
    )
    tried = trial(NAME, data, (train, test), fit, champion)
    return candidate(tried, fit, _measures(tried), THRESHOLDS, WORDS)


def measure(data: TrainingSet, version: Champion, champion: Champion | None) -> Measures:
    """What is measured of a version of before, on the rows of today."""
    return _measures(trial_of(version, data, _rows(data), champion))


def _rows(data: TrainingSet) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, test = split(data.frame, "decision that was drawn")
    known = {*train["action"]}
    if DO_NOTHING not in known:
        raise TooLittleDataError("decision_labels: nothing was ever left undone: there is nothing to compare with")
    return train, test[test["action"].isin(known)].reset_index(drop=True)


def _actions(data: TrainingSet, train: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What is known of the actions that were tried."""
    tried = {*train["action"]}
    return {action: dict(known) for action, known in data.action_features.items() if action in tried}


@dataclass(frozen=True, slots=True)
class _Judged:
    """The decisions that are judged by, their doubly robust scores, and whose they are."""

    log: DecisionLog
    scores: Array
    customers: NDArray[np.str_]

    def gain(self, proposed: Codes, other: Codes, rows: NDArray[np.bool_] | None = None) -> Statistic:
        """What a policy earns more than another."""
        which = np.ones(len(self.log), dtype=bool) if rows is None else rows
        own, its = (uplift_evaluation.value(self.scores[which], each[which]) for each in (proposed, other))
        return evaluation.difference(own, its)

    def effects(self) -> Array:
        """What an action brings, in mean over them, by doubly robust scores."""
        return np.asarray((self.scores[:, 1:] - self.scores[:, [NOTHING]]).mean(axis=1))


def _judged(tried: Trial) -> _Judged:
    actions = sorted(_actions(tried.data, tried.train))
    log = decision_log(tried.test, actions)
    offered = offers(tried.test, uplift_features(tried.test), _actions(tried.data, tried.train))
    expected = cross_fitted_outcomes(log, offered, log.folds(_FOLDS, 0)).expected
    return _Judged(log, scores(log, expected), tried.test["customer_id"].to_numpy(dtype=str))


def _measures(tried: Trial) -> Measures:
    judged = _judged(tried)
    effects = _effects(Champion(model=tried.model, onnx=tried.onnx), tried.test, judged.log.actions)
    proposed = uplift_evaluation.proposals(effects)
    nothing = uplift_evaluation.nothing_to_anybody(len(judged.log))
    single = np.full(len(judged.log), _best_single(tried, judged.log.actions))
    expected, happened = effects.mean(axis=1), judged.effects()
    ranked = uplift_evaluation.ranking(effects, judged.scores)
    bias, over_nothing, over_single, qini, auuc = evaluation.bootstrap(
        judged.customers,
        evaluation.mean(expected - happened),
        judged.gain(proposed, nothing),
        judged.gain(proposed, single),
        uplift_evaluation.qini(ranked),
        uplift_evaluation.auuc(ranked),
    )
    metrics = {
        f"{name}{end}": value
        for name, interval in (
            ("effect_bias", bias),
            ("value_over_nothing", over_nothing),
            ("value_over_single_action", over_single),
            ("qini", qini),
            ("auuc", auuc),
        )
        for end, value in (("", interval.estimate), ("_low", interval.low), ("_high", interval.high))
    }
    rows = np.arange(len(proposed))
    subjects = pd.DataFrame(
        {
            "customer_id": tried.test["customer_id"],
            "segment": spend_segments(tried.test),
            "actual": judged.scores[rows, proposed] - judged.scores[:, NOTHING],
            "predicted": np.maximum(effects.max(axis=1), 0.0),
        }
    )
    over_champion = _over_champion(tried, judged, proposed)
    if over_champion is not None and over_champion is not UNTOLD:
        metrics |= of_interval("champion_gain", over_champion)
    certain = {"effect_bias_at_least": max(bias.low, -bias.high, 0.0)}
    told = {"customer_id": judged.customers, "at": tried.test["decided_at"], "predicted": expected, "actual": happened}
    return Measures(
        metrics=metrics | certain | {"treated": float(np.mean(proposed != NOTHING))},
        gains={"doing_nothing": over_nothing, "the_best_single_action": over_single},
        over_champion=over_champion,
        calibration=certain,
        subjects=subjects,
        expectations={"effect_bias_at_least": Expectation(pd.DataFrame(told))},
        figures={"qini": qini_figure({"model": ranked}, "responses")},
    )


def _over_champion(tried: Trial, judged: _Judged, proposed: Codes) -> Interval | None:
    if tried.champion is None:
        return None
    rows = tried.unseen(tried.test["decided_at"])
    if not rows.any():
        return UNTOLD
    rival = uplift_evaluation.proposals(_effects(tried.champion, tried.test, judged.log.actions))
    [gain] = evaluation.bootstrap(judged.customers[rows], judged.gain(proposed, rival, rows))
    return gain


def _best_single(tried: Trial, actions: tuple[str, ...]) -> int:
    """The arm that is best for everybody in training, by inverse propensity weighting."""
    log = decision_log(tried.train, actions)
    arms = range(1, log.arms)
    everyone = np.ones((1, len(log)))
    values = [uplift_evaluation.value_by_normalized_weighting(log, np.full(len(log), arm))(everyone)[0] for arm in arms]
    return int(np.nanargmax(values)) + 1


def _effects(version: Champion, frame: pd.DataFrame, actions: tuple[str, ...]) -> Array:
    """What serving will say of every row and action, shape (rows, actions)."""
    model, scorer = version.model, OnnxModel(version.model, version.onnx)
    told = offers(frame, model.features, {action: model.action_features.get(action, {}) for action in actions})
    arms = range(1, 1 + len(actions))
    return np.column_stack([scorer.score(told.of(arm).astype(np.float32)) for arm in arms])


RECIPE = Recipe(NAME, decision_frames.uplift_set, build, measure, THRESHOLDS)
