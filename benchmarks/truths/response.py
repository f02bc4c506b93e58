"""Response with a known truth: propensity and engagement beside scikit-learn's classifiers, rates, and the truth.

Belongs here: the simulated customers, their answers, who is measured on them and by what. Does not belong here: the
models (`models.propensity`, `models.engagement`).

A customer is shown an action at a price in a channel. Whether they respond rises with what they spend in the action's
category and is highest some days after a visit; a price puts the poor off more than the rich; each action has channels
that suit it; and something of each customer shows in no feature. The truth is the probability given all features, that
last thing averaged over: nobody can know more of a new customer. Who is tested is in no training row. The calibration
error is that against the truth.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit, roots_hermitenorm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.truths.rows import Role, Row
from models import engagement, propensity
from models.arrays import Array
from models.evaluation import Interval, Statistic, auc, bootstrap, difference, mean
from models.inputs import (
    CATEGORY,
    CHANNELS,
    DEPARTMENT_PREFIX,
    HOUR,
    PROFILE,
    RESPONSE,
    RFM,
    engagement_features,
    matrix,
    propensity_features,
    with_channel,
)
from models.response import Response
from nextbest.model_set import FeatureSpec

Label = Literal["is_redeemed", "is_opened", "is_clicked"]
Predict = Callable[[pd.DataFrame], Array]

LABELS: Mapping[Label, Sequence[str]] = {
    "is_redeemed": tuple(CHANNELS),
    "is_opened": ("email",),
    "is_clicked": ("web", "email", "app"),
}
"""By label, the channels in which it is known."""
CUSTOMERS = 5_000
TESTED = 1_200
SHOWN = 8
"""Slots per customer."""
ACTIONS = 6
CAMPAIGNS = 8
PRICES = np.linspace(0.5, 10.0, 12)
_HIDDEN_SD = 0.5
_MEASURES = ("log loss", "AUC", "calibration error", "rows that rise with the price")
_RISES = 1e-9
_CAUSES = (
    *(CATEGORY, HOUR, "price", "discount", "recency_days", "contacts_91d", "response_rate_364d"),
    *("age_band_ordinal", "income_band_ordinal"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What actions are like, and how channels suit them: shapes (actions,) and (actions, channels)."""

    appeal: Array
    share: Array
    fit: Array
    subject: Array

    @classmethod
    def of(cls, random: np.random.Generator) -> "Market":
        """One by chance."""
        return cls(
            appeal=random.normal(0.0, 0.4, ACTIONS),
            share=np.sort(random.uniform(0.05, 0.5, ACTIONS)),
            fit=random.normal(0.0, 0.7, (ACTIONS, len(CHANNELS))),
            subject=random.normal(0.0, 0.5, ACTIONS),
        )

    def log_odds(self, frame: pd.DataFrame, label: Label) -> Array:
        """Of the label, shape (rows,), but for what of the customer is hidden."""
        action = frame["action"].to_numpy(np.intp)
        channel = frame["channel"].map({name: number for number, name in enumerate(CHANNELS)}).to_numpy(np.intp)
        column = dict(zip(_CAUSES, frame[list(_CAUSES)].to_numpy(np.float64).T, strict=True))
        evening = np.cos((column[HOUR] - 19.0) * np.pi / 12.0)
        tired = 0.4 * np.log1p(column["contacts_91d"] / 5.0)
        if label == "is_opened":
            asleep = np.where(column["age_band_ordinal"] >= 4, -0.6, 0.6)  # noqa: PLR2004 -- the older half
            return np.asarray(-0.6 + self.subject[action] + asleep * evening - tired + column["response_rate_364d"])
        taste = 0.9 * np.log1p(column[CATEGORY] / 5.0)
        back_soon = -0.5 * np.square(np.log1p(column["recency_days"]) - 2.5)
        too_dear = (0.05 + 0.3 * (column["income_band_ordinal"] < 4)) * column["price"]  # noqa: PLR2004 -- the poorer half
        wants = self.appeal[action] + self.fit[action, channel] + taste + back_soon - too_dear + column["discount"]
        if label == "is_clicked":
            return np.asarray(-1.2 + wants + 0.3 * evening - tired)
        return np.asarray(-2.2 + wants + 1.5 * column["response_rate_364d"])

    def probability(self, frame: pd.DataFrame, label: Label) -> Array:
        """Of the label, what is hidden averaged over (Gauss-Hermite quadrature)."""
        at, mass = roots_hermitenorm(21)
        odds = self.log_odds(frame, label)[:, None] + _HIDDEN_SD * at
        return np.asarray(expit(odds) @ (mass / mass.sum()))


def simulate(seed: int) -> tuple[Market, pd.DataFrame]:
    """A market, and a row per shown slot: features, labels and ids as both models take them."""
    random = np.random.default_rng(seed)
    market = Market.of(random)
    customer = np.repeat(np.arange(CUSTOMERS), SHOWN)
    rows = len(customer)
    action = random.integers(0, ACTIONS, rows)
    spend = random.gamma(0.7, 15.0, (CUSTOMERS, ACTIONS))
    frame = pd.DataFrame(
        {name: random.gamma(1.0, 20.0, CUSTOMERS)[customer] for name in (*RFM, f"{DEPARTMENT_PREFIX}meat")}
        | {name: random.integers(1, 8, CUSTOMERS)[customer].astype(float) for name in PROFILE}
        | {name: random.gamma(1.0, 8.0, rows) for name in RESPONSE}
    ).assign(
        response_rate_364d=random.beta(1.0, 3.0, CUSTOMERS)[customer],
        customer_id=customer.astype(str),
        shown_at=pd.Timestamp(2026, 1, 5, tz="UTC") + pd.to_timedelta(random.integers(0, 90 * 24, rows), unit="h"),
        action=action,
        share=market.share[action],
        channel=random.choice([*CHANNELS], rows, p=[0.3, 0.3, 0.2, 0.2]),
        price=random.uniform(PRICES[0], PRICES[-1], rows),
        discount=random.uniform(0.0, 0.5, rows),
        assignment="all",
        **{CATEGORY: spend[customer, action], HOUR: random.integers(0, 24, rows).astype(float)},
    )
    hidden = random.normal(0.0, _HIDDEN_SD, CUSTOMERS)[customer]
    # Letters come in campaigns; whatever else is shown belongs to none.
    campaign = pd.Series(random.integers(0, CAMPAIGNS, rows).astype(str)).where(frame["channel"] == "mail")
    frame = with_channel(frame.assign(campaign_id=campaign))
    for label, channels in LABELS.items():
        says_yes = random.random(rows) < expit(market.log_odds(frame, label) + hidden)
        frame[label] = np.where(frame["channel"].isin(channels), says_yes, np.nan)
    return market, frame.assign(any_redeemed=frame["is_redeemed"])


def measure(seed: int) -> list[Row]:
    """Propensity, opens and clicks."""
    market, frame = simulate(seed)
    is_tested = frame["customer_id"].astype(int) >= CUSTOMERS - TESTED
    rows = []
    for label in LABELS:
        is_known = frame[label].notna()
        rows += _measured(label, market, frame[is_known & ~is_tested], frame[is_known & is_tested])
    return rows


@dataclass(frozen=True, slots=True)
class _System:
    name: str
    role: Role
    predict: Predict
    seconds: float | None = None


def _measured(label: Label, market: Market, train: pd.DataFrame, test: pd.DataFrame) -> list[Row]:
    systems = _systems(label, market, train)
    outcome, truth = test[label].to_numpy(np.float64), market.probability(test, label)
    measures = {system.name: _measures(system.predict, test, outcome, truth) for system in systems}
    ours, *others = systems
    asked = [(system, measure, measures[system.name][measure]) for system in systems for measure in _MEASURES]
    for other in others:
        for measure in _MEASURES[:2] if other.role == "peer" else _MEASURES[:1]:
            less = difference(measures[ours.name][measure], measures[other.name][measure])
            asked.append((ours, f"{measure} less that of {other.name}", less))
    intervals = bootstrap(test["customer_id"].to_numpy(dtype=str), *(statistic for _, _, statistic in asked))
    return [
        _row(label, system, measure, interval) for (system, measure, _), interval in zip(asked, intervals, strict=True)
    ]


def _row(label: Label, system: _System, measure: str, interval: Interval) -> Row:
    return Row(
        model="propensity" if label == "is_redeemed" else "engagement",
        data=f"simulated, {label}",
        system=system.name,
        role=system.role,
        measure=measure,
        value=interval.estimate,
        low=interval.low,
        high=interval.high,
        is_better="higher" if measure.startswith("AUC") else "lower",
        seconds=system.seconds,
    )


def _systems(label: Label, market: Market, train: pd.DataFrame) -> Sequence[_System]:
    features = propensity_features(train) if label == "is_redeemed" else engagement_features(train)
    x, outcome = matrix(train, features), train[label].to_numpy(np.float64)
    began = time.perf_counter()
    fitted = _ours(label, train, features)
    systems = [_System("nextbest", "nextbest", _of(features, fitted.model.predict), time.perf_counter() - began)]
    peers = {
        "StandardScaler + LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)),
        "HistGradientBoostingClassifier": HistGradientBoostingClassifier(random_state=0),
    }
    for name, peer in peers.items():
        began = time.perf_counter()
        peer.fit(x, outcome)
        spent = time.perf_counter() - began
        systems.append(_System(name, "peer", _of(features, partial(_second, peer)), spent))
    rates = train.groupby(["action", "channel"])[label].mean()
    systems.append(_System("rate by action and channel", "baseline", lambda rows: _looked_up(rates, rows)))
    systems.append(_System("truth", "truth", lambda rows: market.probability(rows, label)))
    return systems


def _ours(label: Label, train: pd.DataFrame, features: Sequence[FeatureSpec]) -> Response:
    if label == "is_redeemed":
        return propensity.train(train, propensity.Params(features=features))
    return engagement.train(train, engagement.Params(features=features, label=label))


def _of(features: Sequence[FeatureSpec], predict: Callable[[Array], Array]) -> Predict:
    return lambda rows: predict(matrix(rows, features))


def _second(peer: Any, x: Array) -> Array:
    return np.asarray(peer.predict_proba(x)[:, 1])


def _looked_up(rates: pd.Series, rows: pd.DataFrame) -> Array:
    return np.asarray(rates.loc[pd.MultiIndex.from_frame(rows[["action", "channel"]])].to_numpy(np.float64))


def _measures(predict: Predict, test: pd.DataFrame, outcome: Array, truth: Array) -> Mapping[str, Statistic]:
    probability = np.clip(predict(test), 1e-12, 1.0 - 1e-12)
    said: Array = np.abs(1.0 - outcome - probability)  # of what came
    priced = np.column_stack([predict(test.assign(price=price)) for price in PRICES])
    rises = np.max(np.diff(priced, axis=1), axis=1) > _RISES
    found = (
        mean(-np.log(said)),
        auc(outcome.astype(bool), probability),
        _calibration_error(truth, probability),
        mean(np.asarray(rises, dtype=np.float64)),
    )
    return dict(zip(_MEASURES, found, strict=True))


def _calibration_error(truth: Array, probability: Array) -> Statistic:
    """How far predictions are from the truth, in mean over tenths of the rows by rising prediction."""
    errors = np.zeros((len(truth), 10))
    for tenth, rows in enumerate(np.array_split(np.argsort(probability, kind="stable"), errors.shape[1])):
        errors[rows, tenth] = (probability - truth)[rows]

    def statistic(weights: Array) -> Array:
        total: Array = weights @ errors
        return np.asarray(np.abs(total).sum(axis=1) / weights.sum(axis=1))

    return statistic
