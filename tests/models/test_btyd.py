"""Buy till you die: the published numbers, known truths, and the same in ONNX."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.truths.buyers import DAYS, SPEND, drawn
from models import beta_geometric, btyd, gamma_gamma
from models.beta_geometric import BetaGeometric, Histories
from models.btyd import HISTORY
from models.errors import TooLittleDataError, TrainingDataError
from models.export import parity, score
from models.fitted import Fitted
from models.inputs import matrix
from nextbest.model_set import FeatureSpec, Model

FEATURES = tuple(FeatureSpec(name, "customer") for name in ("tenure_days", *HISTORY, "mean_day_spend"))
PARAMS = btyd.Params(features=FEATURES, horizon_days=91.0)
CDNOW = BetaGeometric(r=0.243, alpha=4.414, a=0.793, b=2.426)


@pytest.fixture(scope="module")
def cdnow() -> pd.DataFrame:
    [folder] = find_spec("lifetimes").submodule_search_locations  # type: ignore[union-attr,misc]
    return pd.read_csv(Path(folder) / "datasets" / "cdnow_customers_summary_with_transactions.csv")


def one(repeats: float, recency: float, age: float) -> Histories:
    return Histories(np.array([repeats]), np.array([recency]), np.array([age]))


def buyers(customers: int = 4_000, seed: int = 5) -> pd.DataFrame:
    return drawn(DAYS, SPEND, customers, PARAMS.horizon_days, np.random.default_rng(seed))


def scored(fitted: Fitted, frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    model = Model(
        name="m", version="1", run_id="", file="m.onnx", sha256="", features=FEATURES, output=fitted.output
    )  # fmt: skip
    return score(model, fitted.to_onnx().SerializeToString(), frame)


def test_the_estimates_on_cdnow_are_the_published_ones(cdnow: pd.DataFrame) -> None:
    """Fader, Hardie & Lee (2005), table 2; Fader & Hardie (2013), section 4."""
    x, recency, age, mean = (cdnow[name].to_numpy(np.float64) for name in ("x", "t_x", "T", "zbar"))
    purchases = beta_geometric.fit(Histories(x, recency, age))
    assert (purchases.r, purchases.alpha, purchases.a, purchases.b) == pytest.approx(
        (0.243, 4.414, 0.793, 2.426), abs=6e-4
    )
    assert purchases.log_likelihood == pytest.approx(-9582.4, abs=0.05)
    again = x > 0
    value = gamma_gamma.fit(x[again], mean[again])
    assert (value.p, value.q, value.gamma) == pytest.approx((6.25, 3.74, 15.44), abs=0.01)


def test_a_known_truth_lies_within_three_standard_errors() -> None:
    """And the standard errors shrink with the root of the customers."""
    frame = buyers(40_000)
    fitted = btyd.train(frame, PARAMS)
    purchases, value = fitted.purchases.model, fitted.value
    for found, true, names in ((purchases, DAYS, beta_geometric.NAMES), (value, SPEND, gamma_gamma.NAMES)):
        for name, error in zip(names, found.standard_errors, strict=True):
            assert abs(getattr(found, name) - getattr(true, name)) < 3 * error, name
    tenth = btyd.train(frame[:4_000], PARAMS).purchases.model
    ratios = np.array(tenth.standard_errors) / np.array(purchases.standard_errors)
    assert ratios == pytest.approx(np.sqrt(10), rel=0.35)


def test_the_standard_errors_are_the_spread_of_the_estimates() -> None:
    """Over samples drawn again, of the parameters' logarithms, where the delta method is at home."""
    fits = [btyd.train(buyers(2_000, seed), PARAMS) for seed in range(40)]
    models = [(fit.purchases.model, beta_geometric.NAMES) for fit in fits]
    for number, name in enumerate(beta_geometric.NAMES):
        logs = [np.log(getattr(model, name)) for model, _ in models]
        claimed = [model.standard_errors[number] / getattr(model, name) for model, _ in models]
        assert np.std(logs, ddof=1) == pytest.approx(np.median(claimed), rel=0.4), name


def test_what_is_expected_is_what_happens() -> None:
    """Purchases, spend and who buys again, in sum and by how often customers had bought."""
    frame = buyers(60_000)
    fitted = btyd.train(frame, PARAMS)
    x = matrix(frame, FEATURES)
    histories = fitted.purchases.histories(x)
    expected = frame.assign(
        purchases=fitted.purchases.model.expected_purchases(histories, 91.0),
        spend=fitted.predict(x),
        churns=1.0 - fitted.purchases.model.probability_of_purchase(histories, 91.0),
        group=np.minimum(frame["repeat_days"], 6),
    )
    by_group = expected.groupby("group")[["purchases", "purchases_next", "churns", "is_churned"]].mean()
    assert by_group["purchases"].to_numpy() == pytest.approx(by_group["purchases_next"].to_numpy(), rel=0.08)
    assert by_group["churns"].to_numpy() == pytest.approx(by_group["is_churned"].to_numpy(), abs=0.02)
    assert expected["spend"].sum() == pytest.approx(expected["spend_next"].sum(), rel=0.03)


def test_customers_with_the_same_history_may_be_counted_or_repeated() -> None:
    """Ten copies of everybody have the same estimates, and standard errors smaller by the root of ten."""
    frame = buyers(2_000)
    names = list(HISTORY)
    once, often = (
        beta_geometric.fit(Histories(*table[names].to_numpy(np.float64).T))
        for table in (frame, pd.concat([frame] * 10))
    )
    assert (often.r, often.alpha, often.a, often.b) == pytest.approx((once.r, once.alpha, once.a, once.b), rel=1e-4)
    assert np.array(once.standard_errors) == pytest.approx(np.array(often.standard_errors) * np.sqrt(10), rel=1e-3)


times = st.floats(0.0, 2_000.0)


@given(st.integers(1, 900), times, times, times)
def test_the_probability_to_be_alive_falls_with_silence(
    repeats: int, recency: float, gap: float, longer: float
) -> None:
    """It is a probability for any history, and never grows while nothing happens."""
    sooner, later = (
        float(CDNOW.probability_alive(one(repeats, recency, recency + silence))[0]) for silence in (gap, gap + longer)
    )
    assert 0.0 <= later <= sooner <= 1.0


@given(times)
def test_who_never_bought_again_is_alive(age: float) -> None:
    """Under BG/NBD one leaves after a repeat purchase."""
    assert CDNOW.probability_alive(one(0, 0.0, age))[0] == 1.0


@given(st.integers(0, 900), times, times, st.floats(0.1, 400.0), st.floats(0.1, 400.0))
def test_more_time_never_brings_fewer_purchases(
    repeats: int, recency: float, gap: float, horizon: float, longer: float
) -> None:
    """For any history, hundreds of purchases and none at all included, and no more than the rate allows."""
    history = one(repeats, recency if repeats else 0.0, recency + gap)
    soon, late = (float(CDNOW.expected_purchases(history, time)[0]) for time in (horizon, horizon + longer))
    assert 0.0 <= soon <= late * (1 + 1e-9)
    rate = (CDNOW.r + repeats) / (CDNOW.alpha + recency + gap)
    assert soon <= horizon * rate * (1 + 1e-9)
    assert CDNOW.probability_of_purchase(history, horizon)[0] <= soon * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("a", [0.3, 1.0 - 1e-9, 1.0, 1.0 + 1e-7, 1.6])
@pytest.mark.parametrize("b", [0.2, 0.7, 40.0])
@pytest.mark.parametrize("repeats", [0.0, 1.0, 7.0, 800.0])
def test_expected_purchases_are_their_integral(a: float, b: float, repeats: float) -> None:
    """Over the rate and the risk to leave of a living customer, where the closed form has its poles too."""
    model = BetaGeometric(r=0.5, alpha=10.0, a=a, b=b)
    random = np.random.default_rng(6)
    horizon, age = 90.0, 200.0
    chance = random.beta(a, b + repeats, 400_000)
    rate = random.gamma(model.r + repeats, 1.0 / (model.alpha + age), 400_000)
    drawn_purchases = -np.expm1(-rate * chance * horizon) / np.maximum(chance, 1e-300)
    history = one(repeats, age if repeats else 0.0, age)
    alive = model.probability_alive(history)[0]
    error = 5 * drawn_purchases.std() / np.sqrt(len(chance))
    assert model.expected_purchases(history, horizon)[0] / alive == pytest.approx(drawn_purchases.mean(), abs=error)


@pytest.mark.parametrize(
    "model",
    [
        DAYS,
        BetaGeometric(r=0.3, alpha=3.0, a=1.0, b=1e-3),
        BetaGeometric(r=2.0, alpha=60.0, a=0.9999999, b=300.0),
        BetaGeometric(r=1.5, alpha=7.0, a=1.5, b=1.0),
    ],
)
def test_the_files_say_what_the_models_say(model: BetaGeometric) -> None:
    """From a customer of this moment to one with hundreds of purchases, and negative numbers; near every pole."""
    frame = buyers(1_000).assign(tenure_days=1.0)
    frame.loc[:3, list(HISTORY)] = [[0, 0, 0], [800, 1_000, 1_001], [3, 50, 20], [-1, -5, -7]]
    purchases = btyd.Purchases(model=model, columns=(1, 2, 3))
    spend = btyd.Spend(purchases=purchases, value=SPEND, spend_column=4, horizon_days=91.0, width=5)
    x = matrix(frame, FEATURES)
    assert np.isfinite(spend.predict(x)).all()
    assert parity(scored(spend, frame), spend, x) < 1e-6
    assert parity(scored(spend.alive, frame), spend.alive, x) < 1e-6


def test_hundreds_of_purchases_overflow_nothing() -> None:
    """A likelihood of daily buyers is finite, and they are expected to go on."""
    random = np.random.default_rng(7)
    repeats = np.concatenate([random.integers(300, 2_000, 200), np.zeros(50)]).astype(np.float64)
    age = np.maximum(repeats * 1.1, 100.0)
    fitted = beta_geometric.fit(Histories(repeats, np.where(repeats > 0, age - 1.0, 0.0), age))
    assert np.isfinite(fitted.log_likelihood)
    assert fitted.expected_purchases(one(1_000.0, 1_099.0, 1_100.0), 100.0)[0] == pytest.approx(91.0, rel=0.05)


def test_the_last_cutoff_of_a_customer_counts() -> None:
    """Earlier ones are the same purchases once more."""
    frame = buyers(2_000)
    earlier = frame.assign(repeat_days=0.0, last_repeat_days=0.0, observed_days=1.0)
    both = pd.concat([frame.assign(cutoff_at=2), earlier.assign(cutoff_at=1)])
    assert btyd.train(both, PARAMS).purchases.model == btyd.train(frame.assign(cutoff_at=2), PARAMS).purchases.model


def test_too_few_repeat_buyers_are_said_in_words() -> None:
    """Nothing says how often customers buy when they do not."""
    frame = buyers(60)
    with pytest.raises(TooLittleDataError, match="customers bought again, it takes 50"):
        btyd.train(frame, PARAMS)


@pytest.mark.parametrize(
    ("column", "number", "says"),
    [("mean_day_spend", 0.0, "not above 0"), ("observed_days", -1.0, "negative"), ("repeat_days", np.nan, "missing")],
)
def test_a_number_that_cannot_be_is_said_in_words(column: str, number: float, says: str) -> None:
    """By column, with how many customers have one."""
    frame = buyers(2_000)
    frame.loc[frame.index[frame["repeat_days"] > 0][:3], column] = number
    with pytest.raises(TrainingDataError, match=f"{column}.*3 customers.*{says}"):
        btyd.train(frame, PARAMS)
