"""Lifetime value and churn beside lifetimes, the library of the same models, on CDNOW and on customers that are drawn.

Belongs here: what is measured of lifetime value, and this section's rows. Does not belong here: the data
(`benchmarks.truths.cdnow`, `benchmarks.truths.buyers`), what rows are made of (`benchmarks.truths.buying`), or printing
them.
"""

from collections.abc import Callable
from functools import partial

import lifetimes
import numpy as np
import pandas as pd

from benchmarks.truths import cdnow, churn
from benchmarks.truths.buyers import DAYS, SPEND, drawn
from benchmarks.truths.buying import Better, Said, correlation, rows_of, share_of_sum, timed
from benchmarks.truths.rows import Row
from models import beta_geometric, btyd, clv, evaluation, gamma_gamma
from models.arrays import Array
from models.beta_geometric import BetaGeometric, Histories
from models.btyd import HISTORY
from models.evaluation import Statistic
from models.gamma_gamma import GammaGamma
from models.inputs import matrix
from nextbest.model_set import FeatureSpec

PUBLISHED = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426, "p": 6.25, "q": 3.74, "gamma": 15.44}
LOG_LIKELIHOOD = -9582.4
MILLION = 1_000_000
FEATURES = tuple(
    FeatureSpec(name, "customer") for name in (*HISTORY, btyd.SPEND, "recency_days", "spend", "last_day_spend")
)
_Z = 1.96


def measure(seed: int) -> list[Row]:
    """All rows of this section; `seed` draws customers and resamples."""
    return [*estimates(), *million(seed), *thirty_nine_weeks(seed), *next_quarter(seed), *churn.measure(seed)]


def estimates() -> list[Row]:
    """The parameters on CDNOW's sample: ours, those of lifetimes, and the published ones."""
    data = cdnow.sample()
    again = data[data["x"] > 0]
    (purchases, value), seconds = timed(
        lambda: (
            beta_geometric.fit(Histories(*(data[name].to_numpy(np.float64) for name in ("x", "t_x", "T")))),
            gamma_gamma.fit(again["x"].to_numpy(np.float64), again["zbar"].to_numpy(np.float64)),
        )
    )
    (peer, peer_value), peer_seconds = timed(
        lambda: (
            lifetimes.BetaGeoFitter().fit(data["x"], data["t_x"], data["T"]),
            lifetimes.GammaGammaFitter().fit(again["x"], again["zbar"]),
        )
    )
    theirs = pd.concat([peer.summary, peer_value.summary.rename(index={"v": "gamma"})])
    data_name = "CDNOW sample"
    rows = _parameters(data_name, purchases, value, seconds)
    for name, published in PUBLISHED.items():
        found, low, high = theirs.loc[name, ["coef", "lower 95% bound", "upper 95% bound"]]
        rows += [
            Row(
                model="btyd", data=data_name, system="lifetimes", role="peer", measure=name, is_better="nearer",
                value=float(found), low=float(low), high=float(high), seconds=peer_seconds,
            ),
            _known("btyd", data_name, "published", name, published),
        ]  # fmt: skip
    # It scales time before it says its likelihood: at the papers' unit it has to be asked again.
    loss = peer._negative_log_likelihood(  # noqa: SLF001
        np.log(peer.params_.to_numpy()), data["x"], data["t_x"], data["T"], np.ones(len(data)), 0.0
    )
    likelihoods = (("nextbest", purchases.log_likelihood), ("lifetimes", -float(loss) * len(data)))
    rows += [
        Row(
            model="btyd", data=data_name, system=system, role="nextbest" if system == "nextbest" else "peer",
            measure="log-likelihood", is_better="nearer", value=likelihood,
        )
        for system, likelihood in likelihoods
    ]  # fmt: skip
    return [*rows, _known("btyd", data_name, "published", "log-likelihood", LOG_LIKELIHOOD)]


def million(seed: int) -> list[Row]:
    """A million customers of a known truth."""
    frame = drawn(DAYS, SPEND, MILLION, 91.0, np.random.default_rng(seed))
    fitted, seconds = timed(lambda: btyd.train(frame, btyd.Params(features=FEATURES[:4])))
    data = f"{MILLION:,} drawn customers"
    return _parameters(data, fitted.purchases.model, fitted.value, seconds) + [
        _known("btyd", data, "truth", name, getattr(model, name))
        for model, names in ((DAYS, beta_geometric.NAMES), (SPEND, gamma_gamma.NAMES))
        for name in names
    ]


def thirty_nine_weeks(seed: int) -> list[Row]:
    """The papers' split of all CDNOW customers: 39 weeks that are seen, and the spend of the 39 weeks that follow."""
    days = 273
    frame = cdnow.frame(cdnow.purchases(), pd.Timestamp(1997, 10, 1, tz="UTC"), days)
    params = btyd.Params(features=FEATURES, horizon_days=days)
    ours, seconds = timed(lambda: btyd.train(frame, params).predict(matrix(frame, FEATURES)))
    theirs, peer_seconds = timed(lambda: _peer_spend(frame, days))
    systems = {
        "nextbest": Said("nextbest", ours, seconds),
        "lifetimes": Said("peer", theirs, peer_seconds),
        "same rate as before": Said("baseline", _same_rate(frame, days)),
    }
    return _spend_rows("btyd", frame, days, systems, seed)


def next_quarter(seed: int) -> list[Row]:
    """In use: candidates learn from spend until October 1997, and the chosen one says that of the next quarter."""
    days = 91
    purchases = cdnow.purchases()
    past = pd.concat(
        [cdnow.frame(purchases, pd.Timestamp(1997, month, 2, tz="UTC"), days) for month in (4, 7)], ignore_index=True
    )
    now = cdnow.frame(purchases, pd.Timestamp(1997, 10, 1, tz="UTC"), days)
    trained, seconds = timed(lambda: clv.train(past, clv.Params(features=FEATURES, horizon_days=days)))
    theirs, peer_seconds = timed(lambda: _peer_spend(now, days))
    systems = {
        f"nextbest ({trained.chosen['model']})": Said(
            "nextbest", trained.model.predict(matrix(now, FEATURES)), seconds
        ),
        "lifetimes": Said("peer", theirs, peer_seconds),
        "same rate as before": Said("baseline", _same_rate(now, days)),
    }
    return _spend_rows("clv", now, days, systems, seed)


def _parameters(data: str, purchases: BetaGeometric, value: GammaGamma, seconds: float) -> list[Row]:
    rows = []
    for model, names in ((purchases, beta_geometric.NAMES), (value, gamma_gamma.NAMES)):
        for name, error in zip(names, model.standard_errors, strict=True):
            found = getattr(model, name)
            rows.append(
                Row(
                    model="btyd", data=data, system="nextbest", role="nextbest", measure=name, is_better="nearer",
                    value=found, low=found - _Z * error, high=found + _Z * error, seconds=seconds,
                )
            )  # fmt: skip
    return rows


def _peer_spend(frame: pd.DataFrame, days: int) -> Array:
    repeats, recency, age = (frame[name] for name in HISTORY)
    again = frame[frame["repeat_days"] > 0]
    model = lifetimes.BetaGeoFitter().fit(repeats, recency, age)
    value = lifetimes.GammaGammaFitter().fit(again["repeat_days"], again[btyd.SPEND])
    expected = model.conditional_expected_number_of_purchases_up_to_time(days, repeats, recency, age)
    return np.asarray(expected * value.conditional_expected_average_profit(repeats, frame[btyd.SPEND]))


def _same_rate(frame: pd.DataFrame, days: int) -> Array:
    """The purchases after the first go on as before: their number, per day since the first, at their mean value."""
    rate = frame["repeat_days"] / frame["observed_days"].clip(lower=1.0)
    return np.asarray(rate * days * frame[btyd.SPEND])


def _spend_rows(model: str, frame: pd.DataFrame, days: int, systems: dict[str, Said], seed: int) -> list[Row]:
    data = f"CDNOW, {days // 7} weeks ahead"
    actual = frame[f"spend_next_{days}d"].to_numpy(np.float64)
    total = "sum of spend, in parts of the truth"
    measures: dict[str, tuple[Better, Callable[[Array], Statistic]]] = {
        "mean absolute error (USD)": ("lower", partial(evaluation.mean_absolute_error, actual)),
        "correlation with spend": ("higher", partial(correlation, actual)),
        total: ("nearer", partial(share_of_sum, actual)),
    }
    customers = frame["customer_id"].to_numpy(dtype=str)
    rows = rows_of(model, data, systems=systems, measures=measures, customers=customers, seed=seed)
    return [*rows, _known(model, data, "truth", total, 1.0)]


def _known(model: str, data: str, system: str, measure: str, value: float) -> Row:
    return Row(
        model=model, data=data, system=system, role="truth", measure=measure, is_better="nearer", value=value
    )  # fmt: skip
