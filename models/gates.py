"""The gate between training and serving: what a model version must show before it may become champion.

Belongs here: the evidence, the thresholds and the verdict, all pure. Does not belong here: measuring
(`models.evaluation`, `models.fairness`, `models.export`) or moving an alias (`models.registry`).

A version that misses a demand stays out. One that misses none, but of which it cannot be told yet whether it falls
behind the champion, goes into the shadow: it scores beside the champion, and acts on nobody.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from models.evaluation import Interval
from nextbest.contracts import Fairness

Demand = Literal[
    "better_than_baselines",
    "not_worse_than_champion",
    "is_calibrated",
    "onnx_says_the_same",
    "is_fair",
    "no_feature_is_newer_than_its_label",
    "is_fast",
]
DEMANDS: tuple[Demand, ...] = get_args(Demand)
Outcome = Literal["met", "undecided", "missed"]
Verdict = Literal["passed", "undecided", "failed"]


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a model. The margin is in the unit of the comparison with the champion.

    `calibration` is the most that each of the evidence's measures of it may be, `latency_ms` the most that scoring a
    hundred rows may take. `fairness` is what the contract of customers says.
    """

    champion_margin: float
    calibration: Mapping[str, float]
    parity: float = 1e-4
    latency_ms: float = 5.0
    fairness: Fairness | None = None


class GroupFairness(msgspec.Struct, frozen=True, kw_only=True):
    """How a model treats a group of a protected field (`models.fairness`).

    Attributes:
        field: The protected field.
        group: Its value.
        rows: Of the group.
        selection_rate: The share of its rows that is selected.
        ratio: That rate over the most favoured group's.
        expected: What the model expects of a row, in mean.
        happened: What came of it, in mean.
        calibration: expected / happened - 1.

    """

    field: str
    group: str
    rows: int
    selection_rate: float
    ratio: Interval
    expected: float
    happened: float
    calibration: Interval


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on rows the model was not trained on.

    Attributes:
        improvements: Over each baseline: more is better, 0 is no difference.
        over_champion: The same over the champion, on rows that neither was trained on; not a number where there is no
            such row, None without a champion.
        calibration: How far predictions are from what happened, by the name of the measure.
        parity: How far the ONNX file is from the model it was made of (`models.export.parity`).
        latency_ms: What scoring a hundred rows takes (`models.export.latency_ms`).
        fairness: By protected group.
        leaks: By feature, in how many rows of training or test it is not what was known at the label's time.

    """

    improvements: Mapping[str, Interval]
    over_champion: Interval | None
    calibration: Mapping[str, float]
    parity: float
    latency_ms: float
    fairness: Sequence[GroupFairness] = ()
    leaks: Mapping[str, int] = {}


class Check(msgspec.Struct, frozen=True):
    """What was found of a demand, and the sentence that says so; `name` tells several of the same demand apart."""

    demand: Demand
    name: str
    outcome: Outcome
    message: str


class GateResult(msgspec.Struct, frozen=True):
    """Every demand, met or not."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        outcomes = {check.outcome for check in self.checks}
        return "failed" if "missed" in outcomes else "undecided" if "undecided" in outcomes else "passed"

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"

    @property
    def reason(self) -> str:
        """Why it did not pass, or that everything was met."""
        worst: Outcome = "missed" if self.verdict == "failed" else "undecided"
        return "; ".join(check.message for check in self.checks if check.outcome == worst) or "every demand is met"


def judge(evidence: Evidence, thresholds: Thresholds) -> GateResult:
    """The verdict on a model version."""
    return GateResult(tuple(_checks(evidence, thresholds)))


def _checks(evidence: Evidence, thresholds: Thresholds) -> Iterator[Check]:
    for baseline, gain in evidence.improvements.items():
        message = f"gain over {baseline} is {gain}; its lower bound must be above 0"
        yield _check("better_than_baselines", f"better_than_{baseline}", message, is_met=gain.low > 0)
    if evidence.over_champion is not None:
        yield not_worse(evidence.over_champion, thresholds)
    for name, limit in thresholds.calibration.items():
        yield _at_most("is_calibrated", name, name, evidence.calibration[name], limit)
    yield _at_most(
        "onnx_says_the_same", "parity", "difference between ONNX and model", evidence.parity, thresholds.parity
    )
    if thresholds.fairness is not None:
        yield from _fair(evidence.fairness, thresholds.fairness)
    yield _no_leak(evidence.leaks)
    yield _at_most(
        "is_fast", "latency_ms", "milliseconds for a hundred rows", evidence.latency_ms, thresholds.latency_ms
    )


def _check(demand: Demand, name: str, message: str, *, is_met: bool) -> Check:
    return Check(demand, name, "met" if is_met else "missed", message)


def not_worse(gain: Interval, thresholds: Thresholds) -> Check:
    """Met where it cannot be worse than the champion by more than the margin, missed where it must be; or undecided."""
    margin = thresholds.champion_margin
    outcome: Outcome = "met" if gain.low >= -margin else "missed" if gain.high < -margin else "undecided"
    told = "" if outcome != "undecided" else ": too little evidence, so it goes into the shadow"
    if math.isnan(gain.estimate):
        told = ": there is no data after both trainings, so it goes into the shadow"
    message = f"gain over the champion is {gain}; its lower bound must be at least {-margin:g}{told}"
    return Check("not_worse_than_champion", "not_worse_than_champion", outcome, message)


def _at_most(demand: Demand, name: str, what: str, value: float, limit: float) -> Check:
    # A value that is not a number passes no comparison, hence no gate.
    return _check(demand, name, f"{what} is {value:.3g}; it must be at most {limit:g}", is_met=value <= limit)


def _fair(groups: Sequence[GroupFairness], limits: Fairness) -> Iterator[Check]:
    """Missed where the evidence is against the model: a group too small to tell is no reason to keep it out."""
    if not groups:
        yield _check("is_fair", "fairness", "of no protected field are there two groups to compare", is_met=True)
    for group in groups:
        who = f"{group.field} {group.group} ({group.rows} rows)"
        rate = f"{who} is selected {group.ratio} times as often as the most favoured group"
        least = limits.selection_rate_ratio
        message = f"{rate}; the upper bound must be at least {least:g}"
        yield _check(
            "is_fair", f"selection_rate_of_{group.field}_{group.group}", message, is_met=not group.ratio.high < least
        )
        error = f"what is expected of {who} is off by {group.calibration}"
        most = limits.calibration_error
        is_met = not (group.calibration.low > most or group.calibration.high < -most)
        message = f"{error}; the interval must reach {-most:g} to {most:g}"
        yield _check("is_fair", f"calibration_of_{group.field}_{group.group}", message, is_met=is_met)


def _no_leak(leaks: Mapping[str, int]) -> Check:
    said = ", ".join(f"{feature} in {rows} rows" for feature, rows in leaks.items())
    message = f"features hold no value, or one that was not the newest known at the label's time: {said}"
    demand: Demand = "no_feature_is_newer_than_its_label"
    return _check(demand, demand, message if leaks else "every feature was known at its label's time", is_met=not leaks)
