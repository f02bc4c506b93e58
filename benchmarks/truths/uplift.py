"""Uplift of many actions over nothing: simulated decisions whose effects are known, beside econml on the same split.

Belongs here: the simulation, the systems, their figures. Does not belong here: the models (`models.uplift`).

Every system sees the same decisions. econml's learners get the features as ours sees them after its own shaping (drawn
in, standardized), every action's own match feature, and the logged probabilities where they can take them.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from econml.dml import LinearDML
from econml.dr import DRLearner, LinearDRLearner
from econml.metalearners import XLearner
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LassoCV
from threadpoolctl import threadpool_limits

from benchmarks.truths.rows import Role, Row
from models.arrays import Array
from models.decision_log import DecisionLog, decision_log
from models.doubly_robust import cross_fitted_outcomes, scores
from models.evaluation import Interval, Statistic, bootstrap
from models.offers import offers
from models.pooled import scale_of
from models.trees import Boosting, fit_regressor
from models.uplift import Params, effects, train
from models.uplift_evaluation import auuc, proposals, qini, ranking, value
from nextbest.model_set import FeatureSpec
from nextbest.records import DO_NOTHING

CUSTOMER = (
    "spend_91d",
    "recency_days",
    "baskets_91d",
    "mean_basket_value_91d",
    "coupon_share",
    "age_band_ordinal",
    "is_homeowner",
    "spend_trend",
    "contacts_91d",
)
MATCH = "category_spend"
FEATURES = (*(FeatureSpec(name, "customer") for name in CUSTOMER), FeatureSpec(MATCH, "match"))
NOISE = 5.0


@dataclass(frozen=True, slots=True)
class Trial:
    """Decisions, the first two thirds to learn from; and the truth of every row, shape (rows, actions)."""

    name: str
    frame: pd.DataFrame
    truth: Array
    actions: tuple[str, ...]

    @property
    def learned(self) -> int:
        return len(self.frame) * 2 // 3


@dataclass(frozen=True, slots=True)
class System:
    """What was measured: effects it says for the test rows, and what it took."""

    name: str
    role: Role
    effects: Array
    seconds: float


def measure(seed: int) -> list[Row]:
    """Every system's figures on every data set."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # econml's, of scikit-learn's next versions
        trials = (
            simulate("randomized, 5 actions", seed=seed, rows=12_000, actions=5, depends=False),
            simulate("known probabilities, 5 actions", seed=seed, rows=12_000, actions=5, depends=True),
        )
        return [row for trial in trials for row in compare(trial, seed)]


def measure_many(seed: int) -> list[Row]:
    """The same with as many actions as the demo's policy has; it takes minutes."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare(simulate("randomized, 25 actions", seed=seed, rows=30_000, actions=25, depends=False), seed)


def simulate(name: str, *, seed: int, rows: int, actions: int, depends: bool) -> Trial:
    """Decisions of a shop: thresholds and interactions in what actions bring, harm for some, and one without effect."""
    random = np.random.default_rng(seed)
    names = tuple(f"offer_{number:02d}" for number in range(actions))
    frame = pd.DataFrame({
        "spend_91d": random.gamma(1.2, 120.0, rows),
        "recency_days": random.exponential(25.0, rows),
        "baskets_91d": random.poisson(9.0, rows).astype(float),
        "mean_basket_value_91d": random.lognormal(3.3, 0.5, rows),
        "coupon_share": random.beta(1.5, 6.0, rows),
        "age_band_ordinal": random.integers(0, 6, rows).astype(float),
        "is_homeowner": random.binomial(1, 0.6, rows).astype(float),
        "spend_trend": random.normal(0.0, 1.0, rows),
        "contacts_91d": random.poisson(4.0, rows).astype(float),
    })  # fmt: skip
    match = random.gamma(0.6, 30.0, (rows, actions))
    spend, lapsed = np.log1p(frame["spend_91d"]) - 4.6, (frame["recency_days"] > 35.0).astype(float)  # noqa: PLR2004
    crowded = (frame["contacts_91d"] > 6.0).astype(float)  # noqa: PLR2004
    causes = np.column_stack([
        spend, lapsed - 0.25, (frame["coupon_share"] - 0.2) / 0.14, spend * lapsed, np.tanh(frame["spend_trend"]),
        crowded - 0.11,
    ])  # fmt: skip
    weights = np.array([0.5, 1.0, 0.6, -0.6, 0.4, -1.2]) + random.normal(0.0, 0.6, (actions, causes.shape[1]))
    truth = random.normal(0.3, 0.7, actions) + causes @ weights.T
    truth += random.normal(0.5, 0.3, actions) * (np.log1p(match) - 2.3)
    truth[:, -1] = 0.0
    usual = 8.0 + 4.0 * spend + 2.0 * np.log1p(frame["baskets_91d"]) - 3.0 * lapsed + 1.5 * frame["is_homeowner"]
    logit = np.zeros((rows, 1 + actions))
    if depends:
        logit[:, 0] = 0.5
        logit[:, 1:] = 0.5 * causes[:, :1] * np.linspace(-1, 1, actions) + 0.35 * np.log1p(match) - 0.5
    pmf = np.exp(logit)
    pmf = 0.03 / (1 + actions) + 0.97 * pmf / pmf.sum(axis=1, keepdims=True)
    arm = (random.random((rows, 1)) > np.cumsum(pmf, axis=1)[:, :-1]).sum(axis=1)
    every = np.arange(rows)
    outcome = usual + np.column_stack([np.zeros(rows), truth])[every, arm] + random.normal(0.0, NOISE, rows)
    told = {f"{MATCH}__{action}": match[:, number] for number, action in enumerate(names)}
    told |= {f"probability__{action}": pmf[:, number] for number, action in enumerate((DO_NOTHING, *names))}
    decided = {
        "customer_id": every.astype(str),
        "action": np.array([DO_NOTHING, *names])[arm],
        "probability": pmf[every, arm],
        "outcome": outcome,
    }
    return Trial(name, pd.concat([frame, pd.DataFrame(told | decided)], axis=1), truth, names)


def compare(trial: Trial, seed: int) -> list[Row]:
    """All systems on one data set."""
    test = trial.frame[trial.learned :].reset_index(drop=True)
    truth = trial.truth[trial.learned :]
    log, robust = _seen(test, trial.actions, seed)
    systems = [*_systems(trial, seed), System("the truth", "truth", truth, 0.0)]
    asked = [
        (system, measure, of) for system in systems for measure, of in _measures(system.effects, truth, robust).items()
    ]
    intervals = bootstrap(log.customers.astype(str), *(of for _, _, of in asked), seed=seed)
    return [
        _row(trial, system, measure, interval) for (system, measure, _), interval in zip(asked, intervals, strict=True)
    ]


def _measures(said: Array, truth: Array, robust: Array) -> dict[str, Statistic]:
    """Error against the truth; order and policy on what a log shows; and what the policy brings in truth."""
    ranked, proposed = ranking(said, robust), proposals(said)
    squared = np.mean((said - truth) ** 2, axis=1)
    useless = (said[:, -1] - truth[:, -1]) ** 2
    in_truth = np.column_stack([np.zeros(len(truth)), truth])
    return {
        "RMSE of effects": _root(squared),
        "RMSE of an action without effect": _root(useless),
        "Qini coefficient": qini(ranked),
        "AUUC": auuc(ranked),
        "true value of the policy over nothing": value(in_truth, proposed),
    }


def _root(squared: Array) -> Statistic:
    return lambda weights: np.sqrt(weights @ squared / weights.sum(axis=1))


def _row(trial: Trial, system: System, measure: str, interval: Interval) -> Row:
    return Row(
        model="uplift",
        data=trial.name,
        system=system.name,
        role=system.role,
        measure=measure,
        value=interval.estimate,
        low=interval.low,
        high=interval.high,
        is_better="lower" if measure.startswith("RMSE") else "higher",
        seconds=system.seconds or None,
    )


def _seen(frame: pd.DataFrame, actions: tuple[str, ...], seed: int) -> tuple[DecisionLog, Array]:
    """The test rows as a log shows it, and its doubly robust scores."""
    log = decision_log(frame, actions)
    told = offers(frame, FEATURES, {action: {} for action in actions})
    return log, scores(log, cross_fitted_outcomes(log, told, log.folds(5, seed), seed).expected)


def _systems(trial: Trial, seed: int) -> list[System]:
    learn, test = trial.frame[: trial.learned], trial.frame[trial.learned :].reset_index(drop=True)
    known: Mapping[str, Mapping[str, float]] = {action: {} for action in trial.actions}
    began = time.perf_counter()
    ours = train(learn, Params(features=FEATURES, action_features=known, seed=seed))
    seconds = time.perf_counter() - began
    found = [System(f"nextbest ({ours.chosen['kind']})", "nextbest", effects(ours, test), seconds)]
    x, wide = _matrix(trial), len(trial.actions)
    pmf = trial.frame[[f"probability__{action}" for action in (DO_NOTHING, *trial.actions)]].to_numpy(np.float64)
    arm = decision_log(trial.frame, trial.actions).arm
    for name, fit in _peers(wide, seed).items():
        began = time.perf_counter()
        model = fit(x[: trial.learned], arm[: trial.learned], learn["outcome"].to_numpy(), pmf[: trial.learned])
        seconds = time.perf_counter() - began
        said = np.column_stack([np.ravel(model.effect(x[trial.learned :], T0=0, T1=1 + each)) for each in range(wide)])
        found.append(System(name, "peer", said, seconds))
    return found + _baselines(trial, x, arm, seed)


def _baselines(trial: Trial, x: Array, arm: Any, seed: int) -> list[System]:
    """The expected outcome in the effect's place, the mean effect of each action for everybody, and chance."""
    outcome = trial.frame["outcome"].to_numpy(np.float64)
    half, rows, wide = trial.learned, len(x) - trial.learned, len(trial.actions)
    told = np.column_stack([x, arm[:, None] == np.arange(1, 1 + wide)])
    response = fit_regressor(told[:half], outcome[:half], Boosting(seed=seed))
    by_arm = [np.column_stack([x[half:], np.tile(np.eye(wide)[each], (rows, 1))]) for each in range(wide)]
    pmf = trial.frame["probability"].to_numpy(np.float64)[:half]
    means = [
        np.average(outcome[:half][arm[:half] == each], weights=1 / pmf[arm[:half] == each]) for each in range(1 + wide)
    ]
    lift = np.array(means[1:]) - means[0]
    one = np.full(wide, -np.inf)
    one[lift.argmax()] = lift.max()
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (rows, wide))
    return [
        System("response instead of uplift", "baseline", np.column_stack([response.predict(e) for e in by_arm]), 0.0),
        System("each action's mean effect", "baseline", np.tile(lift, (rows, 1)), 0.0),
        System("at random", "baseline", noise, 0.0),
    ]


def _matrix(trial: Trial) -> Array:
    columns = [*CUSTOMER, *(f"{MATCH}__{action}" for action in trial.actions)]
    x = trial.frame[columns].to_numpy(np.float64)
    return scale_of(x[: trial.learned]).columns(x)[:, :-1]


class Logged(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """Probabilities as they were logged: the last columns of what econml hands on."""

    def __init__(self, arms: int) -> None:
        self.arms = arms

    def fit(self, x: Array, arm: Any) -> "Logged":  # noqa: ARG002  # the interface of scikit-learn
        self.classes_ = np.arange(self.arms)
        return self

    def predict_proba(self, x: Array) -> Array:
        return x[:, -self.arms :]

    def predict(self, x: Array) -> Any:
        return self.predict_proba(x).argmax(axis=1)


def _peers(actions: int, seed: int) -> dict[str, Callable[[Array, Any, Array, Array], Any]]:
    """Learners of econml with models as its documentation uses them, trees for outcomes being scikit-learn's."""

    def trees() -> Any:
        return HistGradientBoostingRegressor(max_iter=100, learning_rate=0.06, max_leaf_nodes=10, random_state=seed)

    def orthogonal(learner: Any) -> Callable[[Array, Any, Array, Array], Any]:
        return lambda x, arm, outcome, pmf: learner.fit(outcome, arm, X=x, W=pmf, inference=None)

    dr = {"model_propensity": Logged(1 + actions), "model_regression": trees(), "cv": 5, "random_state": seed}
    boosted = HistGradientBoostingRegressor(
        max_iter=40, learning_rate=0.06, max_leaf_nodes=4, min_samples_leaf=100, random_state=seed
    )
    dml = LinearDML(
        model_y=trees(), model_t=Logged(1 + actions), discrete_treatment=True, cv=5, random_state=seed
    )  # fmt: skip
    x_learner = XLearner(models=trees(), cate_models=boosted)
    return {
        "econml LinearDRLearner": orthogonal(LinearDRLearner(**dr)),
        "econml DRLearner, lasso": orthogonal(DRLearner(model_final=LassoCV(random_state=seed), **dr)),
        "econml DRLearner, boosting": orthogonal(DRLearner(model_final=boosted, **dr)),
        "econml LinearDML": orthogonal(dml),
        "econml XLearner": lambda x, arm, outcome, _: x_learner.fit(outcome, arm, X=x, inference=None),
    }
