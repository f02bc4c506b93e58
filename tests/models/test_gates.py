"""Each demand of the gate fails for its own reason, and says it."""

import math

import msgspec
import pytest

from models.evaluation import Interval
from models.gates import DEMANDS, Evidence, GateResult, GroupFairness, Thresholds, judge
from nextbest.contracts import Fairness

LIMITS = Fairness(selected_share=0.2, selection_rate_ratio=0.8, calibration_error=0.1)
THRESHOLDS = Thresholds(
    champion_margin=0.01, calibration={"calibration_error": 0.05, "row_error": 0.1}, fairness=LIMITS
)
OLD = GroupFairness(
    field="age_band",
    group="65+",
    rows=400,
    selection_rate=0.15,
    ratio=Interval(0.75, 0.6, 0.9),
    expected=0.1,
    happened=0.1,
    calibration=Interval(0.0, -0.05, 0.05),
)
GOOD = Evidence(
    improvements={"campaign_type": Interval(0.2, 0.1, 0.3)},
    over_champion=Interval(0.0, -0.005, 0.005),
    calibration={"calibration_error": 0.02, "row_error": 0.02},
    parity=1e-6,
    latency_ms=0.1,
    fairness=[OLD],
)
UNKNOWN = Interval(math.nan, math.nan, math.nan)


def with_(**changes: object) -> Evidence:
    return msgspec.structs.replace(GOOD, **changes)


def old(**changes: object) -> Evidence:
    return with_(fairness=[msgspec.structs.replace(OLD, **changes)])


def test_a_model_that_meets_every_demand_passes() -> None:
    """The gate is no wall, and every demand is told of."""
    result = judge(GOOD, THRESHOLDS)
    assert result.verdict == "passed"
    assert result.passed
    assert result.reason == "every demand is met"
    assert {check.demand for check in result.checks} == set(DEMANDS)


def test_the_first_version_has_no_champion_to_be_compared_with() -> None:
    """Nothing to fall behind: the demand is not made."""
    assert judge(with_(over_champion=None), THRESHOLDS).passed


@pytest.mark.parametrize(
    ("evidence", "name", "words"),
    [
        (with_(improvements={"past_rate": Interval(0.1, 0.0, 0.2)}), "better_than_past_rate", "gain over past_rate"),
        (with_(over_champion=Interval(-0.1, -0.2, -0.02)), "not_worse_than_champion", "gain over the champion"),
        (
            with_(calibration={"calibration_error": 0.06, "row_error": 0.06}),
            "calibration_error",
            "calibration_error is 0.06",
        ),
        (with_(calibration={"calibration_error": 0.02, "row_error": 0.2}), "row_error", "row_error is 0.2"),
        (with_(parity=1e-3), "parity", "difference between ONNX and model"),
        (with_(parity=math.nan), "parity", "nan"),
        (with_(improvements={"x": UNKNOWN}), "better_than_x", "nan"),
        (with_(latency_ms=9.0), "latency_ms", "milliseconds for a hundred rows is 9"),
        (with_(leaks={"spend_91d": 3}), "no_feature_is_newer_than_its_label", "spend_91d in 3 rows"),
        (old(ratio=Interval(0.5, 0.3, 0.7)), "selection_rate_of_age_band_65+", "age_band 65+ (400 rows) is selected"),
        (old(calibration=Interval(0.4, 0.2, 0.6)), "calibration_of_age_band_65+", "expected of age_band 65+"),
        (old(calibration=Interval(-0.4, -0.6, -0.2)), "calibration_of_age_band_65+", "is off by -0.4"),
    ],
)
def test_each_demand_fails_alone_and_says_why(evidence: Evidence, name: str, words: str) -> None:
    """One shortcoming blocks, and the reason names it and nothing else."""
    result = judge(evidence, THRESHOLDS)
    assert result.verdict == "failed"
    assert [check.name for check in result.checks if check.outcome != "met"] == [name]
    assert words in result.reason


@pytest.mark.parametrize(
    ("gain", "words"),
    [(Interval(0.0, -0.02, 0.02), "too little evidence"), (UNKNOWN, "no data after both trainings")],
)
def test_what_cannot_be_told_yet_goes_into_the_shadow(gain: Interval, words: str) -> None:
    """It may be worse than the champion by more than the margin, and it may not."""
    result = judge(with_(over_champion=gain), THRESHOLDS)
    assert result.verdict == "undecided"
    assert not result.passed
    assert words in result.reason


def test_what_misses_a_demand_stays_out_of_the_shadow_too() -> None:
    """What is known against it weighs more than what is not known."""
    result = judge(with_(over_champion=UNKNOWN, parity=1.0), THRESHOLDS)
    assert result.verdict == "failed"
    assert result.reason.startswith("difference between ONNX")


@pytest.mark.parametrize("evidence", [old(ratio=UNKNOWN, calibration=UNKNOWN), with_(fairness=[])])
def test_a_group_too_small_to_tell_is_no_reason_to_keep_a_model_out(evidence: Evidence) -> None:
    """Unfair is what the evidence shows to be."""
    assert judge(evidence, THRESHOLDS).passed


def test_without_a_limit_in_the_contract_nobody_asks_for_fairness() -> None:
    """Who owns the data decides which groups are protected."""
    result = judge(GOOD, msgspec.structs.replace(THRESHOLDS, fairness=None))
    assert "is_fair" not in {check.demand for check in result.checks}


def test_a_verdict_survives_the_registry() -> None:
    """It is kept as JSON in a tag, and read back when training is skipped."""
    result = judge(GOOD, THRESHOLDS)
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result
