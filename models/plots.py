"""The figures runs show: is it calibrated, how much does its order gain, what its actions bring; and one of its data.

Belongs here: drawing. Does not belong here: the numbers drawn (`models.evaluation`).

Figures are built without pyplot, which keeps global state and asks for a display.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from models.arrays import Array
from models.evaluation import calibration_curve, gain_curve
from models.uplift_evaluation import Ranking, uplift_curve

_SIZE = (5.0, 4.0)


def calibration_figure(outcome: Array, predicted: Array, unit: str) -> Figure:
    """Mean outcome over mean prediction in ten groups of equal size."""
    curve = calibration_curve(outcome, predicted)
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    most = float(curve[:, :2].max())
    axes.plot([0, most], [0, most], color="grey", linestyle="--", label="perfect")
    axes.plot(curve[:, 0], curve[:, 1], marker="o", label="model")
    axes.set(title="Calibration on later data", xlabel=f"predicted, {unit}", ylabel=f"observed, {unit}")
    axes.legend()
    return figure


def gain_figure(outcome: Array, scores: dict[str, Array], unit: str) -> Figure:
    """The part of the outcome reached by contacting the best-scored part of the rows, per score."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    part = np.linspace(0, 1, len(outcome) + 1)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="at random")
    for name, score in scores.items():
        axes.plot(part, gain_curve(outcome, score), label=name)
    axes.set(title="Gain on later data", xlabel="best-scored part of the rows", ylabel=f"part of {unit} reached")
    axes.legend()
    return figure


def qini_figure(rankings: dict[str, Ranking], unit: str) -> Figure:
    """What is gained per customer over the part treated, best-scored first, and the line of treating at random."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for name, ranked in rankings.items():
        curve = uplift_curve(ranked)
        [line] = axes.plot(np.linspace(0, 1, len(curve)), curve, label=name)
        axes.plot([0, 1], [0, curve[-1]], color=line.get_color(), linestyle="--")
    axes.set(title="Uplift on later data", xlabel="best-scored part of the customers", ylabel=f"{unit} per customer")
    axes.legend()
    return figure


def hours_figure(curves: dict[str, Array], unit: str) -> Figure:
    """A curve over the hours of the day, per group."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(np.arange(len(curve)), curve, label=name)
    axes.set(
        title="Hours of whom nothing else is known", xlabel="hour of the customer's clock", ylabel=unit, ylim=(0, 1)
    )
    axes.legend(fontsize="x-small")
    return figure


def segments_figure(names: Sequence[str], features: Sequence[str], differences: Array) -> Figure:
    """How far each segment's mean of each feature is from everybody's, in standard deviations: red above, blue below.

    Args:
        names: Of segments.
        features: Names.
        differences: Shape (segments, features).

    """
    figure = Figure(figsize=(2.0 + 0.28 * len(features), 2.5 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    most = float(np.abs(differences).max(initial=1.0))
    image = axes.imshow(differences, cmap="coolwarm", vmin=-most, vmax=most, aspect="auto")
    axes.set_xticks(range(len(features)), features, rotation=60, ha="right", fontsize="x-small")
    axes.set_yticks(range(len(names)), names, fontsize="x-small")
    axes.set(title="What sets segments apart")
    figure.colorbar(image, label="standard deviations from everybody")
    return figure


def shares_figure(name: str, before: Sequence[int], now: Sequence[int]) -> Figure:
    """The share of the rows in each bin of a column, before and now."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for label, rows, offset in (("before", before, -0.2), ("now", now, 0.2)):
        counts = np.asarray(rows, dtype=np.float64)
        axes.bar(np.arange(len(counts)) + offset, counts / counts.sum(), width=0.4, label=label)
    axes.set(title=name, xlabel="bin; the last one is null", ylabel="share of the rows")
    axes.legend()
    return figure
