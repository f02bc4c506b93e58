"""Buy till you die: lifetime value and P(alive) from four numbers of a customer, by BG/NBD and Gamma-Gamma.

Belongs here: which columns these models read, when they can be fitted, and their fits as models that are served. Does
not belong here: the two models themselves (`models.beta_geometric`, `models.gamma_gamma`).

The columns, all counted in days, purchases of one day being one purchase: `repeat_days`, days with a purchase after
the first; `last_repeat_days`, from the first to the last of them; `observed_days`, since the first; `mean_day_spend`,
the mean spend of the days that `repeat_days` counts, 0 without any. Without a first purchase all four are 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pandas as pd

from models import beta_geometric, beta_geometric_nodes, gamma_gamma
from models.arrays import Array
from models.beta_geometric import BetaGeometric, Histories
from models.beta_geometric_nodes import Columns
from models.doubles import Doubles
from models.errors import TooLittleDataError, TrainingDataError
from models.gamma_gamma import GammaGamma
from models.graphs import Graph
from nextbest.model_set import FeatureSpec, Output

HISTORY = ("repeat_days", "last_repeat_days", "observed_days")
SPEND = "mean_day_spend"
LEAST_REPEAT_BUYERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the matrix that is scored, in order; the four are found among them by name.
        horizon_days: The time ahead whose spend is expected.

    """

    features: Sequence[FeatureSpec]
    horizon_days: float = 91.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchases:
    """BG/NBD on rows of `models.inputs.matrix`: what such a row says of a customer's history, and where."""

    model: BetaGeometric
    columns: tuple[int, ...]

    def histories(self, x: Array) -> Histories:
        """The histories in the rows of `x`; a negative number is 0, and nobody is younger than his last purchase."""
        repeats, recency, age = np.maximum(x[:, list(self.columns)], 0.0).T
        return Histories(repeats, recency, np.maximum(age, recency))

    def nodes(self, graph: Doubles) -> Columns:
        """As `histories`."""
        repeats, recency, age = (graph.column(position) for position in self.columns)
        return Columns(repeats, recency, graph.add("Max", age, recency))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """P(the customer still buys), of a matrix with so many columns."""

    purchases: Purchases
    width: int
    output: Output = "probability"

    def predict(self, x: Array) -> Array:
        """A probability per row of `x`."""
        return self.purchases.model.probability_alive(self.purchases.histories(x))

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(self.width)
        doubles = Doubles(graph)
        logit = beta_geometric_nodes.alive_logit(self.purchases.model, doubles, self.purchases.nodes(doubles))
        return graph.probabilities(doubles.narrowed(logit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """E[spend within the horizon] = E[days with a purchase] x E[mean spend of such a day], as both are independent."""

    purchases: Purchases
    value: GammaGamma
    spend_column: int
    horizon_days: float
    width: int
    output: Output = "value"

    @property
    def alive(self) -> Alive:
        """P(alive) by the same fit."""
        return Alive(purchases=self.purchases, width=self.width)

    def predict(self, x: Array) -> Array:
        """An amount per row of `x`, in the unit of `mean_day_spend`."""
        histories = self.purchases.histories(x)
        days = self.purchases.model.expected_purchases(histories, self.horizon_days)
        return days * self.value.expected_value(histories.repeats, np.maximum(x[:, self.spend_column], 0.0))

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(self.width)
        doubles = Doubles(graph)
        customers = self.purchases.nodes(doubles)
        days = beta_geometric_nodes.expected_purchases(self.purchases.model, doubles, customers, self.horizon_days)
        value = self.value.expected_value_nodes(doubles, customers.repeats, doubles.column(self.spend_column))
        return graph.variable(doubles.narrowed(doubles.add("Mul", days, value)))


def has_history(features: Sequence[FeatureSpec]) -> bool:
    """Whether the columns of `Purchases` are among `features`."""
    return set(HISTORY) <= {feature.name for feature in features}


def has_spend(features: Sequence[FeatureSpec]) -> bool:
    """Whether the columns of `Spend` are among `features`."""
    return has_history(features) and SPEND in {feature.name for feature in features}


def train(frame: pd.DataFrame, params: Params) -> Spend:
    """The model of one row per customer with the four columns, or of several cut-offs: a customer's last one counts.

    Raises:
        TooLittleDataError: fewer than `LEAST_REPEAT_BUYERS` customers bought again, or the values have no mean.
        TrainingDataError: a number is not what its column says.

    """
    latest = _latest(frame)
    purchases = train_purchases(latest, params)
    again = latest[latest["repeat_days"] > 0]
    value = again[SPEND].to_numpy(np.float64)
    wrong = int(np.count_nonzero(~(np.isfinite(value) & (value > 0.0))))
    if wrong:
        raise TrainingDataError(f"{SPEND}: {wrong} customers who bought again have a mean spend that is not above 0")
    return Spend(
        purchases=purchases,
        value=gamma_gamma.fit(again["repeat_days"].to_numpy(np.float64), value),
        spend_column=_position(params.features, SPEND),
        horizon_days=params.horizon_days,
        width=len(params.features),
    )


def train_purchases(frame: pd.DataFrame, params: Params) -> Purchases:
    """BG/NBD alone: `train` without `mean_day_spend`.

    Raises:
        TooLittleDataError: fewer than `LEAST_REPEAT_BUYERS` customers bought again.
        TrainingDataError: a number is not what its column says.

    """
    repeats, recency, age = (_latest(frame)[name].to_numpy(np.float64) for name in HISTORY)
    right = (repeats >= 0.0) & (recency >= 0.0) & (age >= recency) & np.isfinite(age) & ((repeats > 0) | (recency == 0))
    if not right.all():
        raise TrainingDataError(
            f"{', '.join(HISTORY)}: {np.count_nonzero(~right)} customers have a negative or missing number, a last "
            "purchase that lies after now, or one after the first without a repeat"
        )
    again = int(np.count_nonzero(repeats > 0.0))
    if again < LEAST_REPEAT_BUYERS:
        raise TooLittleDataError(
            f"repeat_days: {again} customers bought again, it takes {LEAST_REPEAT_BUYERS} to say how often and how long"
        )
    return Purchases(
        model=beta_geometric.fit(Histories(repeats, recency, age)),
        columns=tuple(_position(params.features, name) for name in HISTORY),
    )


def _latest(frame: pd.DataFrame) -> pd.DataFrame:
    if "cutoff_at" not in frame.columns:
        return frame
    return frame.sort_values("cutoff_at", kind="stable").drop_duplicates("customer_id", keep="last")


def _position(features: Sequence[FeatureSpec], name: str) -> int:
    return [feature.name for feature in features].index(name)
