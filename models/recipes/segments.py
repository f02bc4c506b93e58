"""A version of segments: what is measured of a division of customers, and what is asked of it.

Belongs here: the measures, the demands. Does not belong here: the fit (`models.segments`), reading the frame
(`models.frames`), or the registry (`models.lifecycle`).

Nothing says which segment is right, so nothing is predicted wrongly: what is measured is how much of the differences
between customers the segments tell, and how stable they are. Names that change every day are worth little: a champion
is kept unless another division tells more.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models import evaluation, frames, segments
from models.arrays import Array
from models.candidate import Candidate, Champion
from models.cards import Words
from models.evaluation import Statistic
from models.frames import TrainingSet
from models.gates import Thresholds
from models.inputs import matrix, segment_features
from models.lifecycle import Recipe
from models.plots import segments_figure
from models.recipes.measures import Measures, of_interval
from models.recipes.trial import Fit, Trial, candidate, trial, trial_of
from models.segments import Segments

NAME = "segments"
THRESHOLDS = Thresholds(champion_margin=-0.01, calibration={"instability": 0.6}, parity=0.001)
WORDS = Words(
    title="Segments of customers",
    what="""\
Kinds of customers that the data itself tells apart (k-means), each named by what sets it apart from everybody. There
are as many as two halves of the customers agree on best.""",
    rows="Rows are customers who have ever bought, with their newest features.",
    labels="None: nobody says which customer is of which kind.",
    measured="""\
`explained` is the part of the variance of the standardized features between segments, `spend_thirds` how much more that
is than between thirds of customers by spend, which anybody could make, `champion_gain` how much more than the champion
tells of all customers. `instability` is 1 less the adjusted Rand index
of the divisions that two halves of the customers come to. Fairness is not measured: a segment promises nobody
anything.""",
    unit="part of the variance",
    time="at",
    limits="""\
- A description, no forecast. A customer between two segments may change with every training.
- A champion is replaced only where another division surely explains more, by a hundredth at least: of all customers,
  since nothing is predicted of any.""",
)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Divide the customers of `data`; each is in training and test, as nothing is predicted of him."""
    frame = data.frame
    fitted = segments.train(frame, segments.Params(features=segment_features(frame)))
    until = frame["at"].max().to_pydatetime()
    chosen = {"segments": len(fitted.segments), **{f"stability_{n}": each for n, each in fitted.stability.items()}}
    fit = Fit(fitted=fitted, chosen=chosen, features=fitted.features, trained_until=until)
    tried = trial(NAME, data, (frame, frame), fit, champion, labels=tuple(each.name for each in fitted.segments))
    instability = {"instability": 1.0 - fitted.stability[len(fitted.segments)]}
    parity = float(np.mean(tried.scores() != fitted.predict(matrix(frame, fitted.features))))
    measures = replace(_measures(tried).with_metrics(instability, instability), parity=parity)
    return candidate(tried, fit, replace(measures, figures={"segments": _figure(fitted)}), THRESHOLDS, WORDS)


def _figure(fitted: Segments) -> Figure:
    features = [feature.name for feature in fitted.features]
    differences = np.array([[each.differences[name] for name in features] for each in fitted.segments])
    return segments_figure([each.name for each in fitted.segments], features, differences)


def measure(data: TrainingSet, version: Champion, champion: Champion | None) -> Measures:
    """What is measured of a version of before, on the customers of today."""
    return _measures(trial_of(version, data, (data.frame, data.frame), champion))


def _measures(tried: Trial) -> Measures:
    """All but what only training knows: how stable the division is, and what the file was made of."""
    frame, said = tried.test, tried.scores()
    z = segments.standardized(matrix(frame, tried.model.features), tried.model.features)
    customers = frame["customer_id"].to_numpy(dtype=str)
    thirds = frame["spend_91d"].rank(method="first", pct=True).mul(3).apply(np.ceil).to_numpy(np.float64)
    own, by_spend = _explained(z, said), _explained(z, thirds)
    rival = tried.rival(frame)
    others = [] if rival is None else [evaluation.difference(own, _explained(z, rival))]
    explained, gain, *over = evaluation.bootstrap(customers, own, evaluation.difference(own, by_spend), *others)
    number = said.astype(np.intp)
    spend = frame["spend_91d"].to_numpy(np.float64)
    metrics = {
        "explained": explained.estimate,
        "explained_low": explained.low,
        "explained_high": explained.high,
        "segments": float(len(tried.model.labels)),
        "smallest_share": float(np.bincount(number, minlength=len(tried.model.labels)).min() / len(frame)),
    }
    subjects = pd.DataFrame(
        {
            "customer_id": customers,
            "segment": np.array(tried.model.labels)[number],
            "actual": spend,
            "predicted": _means(spend, said),
        }
    )
    return Measures(
        metrics=metrics | (of_interval("champion_gain", over[0]) if over else {}),
        gains={"spend_thirds": gain},
        over_champion=over[0] if over else None,
        calibration={},
        subjects=subjects,
        is_fair_by_nature=True,
    )


def _explained(z: Array, group: Array) -> Statistic:
    """The part of the variance between groups, of rows with weights."""
    _, code = np.unique(group, return_inverse=True)
    members = np.eye(int(code.max()) + 1)[code]

    def statistic(weights: Array) -> Array:
        total = weights.sum(axis=1)
        mean = (weights @ z) / total[:, None]
        whole = (weights @ np.square(z).sum(axis=1)) - total * np.square(mean).sum(axis=1)
        counts = weights @ members
        between = -total * np.square(mean).sum(axis=1)
        for each in range(members.shape[1]):
            sums = (weights * members[:, each]) @ z
            between += np.square(sums).sum(axis=1) / np.maximum(counts[:, each], 1e-9)
        return np.asarray(between / whole)

    return statistic


def _means(values: Array, group: NDArray[np.float64]) -> Array:
    """The mean of each row's group."""
    _, code = np.unique(group, return_inverse=True)
    return np.asarray((np.bincount(code, values) / np.bincount(code))[code])


RECIPE = Recipe(NAME, frames.segments_set, build, measure, THRESHOLDS)
