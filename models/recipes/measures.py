"""How good a model is, beside its baselines and the champion: of probabilities, and of amounts.

Belongs here: the measures every recipe of a kind has in common, under the names that MLflow shows. Does not belong
here: statistics (`models.evaluation`), or which rows are measured (each recipe).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models import evaluation
from models.arrays import Array
from models.calibration import Expectation
from models.evaluation import UNTOLD, Interval, Statistic
from models.plots import calibration_figure, gain_figure

Gain = Callable[[Array, Array, Array], Statistic]
"""Of actual, a model's predictions and another's: by how much the model is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What came of rows, and what the model and others said of them.

    Attributes:
        subjects: `customer_id`, `at`, `segment`, `actual` (0 or 1, or an amount) and `predicted`.
        baselines: Predictions by name.
        rival: The champion's; None without one.
        is_unseen: Rows that neither the model nor the champion was trained on.
        unit: What is predicted, in words.

    """

    subjects: pd.DataFrame
    baselines: Mapping[str, Array]
    rival: Array | None
    is_unseen: NDArray[np.bool_]
    unit: str

    @property
    def actual(self) -> Array:
        return self.subjects["actual"].to_numpy(np.float64)

    @property
    def predicted(self) -> Array:
        return self.subjects["predicted"].to_numpy(np.float64)

    @property
    def customers(self) -> NDArray[np.str_]:
        return self.subjects["customer_id"].to_numpy(dtype=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What was measured.

    Attributes:
        metrics: By name.
        gains: Over each baseline.
        over_champion: As `models.gates.Evidence` has it.
        calibration: Of the metrics, those that the thresholds limit.
        expectations: What these are told by, where it is labels, under the same names.
        subjects: Of `Rows`: whom fairness and segments are measured by.
        figures: By name.
        parity: How far the file is from the model, where that is another measure than `models.export.parity`.
        is_fair_by_nature: What is said of a customer does nobody good or ill.

    """

    metrics: Mapping[str, float]
    gains: Mapping[str, Interval]
    over_champion: Interval | None
    calibration: Mapping[str, float]
    subjects: pd.DataFrame
    expectations: Mapping[str, Expectation] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    parity: float | None = None
    is_fair_by_nature: bool = False

    def as_fair_by_nature(self) -> "Measures":
        """These, of a model that does nobody good or ill."""
        return replace(self, is_fair_by_nature=True)

    def with_metrics(self, metrics: Mapping[str, float], calibration: Mapping[str, float] | None = None) -> "Measures":
        """These and more."""
        return replace(
            self, metrics={**self.metrics, **metrics}, calibration={**self.calibration, **(calibration or {})}
        )


def of_probabilities(rows: Rows) -> Measures:
    """AUC with its differences, log loss, and calibration error; a gain is a difference of AUC."""
    actual, own = rows.actual, rows.predicted
    others = {name: _auc(actual, score) for name, score in rows.baselines.items()}
    mine = _auc(actual, own)
    differences = [evaluation.difference(mine, other) for other in others.values()]
    auc, *intervals = evaluation.bootstrap(rows.customers, mine, *differences)
    gains = dict(zip(others, intervals, strict=True))
    error = evaluation.calibration_error(actual, own)
    metrics = of_interval("auc", auc) | {
        "rate": float(actual.mean()),
        "log_loss": evaluation.log_loss(actual, own),
        "calibration_error": error,
    }
    everyone = np.ones((1, len(actual)))
    for name, gain in gains.items():
        metrics[f"{name}_auc"] = float(others[name](everyone)[0])
        metrics |= of_interval(f"{name}_auc_difference", gain)
    champion, over_champion = _over_champion(rows, "auc_difference", _auc_gain)
    return Measures(
        metrics=metrics | champion,
        gains=gains,
        over_champion=over_champion,
        calibration={"calibration_error": error},
        subjects=rows.subjects,
        expectations={"calibration_error": Expectation(rows.subjects)},
        figures=_figures(rows),
    )


def of_amounts(rows: Rows) -> Measures:
    """Mean absolute error and rank correlation, each with its gains, and how far the sum is off.

    A gain `<other>_mae` is the part of the other's error that is gone, `<other>_spearman` a difference.
    """
    actual, own = rows.actual, rows.predicted
    ranks = {name: evaluation.spearman(actual, other) for name, other in rows.baselines.items()}
    rank = evaluation.spearman(actual, own)
    statistics: dict[str, Statistic] = {}
    for name in sorted(rows.baselines):
        statistics[f"{name}_mae"] = evaluation.error_reduction(actual, own, rows.baselines[name])
        statistics[f"{name}_spearman"] = evaluation.difference(rank, ranks[name])
    error = evaluation.mean_absolute_error(actual, own)
    mae, spearman, *intervals = evaluation.bootstrap(rows.customers, error, rank, *statistics.values())
    gains = dict(zip(statistics, intervals, strict=True))
    bias = float(own.sum() / actual.sum() - 1.0)
    metrics = of_interval("mae", mae) | of_interval("spearman", spearman) | {"bias": bias}
    everyone = np.ones((1, len(actual)))
    for name, other in rows.baselines.items():
        metrics[f"{name}_mae"] = float(np.abs(actual - other).mean())
        metrics[f"{name}_spearman"] = float(ranks[name](everyone)[0])
    for name, gain in gains.items():
        metrics |= of_interval(f"{name}_gain", gain)
    champion, over_champion = _over_champion(rows, "mae_gain", evaluation.error_reduction)
    return Measures(
        metrics=metrics | champion,
        gains=gains,
        over_champion=over_champion,
        calibration={"absolute_bias": abs(bias)},
        subjects=rows.subjects,
        expectations={"absolute_bias": Expectation(rows.subjects, is_share=True)},
        figures=_figures(rows),
    )


def of_likelihoods(rows: Rows, shown: pd.DataFrame | None = None) -> Measures:
    """Log loss, and by how much likelier what happened was to the model than to others, in nats; calibration error.

    Args:
        rows: What was predicted is a probability: of a 1, or, where every `actual` is 1, of what happened.
        shown: Other subjects, whom calibration, segments and fairness are measured by.

    """
    actual, own = rows.actual, rows.predicted
    subjects = rows.subjects if shown is None else shown
    statistics = {name: evaluation.likelihood_gain(actual, own, other) for name, other in rows.baselines.items()}
    loss = evaluation.mean(-evaluation.log_likelihood(actual, own))
    surprise, *intervals = evaluation.bootstrap(rows.customers, loss, *statistics.values())
    gains = dict(zip(statistics, intervals, strict=True))
    happened, expected = (subjects[name].to_numpy(np.float64) for name in ("actual", "predicted"))
    error = evaluation.calibration_error(happened, expected)
    metrics = of_interval("log_loss", surprise) | {"calibration_error": error}
    for name, gain in gains.items():
        metrics |= of_interval(f"{name}_gain", gain)
    champion, over_champion = _over_champion(rows, "gain", evaluation.likelihood_gain)
    return Measures(
        metrics=metrics | champion,
        gains=gains,
        over_champion=over_champion,
        calibration={"calibration_error": error},
        subjects=subjects,
        expectations={"calibration_error": Expectation(subjects)},
        figures={"calibration": calibration_figure(happened, expected, rows.unit)},
    )


def _over_champion(rows: Rows, name: str, gain: Gain) -> tuple[dict[str, float], Interval | None]:
    """The gain over the champion, on the rows that neither was trained on."""
    if rows.rival is None:
        return {}, None
    seen = rows.is_unseen
    if not seen.any():
        return {"champion_rows": 0.0}, UNTOLD
    statistic = gain(rows.actual[seen], rows.predicted[seen], rows.rival[seen])
    [interval] = evaluation.bootstrap(rows.customers[seen], statistic)
    return {"champion_rows": float(seen.sum())} | of_interval(f"champion_{name}", interval), interval


def _auc(actual: Array, predicted: Array) -> Statistic:
    return evaluation.auc(actual > 0, predicted)


def _auc_gain(actual: Array, predicted: Array, other: Array) -> Statistic:
    return evaluation.difference(_auc(actual, predicted), _auc(actual, other))


def of_interval(name: str, interval: Interval) -> dict[str, float]:
    """An interval as three metrics."""
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _figures(rows: Rows) -> dict[str, Figure]:
    everybody = {"model": rows.predicted} | dict(rows.baselines)
    return {
        "calibration": calibration_figure(rows.actual, rows.predicted, rows.unit),
        "gain": gain_figure(rows.actual, everybody, rows.unit),
    }
