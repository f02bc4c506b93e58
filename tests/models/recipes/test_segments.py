"""Segments in the registry: what is measured of a division, and when a champion is replaced."""

import numpy as np
import pandas as pd
import pytest

from models.candidate import Champion
from models.frames import TrainingSet
from models.gates import judge
from models.inputs import DEPARTMENT_PREFIX, SEGMENT_WORDS
from models.recipes import segments

MONDAY = pd.Timestamp(2026, 3, 2, tz="UTC")


def kinds(count: int, apart: float, seed: int = 4, customers: int = 900) -> TrainingSet:
    """Customers of so many kinds, whose amounts differ by a factor of `apart`."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, count, customers)
    names = [*SEGMENT_WORDS, f"{DEPARTMENT_PREFIX}meat", f"{DEPARTMENT_PREFIX}grocery"]
    levels = apart ** np.random.default_rng(count).integers(0, 3, (count, len(names)))
    values = levels[kind] * random.lognormal(0.0, 0.3, (customers, len(names)))
    values[:, ["_share" in name for name in names]] /= 100.0
    frame = pd.DataFrame(values, columns=names).assign(customer_id=np.arange(customers).astype(str), at=MONDAY)
    return TrainingSet(frame=frame, action_features={}, contracts={"transactions": "1.0.0"})


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return kinds(4, apart=4.0)


def test_kinds_that_there_are_pass_the_gate(data: TrainingSet) -> None:
    """They explain more than thirds by spend, halves of the customers agree, and each number has its name."""
    candidate = segments.build(data, None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
    assert candidate.metrics["segments"] == len(candidate.model.labels) == 4
    assert candidate.metrics["instability"] < 0.1
    assert len(set(candidate.model.labels)) == 4
    assert candidate.model.labels[0] in candidate.card
    assert "is_fair" not in {check.demand for check in result.checks}


def test_a_champion_that_explains_as_much_stays(data: TrainingSet) -> None:
    """Another division that is no better would only change everybody's names."""
    first = segments.build(data, None)
    again = segments.build(data, Champion(model=first.model, onnx=first.onnx))
    result = judge(again.evidence, again.thresholds)
    assert [check.demand for check in result.checks if check.outcome != "met"] == ["not_worse_than_champion"]


def test_a_champion_of_another_population_is_replaced(data: TrainingSet) -> None:
    """Where customers have become others, a division of theirs explains more."""
    former = segments.build(kinds(3, apart=6.0, seed=8), None)
    candidate = segments.build(data, Champion(model=former.model, onnx=former.onnx))
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
