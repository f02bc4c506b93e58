"""Churn: as good as the truth where it is known, better than either view alone where not, and the same in ONNX."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.truths.buyers import DAYS, SPEND, drawn
from models import btyd, churn
from models.btyd import HISTORY
from models.churn import Churn
from models.errors import TooLittleDataError
from models.evaluation import auc, calibration_error, log_loss
from models.export import parity, score
from models.inputs import matrix
from models.linear import fit_logistic
from models.trees import Boosting
from nextbest.model_set import FeatureSpec, Model

FEATURES = tuple(FeatureSpec(name, "customer") for name in (*HISTORY, "complaints", "mood"))
PARAMS = churn.Params(features=FEATURES, boosting=Boosting(rounds=30, learning_rate=0.2, leaves=6, least_rows=40))


def buyers(customers: int, seed: int = 12) -> pd.DataFrame:
    """Those of a known truth, and two numbers that mean nothing."""
    random = np.random.default_rng(seed)
    frame = drawn(DAYS, SPEND, customers, PARAMS.horizon_days, random)
    return frame.assign(
        cutoff_at=pd.Timestamp(2026, 1, 5, tz="UTC"),
        complaints=random.poisson(1.0, customers).astype(np.float64),
        mood=random.normal(size=customers),
    )


def angry_buyers(customers: int, seed: int) -> pd.DataFrame:
    """The same, but who complains three times without being in a good mood is gone: purchases do not show it yet."""
    frame = buyers(customers, seed)
    gone = (frame["complaints"] >= 3.0) & (frame["mood"] < 1.0)
    return frame.assign(is_churned=np.where(gone, 1.0, frame["is_churned"]))


def only(*names: str) -> churn.Params:
    features = tuple(feature for feature in FEATURES if feature.name in names)
    return churn.Params(features=features, boosting=PARAMS.boosting)


def loss(fitted: Churn, params: churn.Params, frame: pd.DataFrame) -> float:
    return log_loss(frame["is_churned"].to_numpy(), fitted.predict(matrix(frame, params.features)))


def test_where_the_truth_is_buy_till_you_die_it_is_as_good_as_the_truth() -> None:
    """Two thousandths of a nat are what learning costs; plain logistic regression pays fifty times that."""
    seen, unseen = buyers(4_000), buyers(20_000, seed=13)
    fitted = churn.train(seen, PARAMS)
    said, outcome = fitted.predict(matrix(unseen, FEATURES)), unseen["is_churned"].to_numpy()
    histories = btyd.Purchases(model=DAYS, columns=(0, 1, 2)).histories(matrix(unseen, FEATURES))
    truth = log_loss(outcome, 1.0 - DAYS.probability_of_purchase(histories, PARAMS.horizon_days))
    assert log_loss(outcome, said) < truth + 0.003
    assert calibration_error(outcome, said) < 0.02
    plain = only("repeat_days", "last_repeat_days").features
    logistic = fit_logistic(matrix(seen, plain), seen["is_churned"].to_numpy(), inverse_penalty=1.0)
    assert log_loss(outcome, logistic.predict(matrix(unseen, plain))) > truth + 0.1
    assert auc(outcome > 0, said)(np.ones((1, len(said))))[0] > 0.8


def test_both_views_together_are_better_than_either() -> None:
    """What purchases do not show, features do, and the other way round."""
    seen, unseen = angry_buyers(6_000, 14), angry_buyers(20_000, 15)
    fitted = churn.train(seen, PARAMS)
    together = loss(fitted, PARAMS, unseen)
    purchases, features = only(*HISTORY), only("complaints", "mood")
    assert together < loss(churn.train(seen, purchases), purchases, unseen) - 0.005
    assert together < loss(churn.train(seen, features), features, unseen) - 0.05
    assert fitted.chosen["model"] == "boosted"


@pytest.mark.parametrize("penalties", [(1.0,), ()])
def test_the_file_says_what_the_model_says(penalties: tuple[float, ...]) -> None:
    """Of either classifier, beside BG/NBD."""
    frame = angry_buyers(2_000, 16)
    params = churn.Params(features=FEATURES, inverse_penalties=penalties, boosting=PARAMS.boosting)
    fitted = churn.train(frame, params)
    model = Model(
        name="churn", version="1", run_id="", file="m.onnx", sha256="", features=FEATURES, output=fitted.output
    )  # fmt: skip
    frame.loc[:1, list(HISTORY)] = [[900.0, 1_000.0, 1_001.0], [900.0, 1_000.0, 9_000.0]]
    said = score(model, fitted.to_onnx().SerializeToString(), frame)
    assert parity(said, fitted, matrix(frame, FEATURES)) < 1e-6


def test_without_the_columns_or_repeat_buyers_the_classifier_says_it_alone() -> None:
    """A shop where hardly anybody comes back has churn too."""
    frame = angry_buyers(2_000, 17)
    assert churn.train(frame, only("complaints", "mood")).quiet is None
    never = frame.assign(repeat_days=0.0, last_repeat_days=0.0)
    assert churn.train(never, PARAMS).quiet is None


def test_too_few_of_either_kind_are_said_in_words() -> None:
    """Customers count, not rows."""
    frame = buyers(2_000)
    with pytest.raises(TooLittleDataError, match="0 customers did not churn"):
        churn.train(frame.assign(is_churned=1.0), PARAMS)
    with pytest.raises(TooLittleDataError, match="customers churned, it takes 100"):
        churn.train(pd.concat([frame[:50]] * 20), PARAMS)
