"""Each demand of the gate fails for its own reason, and says it."""

import math

import msgspec
import pytest

from models.evaluation import Interval
from models.gates import Evidence, GateResult, Thresholds, judge

THRESHOLDS = Thresholds(champion_margin=0.01, calibration={"calibration_error": 0.05, "row_error": 0.1})
GOOD = Evidence(
    improvements={"campaign_type": Interval(0.2, 0.1, 0.3)},
    over_champion=Interval(0.0, -0.005, 0.005),
    calibration={"calibration_error": 0.02, "row_error": 0.02},
    parity=1e-6,
)


def with_(**changes: object) -> Evidence:
    return msgspec.structs.replace(GOOD, **changes)


def test_a_model_that_meets_every_demand_passes() -> None:
    """The gate is no wall."""
    result = judge(GOOD, THRESHOLDS)
    assert result.passed
    assert result.reason == "every check passed"


def test_the_first_version_has_no_champion_to_be_compared_with() -> None:
    """Nothing to fall behind: the demand is not made."""
    assert judge(with_(over_champion=None), THRESHOLDS).passed


@pytest.mark.parametrize(
    ("evidence", "name", "words"),
    [
        (with_(improvements={"past_rate": Interval(0.1, 0.0, 0.2)}), "better_than_past_rate", "gain over past_rate"),
        (with_(over_champion=Interval(0.0, -0.02, 0.02)), "not_worse_than_champion", "gain over the champion"),
        (
            with_(calibration={"calibration_error": 0.06, "row_error": 0.06}),
            "calibration_error",
            "calibration_error is 0.06",
        ),
        (with_(calibration={"calibration_error": 0.02, "row_error": 0.2}), "row_error", "row_error is 0.2"),
        (with_(parity=1e-3), "parity", "difference between ONNX and model"),
        (with_(parity=math.nan), "parity", "nan"),
        (with_(improvements={"x": Interval(math.nan, math.nan, math.nan)}), "better_than_x", "nan"),
    ],
)
def test_each_demand_fails_alone_and_says_why(evidence: Evidence, name: str, words: str) -> None:
    """One shortcoming blocks, and the reason names it and nothing else."""
    result = judge(evidence, THRESHOLDS)
    assert [check.name for check in result.checks if not check.passed] == [name]
    assert words in result.reason


def test_a_verdict_survives_the_registry() -> None:
    """It is kept as JSON in a tag, and read back when training is skipped."""
    result = judge(GOOD, THRESHOLDS)
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result
