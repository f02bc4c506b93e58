"""Versions of uplift, on decisions that were drawn and whose effects are known."""

import dataclasses
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from models.candidate import Candidate, Champion
from models.errors import TooLittleDataError
from models.frames import TrainingSet
from models.gates import judge
from models.inputs import CATEGORY
from models.recipes import uplift
from nextbest.records import DO_NOTHING

START = pd.Timestamp(2026, 1, 5, tz="UTC")
ACTIONS = ("beef", "cheese")


def drawn(effect: float, seed: int = 3, rows: int = 9_000) -> TrainingSet:
    """Beef helps whoever buys beef and harms the others; cheese does nothing. Six decisions each, in eight weeks."""
    random = np.random.default_rng(seed)
    arms = [DO_NOTHING, *ACTIONS]
    action = random.choice(arms, rows)
    beef = random.gamma(1.0, 20.0, rows)
    response = 0.3 + effect * np.where(action == "beef", np.where(beef > 15.0, 0.3, -0.25), 0.0)
    frame = pd.DataFrame(
        {
            "customer_id": (np.arange(rows) % (rows // 6)).astype(str),
            "decided_at": START + pd.to_timedelta(random.random(rows) * 56, unit="D"),
            "action": action,
            "probability": 1 / 3,
            "outcome": (random.random(rows) < response).astype(float),
            "spend_364d": random.gamma(1.0, 500.0, rows),
            f"{CATEGORY}__beef": beef,
            f"{CATEGORY}__cheese": random.gamma(1.0, 20.0, rows),
            **{f"probability__{arm}": 1 / 3 for arm in arms},
        }
    )
    known = {"beef": {"share": 0.2}, "cheese": {"share": 0.3}}
    return TrainingSet(frame=frame, action_features=known, contracts={"decisions": "1.0.0"})


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return drawn(effect=1.0)


@pytest.fixture(scope="module")
def candidate(data: TrainingSet) -> Candidate:
    return uplift.build(data, None)


def test_effects_that_there_are_pass_the_gate(candidate: Candidate) -> None:
    """Beef to whom it helps earns more than beef to everybody, and than nothing; the file says what the model says."""
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
    assert candidate.metrics["value_over_nothing_low"] > 0.1
    assert candidate.metrics["qini_low"] > 0.0
    assert set(candidate.evidence.improvements) == {"doing_nothing", "the_best_single_action"}
    assert candidate.model.output == "value"
    assert set(candidate.model.action_features) == {*ACTIONS}
    assert "causal where the decisions were drawn" in candidate.card.lower()


def test_where_nothing_has_an_effect_no_policy_is_claimed() -> None:
    """Noise is no gain over doing nothing."""
    candidate = uplift.build(drawn(effect=0.0), None)
    assert not judge(candidate.evidence, candidate.thresholds).passed
    assert abs(candidate.metrics["value_over_nothing"]) < 0.05


def test_the_champions_policy_is_compared_on_decisions_that_neither_has_seen(
    data: TrainingSet, candidate: Candidate
) -> None:
    """With itself it differs by nothing; of one that has seen them all nothing can be told."""
    champion = Champion(model=candidate.model, onnx=candidate.onnx)
    assert uplift.RECIPE.compare(data, champion, champion).outcome == "met"
    frame = data.frame.assign(decided_at=data.frame["decided_at"] - timedelta(days=364))
    check = uplift.RECIPE.compare(dataclasses.replace(data, frame=frame), champion, champion)
    assert check.outcome == "undecided"
    assert "no data after both trainings" in check.message


def test_what_is_expected_of_actions_can_be_held_against_later_decisions(
    data: TrainingSet, candidate: Candidate
) -> None:
    """Of an action in mean, beside what doubly robust scores say that it brought: what the gate asks of it too."""
    champion = Champion(model=candidate.model, onnx=candidate.onnx)
    told = uplift.RECIPE.measure(data, champion, None).expectations
    assert told.keys() == uplift.THRESHOLDS.calibration.keys()
    bias = told["effect_bias_at_least"].bias()
    assert bias.estimate == pytest.approx(candidate.metrics["effect_bias"])


def test_without_anybody_left_alone_there_is_nothing_to_compare_with(data: TrainingSet) -> None:
    """The message says so."""
    frame = data.frame[data.frame["action"] != DO_NOTHING].reset_index(drop=True)
    with pytest.raises(TooLittleDataError, match="nothing was ever left undone"):
        uplift.build(dataclasses.replace(data, frame=frame), None)


def test_a_week_of_decisions_is_too_little(data: TrainingSet) -> None:
    """What is measured must come after what is trained on, answers included."""
    frame = data.frame[data.frame["decided_at"] < START + timedelta(days=7)].reset_index(drop=True)
    with pytest.raises(TooLittleDataError, match="it takes some weeks of decisions"):
        uplift.build(dataclasses.replace(data, frame=frame), None)
