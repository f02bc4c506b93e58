"""Next-category intent: which category a customer turns to next, from the order of recent events.

Belongs here: the fit of a conditional logit over categories, and what it says of customers. Does not belong here: what
a sequence is turned into (`models.sequences`), or which action belongs to a category (policies).
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.optimize import minimize

from models import sequences
from models.arrays import Array
from models.errors import TooLittleDataError, TrainingDataError
from models.graphs import FEATURES, Graph
from models.sequences import Codes, Events, Moments, Tables
from nextbest.model_set import FeatureSpec, Output

_WEIGHTS = "weights"
_CELLS = 200_000  # moments x categories held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        moments: That the weights are estimated on; what follows what is counted over all events.
        candidates: Categories that a moment's choice is fitted among, at most: the one chosen and others at random.
        folds: Of customers: a moment's features count only what customers of other folds did.
        penalty: On the square of weights of standardized features, per moment.
        least_events: To learn from.
        seed: Of moments, candidates and folds.

    """

    moments: int = 20_000
    candidates: int = 50
    folds: int = 4
    penalty: float = 1e-4
    least_events: int = 200
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The utility of a category at a moment, from its features: a value.

    P(next category) is the softmax of the utilities of all categories at that moment, which is the caller's to take:
    a row knows nothing of the others. Only the weights are learned: what follows what is counted, by whoever asks.
    """

    categories: pd.Index
    counted: Tables
    weights: Array
    features: tuple[FeatureSpec, ...] = tuple(FeatureSpec(name, "match") for name in sequences.NAMES)
    output: Output = "value"

    def predict(self, x: Array) -> Array:
        """The utility of each row of `x`."""
        return np.asarray(x @ self.weights)

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(len(self.weights))
        weights = graph.constant(_WEIGHTS, self.weights[:, None].astype(np.float32))
        return graph.variable(graph.add("MatMul", FEATURES, weights))

    def probabilities(self, known: Events, moments: Moments) -> Array:
        """P(next category), shape (moments, categories)."""
        answer = np.empty((len(moments.end), len(self.categories)))
        for rows in _batches(len(answer), len(self.categories)):
            utility = sequences.features(known, moments[rows], self.counted) @ self.weights
            answer[rows] = np.exp(utility - utility.max(axis=1, keepdims=True))
        total: Array = answer.sum(axis=1, keepdims=True)
        return answer / total


def train(frame: pd.DataFrame, params: Params) -> Intent:
    """Learn from `frame`, one row per event, in any order.

    Columns: `customer_id`, `session_id` (text or null), `category`, `type` (`models.sequences.TYPES`), `occurred_at`.

    Each event is a choice among all categories, made with what its customer did before: a conditional logit (McFadden,
    1974). Where categories are many, it is fitted among the chosen and some drawn at random, which is consistent too
    (McFadden, 1978).

    Raises:
        TooLittleDataError: too few events, or of one category.

    """
    categories = pd.Index(np.sort(frame["category"].unique()))
    if len(frame) < params.least_events or len(categories) == 1:
        raise TooLittleDataError(
            f"intent: {len(frame)} events of {len(categories)} categories: it takes {params.least_events} of at least 2"
        )
    known = sequences.events(frame, categories)
    random = np.random.default_rng(params.seed)
    fold = random.integers(0, params.folds, len(known.customers))
    chosen = np.sort(random.permutation(len(known.when))[: params.moments])
    x = [
        _choices(known, chosen[fold[known.customer[chosen]] == each], fold != each, len(categories), params)
        for each in range(params.folds)
    ]
    everybody = np.ones(len(known.customers), dtype=np.bool_)
    return Intent(
        categories=categories,
        counted=sequences.tables(known, len(categories), everybody),
        weights=_conditional_logit(np.concatenate(x), params.penalty),
    )


def restored(content: bytes, frame: pd.DataFrame) -> Intent:
    """What the version in a file says where what follows what is counted over `frame`, events as `train` has them.

    Raises:
        TrainingDataError: the version takes other features than there are.

    """
    constants = {each.name: each for each in onnx.load_from_string(content).graph.initializer}
    weights = numpy_helper.to_array(constants[_WEIGHTS])[:, 0].astype(np.float64)
    if len(weights) != len(sequences.NAMES):
        raise TrainingDataError(
            f"intent: this version weighs {len(weights)} features, there are {len(sequences.NAMES)}: train another"
        )
    categories = pd.Index(np.sort(frame["category"].unique()))
    known = sequences.events(frame, categories)
    everybody = np.ones(len(known.customers), dtype=np.bool_)
    return Intent(categories=categories, counted=sequences.tables(known, len(categories), everybody), weights=weights)


def next_categories(fitted: Intent, frame: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The likeliest next category at `now` of each customer with an event by then.

    One row per customer: `customer_id`, `category`, `probability`. Columns of `frame` as in `train`; events after
    `now`, and of categories that the fit has never seen, are not looked at.
    """
    known = sequences.events(frame[frame["occurred_at"] <= now], fitted.categories)
    count = len(known.customers)
    moments = Moments(customer=np.arange(count), end=known.start[1:], now=np.full(count, now.timestamp()))
    likeliest, probability = np.zeros(count, dtype=np.intp), np.empty(count)
    for rows in _batches(count, len(fitted.categories)):
        of_all = fitted.probabilities(known, moments[rows])
        likeliest[rows], probability[rows] = of_all.argmax(axis=1), of_all.max(axis=1)
    category = fitted.categories.to_numpy()[likeliest]
    return pd.DataFrame({"customer_id": known.customers, "category": category, "probability": probability})


def _choices(known: Events, rows: Codes, is_taken: NDArray[np.bool_], categories: int, params: Params) -> Array:
    """Features of the candidates of the events `rows`, the one that was chosen first."""
    counted = sequences.tables(known, categories, is_taken)
    random = np.random.default_rng(params.seed)
    taken = min(categories, params.candidates)
    found = np.empty((len(rows), taken, len(sequences.NAMES)))
    for batch in _batches(len(rows), categories):
        of_all = sequences.features(known, sequences.before(known, rows[batch]), counted)
        rank = random.random(of_all.shape[:2])
        np.put_along_axis(rank, known.category[rows[batch]][:, None], -1.0, axis=1)
        candidate = np.argsort(rank, axis=1)[:, :taken]
        found[batch] = np.take_along_axis(of_all, candidate[:, :, None], axis=1)
    return found


def _conditional_logit(x: Array, penalty: float) -> Array:
    """Weights of the features `x`, shape (choices, candidates, features), the first candidate chosen."""
    within = x - x.mean(axis=1, keepdims=True)  # what all candidates have in common decides nothing
    scale = np.sqrt(np.square(within).mean(axis=(0, 1)))
    scale[scale == 0.0] = 1.0
    z = within / scale

    def loss(weights: Array) -> tuple[float, Array]:
        utility = z @ weights
        top = utility.max(axis=1, keepdims=True)
        exponential = np.exp(utility - top)
        total = exponential.sum(axis=1, keepdims=True)
        value = (top + np.log(total))[:, 0] - utility[:, 0]
        share = exponential / total
        share[:, 0] -= 1.0
        gradient = share.ravel() @ z.reshape(-1, z.shape[2]) / len(z)
        return float(value.mean() + penalty * weights @ weights), gradient + 2 * penalty * weights

    found = minimize(loss, np.zeros(x.shape[2]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x / scale)


def _batches(rows: int, width: int) -> list[slice]:
    step = max(1, _CELLS // width)
    return [slice(start, start + step) for start in range(0, rows, step)]
