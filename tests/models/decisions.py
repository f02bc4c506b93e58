"""Simulated decisions with known effects, for the tests of uplift."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.arrays import Array
from nextbest.model_set import FeatureSpec
from nextbest.records import DO_NOTHING

ACTIONS = ("call", "coupon", "mail")
ACTION_FEATURES = {"call": {"price": 3.0}, "coupon": {"price": 1.0}, "mail": {"price": 0.0}}
FEATURES = (
    FeatureSpec("spend", "customer"),
    FeatureSpec("trend", "customer"),
    FeatureSpec("noise", "customer"),
    FeatureSpec("affinity", "match", -1.0),
    FeatureSpec("price", "action"),
)


@dataclass(frozen=True, slots=True)
class Decisions:
    """A log, the truth of its effects, shape (rows, actions), and what is expected of every arm, shape (rows, arms)."""

    frame: pd.DataFrame
    truth: Array
    expected: Array


def decisions(seed: int, rows: int, *, depends: bool = False, effect: float = 1.0) -> Decisions:
    """Two rows per customer; `mail` does nothing to anybody, a `call` harms whose trend falls."""
    random = np.random.default_rng(seed)
    spend, trend, affinity = random.gamma(1.2, 60.0, rows), random.normal(size=rows), random.gamma(1.0, 5.0, (rows, 3))
    size = np.log1p(spend) - 4.0
    truth = effect * np.column_stack([1.5 * trend, 1.0 - size + np.log1p(affinity[:, 1]) - 1.6, np.zeros(rows)])
    usual = 5.0 + 2.0 * size + 1.5 * trend
    logit = np.column_stack([np.zeros(rows), trend, -trend, size]) if depends else np.zeros((rows, 4))
    pmf = np.exp(logit)
    pmf = 0.1 / 4 + 0.9 * pmf / pmf.sum(axis=1, keepdims=True)
    arm = (random.random((rows, 1)) > np.cumsum(pmf, axis=1)[:, :-1]).sum(axis=1)
    expected = usual[:, None] + np.column_stack([np.zeros(rows), truth])
    names = (DO_NOTHING, *ACTIONS)
    frame = pd.DataFrame({
        "customer_id": (np.arange(rows) // 2).astype(str),
        "decided_at": pd.Timestamp(2026, 1, 5, tz="UTC"),
        "action": np.array(names)[arm],
        "probability": pmf[np.arange(rows), arm],
        "outcome": expected[np.arange(rows), arm] + random.normal(0.0, 1.5, rows),
        "spend": spend, "trend": trend, "noise": random.normal(size=rows),
    } | {f"affinity__{name}": affinity[:, number] for number, name in enumerate(ACTIONS)}
      | {f"probability__{name}": pmf[:, number] for number, name in enumerate(names)})  # fmt: skip
    return Decisions(frame, truth, expected)


def without_pmf(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=[column for column in frame if str(column).startswith("probability__")])
