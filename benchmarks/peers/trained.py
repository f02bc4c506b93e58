"""The models of the benchmark, small but trained: whether a customer redeems an action's coupon, and what they spend.

Belongs here: the rows they learn from, fitting, and the two forms they are served in: ONNX in a bundle, and a
scikit-learn model logged to MLflow. Both are the same trees. Does not belong here: the customers (`customers`).
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from benchmarks.peers.customers import CATEGORY, KEYS, MARTS, NOW, marts, wide
from nextbest.model_set import FeatureSpec, Model, ModelSet, model_set

FEATURES = 60
_PLAIN = tuple(mart for mart in MARTS if mart != "category_affinity")
_TREES: dict[str, Any] = {"max_iter": 200, "max_leaf_nodes": 15, "random_state": 0}
_ROWS = 20_000
_OPSET = 17
_CONTEXT = ("campaign_type_a", "campaign_type_b", "campaign_type_c")


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted model and the names of its columns, in order."""

    estimator: Any
    features: tuple[FeatureSpec, ...]
    example: pd.DataFrame

    @property
    def is_classifier(self) -> bool:
        return isinstance(self.estimator, HistGradientBoostingClassifier)

    def onnx(self) -> bytes:
        """Input `features`, output `probabilities` or `variable`."""
        shape = [("features", FloatTensorType([None, len(self.features)]))]
        options = {"zipmap": False} if self.is_classifier else None
        content: bytes = to_onnx(
            self.estimator, initial_types=shape, options=options, target_opset=_OPSET
        ).SerializeToString()
        return content


def propensity_features() -> tuple[FeatureSpec, ...]:
    """Sixty: the customer's, what they spend in the action's category, the action's own, and other categories'."""
    plain = [FeatureSpec(name, "customer") for mart in _PLAIN for name in _names(mart)]
    own = [FeatureSpec(CATEGORY, "match"), FeatureSpec("share", "action")]
    context = [FeatureSpec(name, "context") for name in _CONTEXT]
    others = [FeatureSpec(name, "customer") for name in _names("category_affinity")]
    return tuple((plain + own + context + others)[:FEATURES])


@cache
def propensity(actions: tuple[str, ...]) -> Trained:
    """Fitted to answers drawn from a known tendency: who buys the category and redeems often, redeems again."""
    features, chance = propensity_features(), np.random.default_rng(21)
    frame = _frame(features, [actions[i] for i in chance.integers(0, len(actions), _ROWS)], chance)
    tendency = 0.4 * np.log1p(frame[CATEGORY]) + 3.0 * frame["response_rate_364d"] + 8.0 * frame["share"] - 4.5
    redeemed = chance.uniform(size=_ROWS) < 1.0 / (1.0 + np.exp(-tendency))
    estimator = HistGradientBoostingClassifier(**_TREES).fit(frame, redeemed)
    return Trained(estimator, features, frame[:5])


@cache
def lifetime_value() -> Trained:
    """Fitted to a spend that goes on about as it was."""
    features, chance = (
        tuple(each for each in propensity_features() if each.origin == "customer"),
        np.random.default_rng(22),
    )
    frame = _frame(features, [""] * _ROWS, chance)
    spent = frame["spend_91d"] * chance.lognormal(0.0, 0.3, _ROWS)
    return Trained(HistGradientBoostingRegressor(**_TREES).fit(frame, spent), features, frame[:5])


def share(action: str) -> float:
    """The model's own feature of an action: anything from 0.01 to 0.15 that stays the same."""
    return 0.01 * (1 + len(action) % 15)


def bundle(actions: tuple[str, ...]) -> tuple[ModelSet, dict[str, bytes]]:
    """A model set of both, and its files."""
    files = {"propensity.onnx": propensity(actions).onnx(), "clv.onnx": lifetime_value().onnx()}
    models = [
        Model(
            name=file.removesuffix(".onnx"),
            version="1",
            run_id="benchmark",
            file=file,
            sha256=hashlib.sha256(content).hexdigest(),
            features=trained.features,
            action_features={action: {"share": share(action)} for action in actions} if trained.is_classifier else {},
            output="probability" if trained.is_classifier else "value",
        )
        for (file, content), trained in zip(files.items(), (propensity(actions), lifetime_value()), strict=True)
    ]
    return model_set(models, NOW), files


def _names(mart: str) -> list[str]:
    return [name for name in marts()[mart].column_names if name not in KEYS]


def _frame(features: tuple[FeatureSpec, ...], actions: list[str], chance: np.random.Generator) -> pd.DataFrame:
    """A row per action, each of a customer drawn at random."""
    customers = wide().drop_columns(list(KEYS)).to_pandas()
    drawn = customers.iloc[chance.integers(0, len(customers), len(actions))].reset_index(drop=True)
    columns = {feature.name: _column(feature, drawn, actions) for feature in features}
    return pd.DataFrame(columns).astype(np.float64)


def _column(feature: FeatureSpec, drawn: pd.DataFrame, actions: list[str]) -> Any:
    match feature.origin:
        case "customer":
            return drawn[feature.name]
        case "match":
            wanted = drawn.columns.get_indexer(pd.Index([f"{feature.name}__{action}" for action in actions]))
            return drawn.to_numpy()[np.arange(len(drawn)), wanted]
        case "action":
            return [share(action) for action in actions]
        case "context":
            return 0.0 if feature.name != _CONTEXT[0] else 1.0
