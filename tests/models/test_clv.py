"""Lifetime value: which candidate becomes the model, and why."""

import numpy as np
import pandas as pd

from benchmarks.truths.buyers import DAYS, SPEND, drawn
from models import btyd, clv
from models.btyd import HISTORY
from models.export import parity, score
from models.inputs import matrix
from models.trees import Boosting
from nextbest.model_set import FeatureSpec, Model

BUYING = tuple(FeatureSpec(name, "customer") for name in (*HISTORY, "mean_day_spend"))
FAST = Boosting(rounds=30, learning_rate=0.2, leaves=6, least_rows=40)
EARLY, LATE = pd.Timestamp(2026, 1, 5, tz="UTC"), pd.Timestamp(2026, 7, 6, tz="UTC")


def buyers(customers: int = 3_000) -> pd.DataFrame:
    drawn_buyers = drawn(DAYS, SPEND, customers, 91.0, np.random.default_rng(8))
    return drawn_buyers.assign(cutoff_at=LATE).rename(columns={"spend_next": "spend_next_91d"})


def habits(cutoffs: list[pd.Timestamp], customers: int = 1_200) -> pd.DataFrame:
    """Who spends what depends on two numbers together, as no line says; one cut-off after the other."""
    random = np.random.default_rng(9)
    rows = customers * len(cutoffs)
    one, other = random.uniform(0, 10, rows), random.uniform(0, 10, rows)
    comes = (one > 5) ^ (other > 5)
    return pd.DataFrame(
        {
            "customer_id": np.tile(np.arange(customers).astype(str), len(cutoffs)),
            "cutoff_at": np.repeat(pd.DatetimeIndex(cutoffs), customers),
            "one": one,
            "other": other,
            "spend_next_91d": np.where(comes, random.gamma(4.0, 25.0, rows), 0.0),
        }
    )


def specs(*names: str) -> tuple[FeatureSpec, ...]:
    return tuple(FeatureSpec(name, "customer") for name in names)


def test_who_buys_till_he_dies_is_foreseen_by_buy_till_you_die() -> None:
    """On its own ground it beats what has to learn the shape from the same rows; and the graph says the same."""
    frame = buyers()
    trained = clv.train(frame, clv.Params(features=BUYING, boosting=FAST))
    assert trained.chosen["model"] == "btyd"
    assert isinstance(trained.model, btyd.Spend)
    assert abs(float(str(trained.chosen["btyd_bias"]))) < 0.1
    model = Model(
        name="clv", version="1", run_id="", file="m.onnx", sha256="", features=BUYING, output="value"
    )  # fmt: skip
    said = score(model, trained.model.to_onnx().SerializeToString(), frame)
    assert parity(said, trained.model, matrix(frame, BUYING)) < 1e-6


def test_without_its_columns_it_takes_no_part() -> None:
    """As with features that say the same in other words."""
    trained = clv.train(buyers(2_000), clv.Params(features=BUYING[:3], boosting=FAST))
    assert trained.chosen["model"] in {"ridge", "hurdle"}
    assert not any(name.startswith("btyd") for name in trained.chosen)


def test_two_numbers_that_matter_together_are_for_trees() -> None:
    """The hurdle model has the smaller error, and says so beside the others'."""
    trained = clv.train(habits([LATE]), clv.Params(features=specs("one", "other"), boosting=FAST))
    assert trained.chosen["model"] == "hurdle"
    assert float(str(trained.chosen["hurdle_error"])) < 0.7 * float(str(trained.chosen["ridge_error"]))


def test_a_candidate_that_cannot_be_fitted_says_why_and_the_others_go_on() -> None:
    """Fifty customers are enough for a line."""
    trained = clv.train(habits([LATE], customers=50), clv.Params(features=specs("one", "other"), boosting=FAST))
    assert trained.chosen["model"] == "ridge"
    assert "it takes 200" in str(trained.chosen["hurdle_took_no_part"])


def test_what_held_before_and_no_longer_holds_later_is_not_chosen() -> None:
    """Judged on a later cut-off, a pattern that has gone helps nobody, though all rows together would praise it."""
    frame = habits([EARLY, LATE])
    is_late = frame["cutoff_at"] == LATE
    random = np.random.default_rng(10)
    frame.loc[is_late, "spend_next_91d"] = random.permutation(frame.loc[is_late, "spend_next_91d"].to_numpy())
    params = clv.Params(features=specs("one", "other"), boosting=FAST)
    later = clv.train(frame, params)
    close = clv.train(frame.assign(cutoff_at=frame["cutoff_at"].where(~is_late, EARLY + pd.Timedelta(days=28))), params)
    assert float(str(later.chosen["hurdle_error"])) > 1.3 * float(str(close.chosen["hurdle_error"]))
    assert close.chosen["model"] == "hurdle"


def test_a_small_error_does_not_make_up_for_a_wrong_sum() -> None:
    """Where most buy nothing, nothing has the smallest absolute error, and is worth nothing to decide by."""
    random = np.random.default_rng(11)
    frame = habits([LATE], customers=4_000)
    rarely = random.random(len(frame)) < 0.15
    frame["spend_next_91d"] = np.where(rarely, random.lognormal(3.0, 1.0, len(frame)), 0.0)
    trained = clv.train(frame, clv.Params(features=specs("one", "other"), boosting=FAST))
    errors = {name: float(str(trained.chosen[f"{name}_error"])) for name in ("ridge", "hurdle")}
    biases = {name: abs(float(str(trained.chosen[f"{name}_bias"]))) for name in ("ridge", "hurdle")}
    assert errors["ridge"] < errors["hurdle"]
    assert biases["ridge"] > 0.5 > clv.BIAS > biases["hurdle"]
    assert trained.chosen["model"] == "hurdle"
