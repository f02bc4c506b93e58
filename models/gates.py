"""The gate between training and serving: what a model version must show before it may become champion.

Belongs here: the evidence, the thresholds and the verdict, all pure. Does not belong here: measuring
(`models.evaluation`) or moving an alias (`models.registry`).
"""

from collections.abc import Mapping

import msgspec

from models.evaluation import Interval


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a model. The margin is in the unit of the comparison with the champion.

    `calibration` is the most that each of the evidence's measures of it may be.
    """

    champion_margin: float
    calibration: Mapping[str, float]
    parity: float = 1e-4


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on rows the model was not trained on.

    `improvements` over each baseline, and over the champion where there is one: more is better, 0 is no difference.
    `calibration` has how far predictions are from what happened, by the name of the measure.
    `parity` is how far the ONNX file is from the model it was made of (`models.export.parity`).
    """

    improvements: Mapping[str, Interval]
    over_champion: Interval | None
    calibration: Mapping[str, float]
    parity: float


class Check(msgspec.Struct, frozen=True):
    """One demand: what it is called, whether it is met, and the sentence that says so."""

    name: str
    passed: bool
    message: str


class GateResult(msgspec.Struct, frozen=True):
    """Every demand, met or not."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """Why it failed, or that everything was met."""
        return "; ".join(check.message for check in self.checks if not check.passed) or "every check passed"


def judge(evidence: Evidence, thresholds: Thresholds) -> GateResult:
    """The verdict on a model version."""
    checks = [_better(baseline, gain) for baseline, gain in evidence.improvements.items()]
    if evidence.over_champion is not None:
        checks.append(_not_worse(evidence.over_champion, thresholds.champion_margin))
    checks += [
        _at_most(name, name, evidence.calibration[name], limit) for name, limit in thresholds.calibration.items()
    ]
    checks.append(_at_most("parity", "difference between ONNX and model", evidence.parity, thresholds.parity))
    return GateResult(tuple(checks))


def _better(baseline: str, gain: Interval) -> Check:
    passed = gain.low > 0
    return Check(f"better_than_{baseline}", passed, f"gain over {baseline} is {gain}; its lower bound must be above 0")


def _not_worse(gain: Interval, margin: float) -> Check:
    passed = gain.low >= -margin
    return Check(
        "not_worse_than_champion",
        passed,
        f"gain over the champion is {gain}; its lower bound must be at least {-margin}",
    )


def _at_most(name: str, what: str, value: float, limit: float) -> Check:
    # A value that is not a number passes no comparison, hence no gate.
    return Check(name, value <= limit, f"{what} is {value:.3g}; it must be at most {limit:g}")
