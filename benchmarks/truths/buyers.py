"""Customers who buy till they die, with a known truth: drawn from BG/NBD, and spending by Gamma-Gamma.

Belongs here: drawing customers, for the benchmark and for tests. Does not belong here: any fit.
"""

import numpy as np
import pandas as pd

from models.arrays import Array
from models.beta_geometric import BetaGeometric
from models.gamma_gamma import GammaGamma

DAYS = BetaGeometric(r=0.6, alpha=20.0, a=0.8, b=2.5)
"""In days: half of the customers buy again within a few weeks, and a quarter leaves with a purchase."""
SPEND = GammaGamma(p=6.25, q=3.74, gamma=15.44)


def drawn(
    model: BetaGeometric, value: GammaGamma, customers: int, horizon: float, random: np.random.Generator
) -> pd.DataFrame:
    """One row per customer: the columns of `models.btyd`, and what he does within `horizon`, the label.

    First purchases are spread over a year before now.
    """
    age = random.uniform(1.0, 365.0, customers).round(2)
    rate = random.gamma(model.r, 1.0 / model.alpha, customers)
    leaves = random.beta(model.a, model.b, customers)
    scale = value.p / random.gamma(value.q, 1.0 / value.gamma, customers)
    time, last = np.zeros(customers), np.zeros(customers)
    repeats, later = np.zeros(customers), np.zeros(customers)
    alive = np.arange(customers)
    while len(alive):
        time[alive] += random.exponential(1.0, len(alive)) / np.maximum(rate[alive], 1e-300)
        alive = alive[time[alive] < age[alive] + horizon]
        seen = alive[time[alive] <= age[alive]]
        repeats[seen] += 1.0
        last[seen] = time[seen]
        later[alive[time[alive] > age[alive]]] += 1.0
        alive = alive[random.random(len(alive)) >= leaves[alive]]
    return pd.DataFrame(
        {
            "customer_id": np.arange(customers).astype(str),
            "repeat_days": repeats,
            "last_repeat_days": last,
            "observed_days": age,
            "mean_day_spend": _mean_of(repeats, scale, value.p, random),
            "purchases_next": later,
            "spend_next": later * _mean_of(later, scale, value.p, random),
            "is_churned": (later == 0.0).astype(np.float64),
        }
    )


def _mean_of(purchases: Array, scale: Array, shape: float, random: np.random.Generator) -> Array:
    """Of purchases worth gamma(shape) x scale / shape: their sum is gamma(shape x purchases)."""
    some = np.maximum(purchases, 1.0)
    return np.where(purchases > 0.0, random.gamma(shape * some) * scale / (shape * some), 0.0)
