"""Churn of customers who buy till they die, beside P(alive) of lifetimes and plain logistic regression.

Belongs here: these rows. Does not belong here: drawing customers (`benchmarks.truths.buyers`).
"""

from collections.abc import Callable
from functools import partial

import lifetimes
import numpy as np
import pandas as pd

from benchmarks.truths.buyers import DAYS, SPEND, drawn
from benchmarks.truths.buying import Better, Said, log_loss, rows_of, timed
from benchmarks.truths.rows import Row
from models import btyd, churn, evaluation
from models.arrays import Array
from models.btyd import HISTORY
from models.evaluation import Statistic
from models.inputs import matrix
from models.linear import fit_logistic, fit_platt, sigmoid
from nextbest.model_set import FeatureSpec

FEATURES = tuple(FeatureSpec(name, "customer") for name in (*HISTORY, btyd.SPEND))
HORIZON = 91.0
CUSTOMERS, SEEN = 18_000, 6_000


def measure(seed: int) -> list[Row]:
    """Who does not buy in the next 91 days, of customers that no model has seen."""
    frame = drawn(DAYS, SPEND, CUSTOMERS, HORIZON, np.random.default_rng(seed)).assign(cutoff_at=0)
    seen, unseen = frame[:SEEN], frame[SEEN:]
    ours, seconds = timed(lambda: churn.train(seen, churn.Params(features=FEATURES)).predict(matrix(unseen, FEATURES)))
    (gone, calibrated), peer_seconds = timed(lambda: _peer(seen, unseen))
    logistic, plain_seconds = timed(lambda: _logistic(seen, unseen))
    histories = btyd.Purchases(model=DAYS, columns=(0, 1, 2)).histories(matrix(unseen, FEATURES))
    systems = {
        "nextbest": Said("nextbest", ours, seconds),
        "lifetimes, 1 - P(alive)": Said("peer", gone, peer_seconds),
        "lifetimes, 1 - P(alive), calibrated": Said("peer", calibrated, peer_seconds),
        "logistic regression on frequency and recency": Said("baseline", logistic, plain_seconds),
        "truth": Said("truth", 1.0 - DAYS.probability_of_purchase(histories, HORIZON)),
    }
    outcome = unseen["is_churned"].to_numpy(np.float64)
    measures: dict[str, tuple[Better, Callable[[Array], Statistic]]] = {
        "log loss": ("lower", partial(log_loss, outcome)),
        "AUC": ("higher", partial(evaluation.auc, outcome > 0.0)),
    }
    data = f"{SEEN:,} drawn customers seen, {CUSTOMERS - SEEN:,} not"
    customers = unseen["customer_id"].to_numpy(dtype=str)
    rows = rows_of("churn", data, systems=systems, measures=measures, customers=customers, seed=seed)
    # Without an interval: a sum of absolute values is larger on every resample than on the rows themselves.
    return rows + [
        Row(
            model="churn", data=data, system=system, role=said.role, measure="calibration error", is_better="lower",
            value=evaluation.calibration_error(outcome, said.answer), seconds=said.seconds,
        )
        for system, said in systems.items()
    ]  # fmt: skip


def _peer(seen: pd.DataFrame, unseen: pd.DataFrame) -> tuple[Array, Array]:
    """As it comes, which is no claim about a horizon; and with Platt's calibration on the customers seen."""
    model = lifetimes.BetaGeoFitter().fit(*(seen[name] for name in HISTORY))
    gone = [
        1.0 - np.asarray(model.conditional_probability_alive(*(frame[name] for name in HISTORY)))
        for frame in (seen, unseen)
    ]
    slope, intercept = fit_platt(_logit(gone[0]), seen["is_churned"].to_numpy(np.float64))
    return gone[1], sigmoid(slope * _logit(gone[1]) + intercept)


def _logit(probability: Array) -> Array:
    kept = np.clip(
        probability, 1e-3, 1 - 1e-3
    )  # who never bought again is alive for sure: the line must not follow him
    return np.asarray(np.log(kept) - np.log1p(-kept))


def _logistic(seen: pd.DataFrame, unseen: pd.DataFrame) -> Array:
    columns = FEATURES[:2]
    model = fit_logistic(matrix(seen, columns), seen["is_churned"].to_numpy(np.float64), inverse_penalty=1.0)
    return model.predict(matrix(unseen, columns))
