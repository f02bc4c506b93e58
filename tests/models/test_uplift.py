"""Effects against their truth, in training and as serving will ask for them."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from models import uplift
from models.errors import TooLittleDataError, TrainingDataError
from models.export import parity
from models.uplift import Params, Uplift
from models.uplift_evaluation import proposals
from nextbest.adapters.onnx import OnnxModel
from nextbest.features import design_matrix
from nextbest.model_set import Model
from tests.models.decisions import ACTION_FEATURES, ACTIONS, FEATURES, decisions, without_pmf

PARAMS = Params(features=FEATURES, action_features=ACTION_FEATURES)
LOGS = {depends: decisions(1, 4_000, depends=depends) for depends in (False, True)}
UNSEEN = decisions(2, 2_000)


@cache
def trained(*, depends: bool) -> Uplift:
    return uplift.train(LOGS[depends].frame, PARAMS)


def served(fitted: Uplift) -> Model:
    return Model(
        name="uplift", version="1", run_id="", file="uplift.onnx", sha256="", output="value",
        features=fitted.features, action_features=fitted.action_features,
    )  # fmt: skip


def certain(frame: pd.DataFrame) -> dict[str, object]:
    """As if everything that was done had been certain."""
    names = ("do_nothing", *ACTIONS)
    return {f"probability__{name}": (frame["action"] == name) * 1.0 for name in names} | {"probability": 1.0}


@pytest.mark.parametrize("depends", [False, True])
def test_effects_are_recovered_where_chance_decided_and_where_known_probabilities_did(*, depends: bool) -> None:
    """On customers it has not seen, in size and in order; and what has no effect is found to have next to none."""
    said = uplift.effects(trained(depends=depends), UNSEEN.frame)
    for number, sd in enumerate(UNSEEN.truth.std(axis=0)[:2]):
        assert np.sqrt(np.mean((said[:, number] - UNSEEN.truth[:, number]) ** 2)) < 0.35 * sd
        assert spearmanr(said[:, number], UNSEEN.truth[:, number])[0] > 0.93
    assert np.sqrt(np.mean(said[:, 2] ** 2)) < 0.3


def test_the_policy_of_the_effects_gains_nearly_what_the_truth_would() -> None:
    """At least 95 of 100 of what is to be had."""
    with_nothing = np.column_stack([np.zeros(len(UNSEEN.truth)), UNSEEN.truth])
    rows = np.arange(len(with_nothing))
    had = with_nothing[rows, proposals(uplift.effects(trained(depends=True), UNSEEN.frame))].mean()
    assert had > 0.95 * with_nothing.max(axis=1).mean()


def test_no_effect_gives_no_uplift() -> None:
    """Where nothing works, what is said of each action covers 0, and nobody is promised much."""
    found = decisions(3, 4_000, effect=0.0)
    said = uplift.effects(uplift.train(found.frame, PARAMS), UNSEEN.frame)
    assert np.abs(said.mean(axis=0)).max() < 3 * 1.5 * np.sqrt(2 / 1_000)
    assert np.sqrt(np.mean(said**2)) < 0.2


def test_without_the_whole_pmf_the_r_learner_takes_no_part() -> None:
    """Doubly robust scores need the probability of what was done, and no other."""
    found = uplift.train(without_pmf(LOGS[True].frame), PARAMS)
    assert not any("r_learner" in name for name in found.chosen)
    assert any("r_learner" in name for name in trained(depends=True).chosen)
    said = uplift.effects(found, UNSEEN.frame)
    assert spearmanr(said[:, 0], UNSEEN.truth[:, 0])[0] > 0.93


@pytest.mark.parametrize("depends", [False, True])
def test_serving_computes_what_training_says(*, depends: bool) -> None:
    """One row per action for one customer, through `design_matrix` and the file, match features and all."""
    found = trained(depends=depends)
    model = served(found)
    onnx = OnnxModel(model, found.model.to_onnx().SerializeToString())
    said = uplift.effects(found, UNSEEN.frame)
    for row in range(20):
        customer = {str(name): float(x) for name, x in UNSEEN.frame.select_dtypes("number").iloc[row].items()}
        x = design_matrix(model, customer, ACTIONS, {})
        assert onnx.score(x) == pytest.approx(said[row], abs=1e-4)
        assert parity(onnx.score(x), found.model, x.astype(np.float64)) < 1e-5


def test_an_action_that_was_never_seen_has_what_all_have_in_common() -> None:
    """Whatever it is called; the trees say the same of every action."""
    found = trained(depends=False)
    customer = {"spend": 30.0, "trend": 1.0, "noise": 0.0}
    x = design_matrix(served(found), customer, ["new", "newer"], {}).astype(np.float64)
    known = design_matrix(served(found), customer, ACTIONS, {}).astype(np.float64)
    first, second = found.model.predict(x)
    assert first == second
    assert found.model.predict(known).min() - 1.0 < first < found.model.predict(known).max() + 1.0


def test_the_same_seed_is_the_same_model() -> None:
    """To the last bit of the file."""
    few = LOGS[False].frame[:1_000]
    one, other = (uplift.train(few, PARAMS).model.to_onnx() for _ in range(2))
    assert one == other


def test_overlap_is_reported() -> None:
    """Equal probabilities make rows worth what they count; others make them worth less."""
    even, uneven = trained(depends=False).overlap, trained(depends=True).overlap
    counts = LOGS[False].frame["action"].value_counts()
    assert even.smallest_probability == pytest.approx(0.25)
    assert even.effective_rows == pytest.approx({name: counts[name] for name in even.effective_rows})
    assert uneven.smallest_probability < 0.1
    assert uneven.effective_rows["call"] < 0.9 * (LOGS[True].frame["action"] == "call").sum()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda frame: frame[frame["action"] != "do_nothing"], TooLittleDataError, "do_nothing never occurs"),
        (lambda frame: frame[frame["action"] != "mail"], TooLittleDataError, "mail never occurs"),
        (lambda frame: frame.assign(probability=0.0), TooLittleDataError, r"not in \(0, 1\]"),
        (lambda frame: frame.assign(probability=np.nan), TooLittleDataError, r"not in \(0, 1\]"),
        (lambda frame: frame.assign(probability=1.5), TooLittleDataError, r"not in \(0, 1\]"),
        (lambda frame: frame.assign(probability=0.3), TooLittleDataError, "another probability"),
        (lambda frame: frame.assign(probability__mail=0.9), TooLittleDataError, "do not sum to 1"),
        (lambda frame: frame.assign(**certain(frame)), TooLittleDataError, "nowhere were this and nothing"),
        (lambda frame: frame.assign(customer_id="one"), TooLittleDataError, "1 customers are too few"),
        (lambda frame: frame.assign(outcome=np.nan), TrainingDataError, "no outcome"),
        (lambda frame: frame.replace({"action": {"mail": "fax"}}), TrainingDataError, "fax"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_its_reason(
    change: object, error: type[Exception], says: str
) -> None:
    """An arm without rows, a probability that is none, an action that nothing is known of."""
    assert callable(change)
    frame: pd.DataFrame = change(LOGS[False].frame)
    with pytest.raises(error, match=says):
        uplift.train(frame, PARAMS)
