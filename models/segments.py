"""Segments: kinds of customers that the data itself tells apart, each named by what sets it apart.

Belongs here: the fit, how many segments there are, and their names. Does not belong here: where the columns come from
(`models.inputs`), or what is done for a segment (policies).

Amounts and counts are heavy-tailed and shares pile up at zero: amounts pass log1p, shares the square root (distances
between square roots of shares are Hellinger's, which a rare department does not dominate), and all are standardized.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from models.arrays import Array
from models.errors import TooLittleDataError
from models.graphs import FEATURES, Graph
from models.inputs import DEPARTMENT_PREFIX, SEGMENT_WORDS, matrix
from nextbest.model_set import FeatureSpec, Output

_DEPARTMENTS = {"drug_gm": "drugstore", "meat_pckgd": "packed meat", "produce": "fresh produce", "meat": "fresh meat"}
_SMALLEST = 50  # customers of a segment that is worth a name, in mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order (`models.inputs.segment_features`).
        least: Segments.
        most: Segments.
        splits: Into halves, that show how stable a number of segments is.
        tolerance: Stability (adjusted Rand index) that is given up to tell more segments apart.
        starts: Of k-means, of which the best is kept.
        sample: Customers that the centres are found on; all are assigned.
        words: In a name, at most, unless it takes more to tell it from another.
        notable: Difference from everybody, in standard deviations, that is worth a word.
        seed: Of splits, starts and sample.

    """

    features: Sequence[FeatureSpec]
    least: int = 3
    most: int = 8
    splits: int = 8
    tolerance: float = 0.01
    starts: int = 5
    sample: int = 20_000
    words: int = 3
    notable: float = 0.25
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment.

    Attributes:
        number: From 0, the largest first: what the model answers.
        name: Unique; the features that differ most, in words.
        customers: Of those it was found on.
        share: Of all customers.
        means: By feature, in the feature's unit.
        differences: By feature, of the segment's mean from everybody's: standard deviations of the transformed feature.

    """

    number: int
    name: str
    customers: int
    share: float
    means: Mapping[str, float]
    differences: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """The segment of the nearest centre: the largest of `transformed(x) @ weights + bias`.

    That is the squared Euclidean distance to each centre among standardized features, less what all have in common, its
    sign turned. A customer who stands between two centres to the seventh digit may fall to the other in float32.
    """

    features: tuple[FeatureSpec, ...]
    is_share: NDArray[np.bool_]
    weights: Array
    bias: Array
    segments: tuple[Segment, ...]
    stability: Mapping[int, float]
    output: Output = "value"

    def predict(self, x: Array) -> Array:
        """Each row's segment, by number."""
        return np.asarray(np.argmax(self.closeness(x), axis=1), dtype=np.float64)

    def closeness(self, x: Array) -> Array:
        """How near each row is to each centre, shape (rows, segments): the nearest is the largest."""
        return np.asarray(_transformed(x, self.is_share) @ self.weights + self.bias)

    def names(self, x: Array) -> NDArray[np.str_]:
        """Each row's segment, by name."""
        names = np.array([segment.name for segment in self.segments])
        return np.asarray(names[np.argmax(self.closeness(x), axis=1)])

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(len(self.features))
        positive = graph.add("Relu", FEATURES)
        share = self.is_share.astype(np.float32)[None, :]
        amounts = graph.add("Mul", graph.add("Log", graph.add("Add", positive, 1.0)), 1.0 - share)
        given = graph.add("Add", amounts, graph.add("Mul", graph.add("Sqrt", positive), share))
        product = graph.add("MatMul", given, self.weights.astype(np.float32))
        nearest = graph.add("ArgMax", graph.add("Add", product, self.bias.astype(np.float32)[None, :]), axis=1)
        return graph.variable(graph.add("Cast", nearest, to=onnx.TensorProto.FLOAT))


def train(frame: pd.DataFrame, params: Params) -> Segments:
    """Segments of the customers of `frame`, one row each, with the columns that `params.features` names.

    k-means. A number of segments is as good as it is stable (Ben-Hur, Elisseeff & Guyon, 2002): centres found on two
    random halves of the customers must divide all customers alike, by the adjusted Rand index (Hubert & Arabie, 1985,
    eq. 5). The largest number is taken that is less stable than the most stable one by no more than the tolerance.

    Raises:
        TooLittleDataError: too few customers for so many segments.

    """
    if len(frame) < _SMALLEST * params.most:
        raise TooLittleDataError(
            f"segments: {len(frame)} customers are too few: it takes {_SMALLEST * params.most} to tell up to "
            f"{params.most} segments apart"
        )
    x = matrix(frame, params.features)
    is_share = _are_shares(params.features)
    mean, scale, z = _standardized(_transformed(x, is_share))
    random = np.random.default_rng(params.seed)
    sample = z[random.permutation(len(z))[: params.sample]]
    agreements = {count: _agreement(sample, count, params) for count in range(params.least, params.most + 1)}
    centres = _centres(sample, _most_stable(agreements, params.tolerance), params.starts, params.seed)
    assigned = _nearest(z, centres)
    centres = centres[np.argsort(-np.bincount(assigned, minlength=len(centres)), kind="stable")]
    return Segments(
        features=tuple(params.features),
        is_share=is_share,
        weights=centres.T / scale[:, None],
        bias=-centres @ (mean / scale) - np.square(centres).sum(axis=1) / 2,
        segments=_described(x, z, _nearest(z, centres), params),
        stability=MappingProxyType(agreements),
    )


def standardized(x: Array, features: Sequence[FeatureSpec]) -> Array:
    """Rows as distances are measured between them."""
    return _standardized(_transformed(x, _are_shares(features)))[2]


def _are_shares(features: Sequence[FeatureSpec]) -> NDArray[np.bool_]:
    return np.array(["_share" in feature.name for feature in features])


def _standardized(raw: Array) -> tuple[Array, Array, Array]:
    """Means, deviations, and the rows in these units."""
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    scale[scale < 1e-12] = 1.0  # noqa: PLR2004  a column that is the same for everybody
    return mean, scale, (raw - mean) / scale


def _transformed(x: Array, is_share: NDArray[np.bool_]) -> Array:
    positive = np.maximum(x, 0.0)
    return np.asarray(np.where(is_share, np.sqrt(positive), np.log1p(positive)))


def _centres(z: Array, count: int, starts: int, seed: int) -> Array:
    return np.asarray(KMeans(count, n_init=starts, random_state=seed).fit(z).cluster_centers_)


def _nearest(z: Array, centres: Array) -> NDArray[np.int64]:
    return np.asarray(np.argmax(z @ centres.T - np.square(centres).sum(axis=1) / 2, axis=1))


def _agreement(z: Array, count: int, params: Params) -> float:
    """How alike the two halves of a split divide everybody, in mean over splits."""
    found = np.empty(params.splits)
    for split in range(params.splits):
        order = np.random.default_rng([params.seed, split]).permutation(len(z))
        halves = np.array_split(order, 2)
        one, other = (_nearest(z, _centres(z[half], count, params.starts, params.seed + split)) for half in halves)
        found[split] = adjusted_rand_score(one, other)
    return float(found.mean())


def _most_stable(agreements: Mapping[int, float], tolerance: float) -> int:
    enough = max(agreements.values()) - tolerance
    return max(count for count, agreement in agreements.items() if agreement >= enough)


def _described(x: Array, z: Array, assigned: NDArray[np.int64], params: Params) -> tuple[Segment, ...]:
    columns = [feature.name for feature in params.features]
    taken: list[str] = []
    found = []
    for number in range(int(assigned.max()) + 1):
        is_in = assigned == number
        differences = dict(zip(columns, z[is_in].mean(axis=0).tolist(), strict=True))
        taken.append(_name(differences, params, taken))
        segment = Segment(
            number=number,
            name=taken[-1],
            customers=int(is_in.sum()),
            share=float(is_in.mean()),
            means=MappingProxyType(dict(zip(columns, x[is_in].mean(axis=0).tolist(), strict=True))),
            differences=MappingProxyType(differences),
        )
        found.append(segment)
    return tuple(found)


def _name(differences: Mapping[str, float], params: Params, taken: Sequence[str]) -> str:
    notable = {name: by for name, by in differences.items() if abs(by) >= params.notable}
    words = [_word(name, by) for name, by in sorted(notable.items(), key=lambda each: -abs(each[1]))]
    names = [", ".join(words[:count]) for count in range(params.words, len(words))]
    whole = ", ".join(words) or "like everybody"
    numbered = (f"{whole} ({number})" for number in range(2, len(taken) + 3))
    return next(name for name in (*names, whole, *numbered) if name not in taken)


def _word(feature: str, difference: float) -> str:
    is_low = int(difference < 0)
    if feature in SEGMENT_WORDS:
        return SEGMENT_WORDS[feature][is_low]
    department = feature.removeprefix(DEPARTMENT_PREFIX)
    return f"{('much', 'little')[is_low]} {_DEPARTMENTS.get(department, department.replace('_', ' '))}"
