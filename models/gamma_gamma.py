"""Gamma-Gamma: what a customer's purchases are worth on average, from the few that were seen.

Belongs here: the model of Colombo & Jiang (1999, A stochastic RFM model, Journal of Interactive Marketing 13(3), 2-12)
as Fader & Hardie (2013, The gamma-gamma model of monetary value, brucehardie.com/notes/025) write it: its fit, what it
says of a customer, and the same as ONNX nodes. Does not belong here: how many purchases there will be
(`models.beta_geometric`).

The values of a customer's purchases are gamma(p, v), and v is gamma(q, gamma) over customers: how much he spends must
not depend on how often he buys.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln

from models.arrays import Array
from models.doubles import Doubles
from models.errors import TooLittleDataError
from models.likelihood import maximize

NAMES = ("p", "q", "gamma")


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaGamma:
    """The fitted model; the standard errors are in the order of `NAMES`."""

    p: float
    q: float
    gamma: float
    standard_errors: tuple[float, ...] = ()
    log_likelihood: float = float("nan")

    def expected_value(self, purchases: Array, mean: Array) -> Array:
        """E[mean value of a purchase], given the mean of so many (Fader & Hardie, eq. 5); of none: everybody's."""
        return self.p * (self.gamma + purchases * mean) / (self.p * purchases + self.q - 1.0)

    def expected_value_nodes(self, graph: Doubles, purchases: str, mean: str) -> str:
        """As `expected_value`."""
        total = graph.add("Add", graph.add("Mul", purchases, mean), self.gamma)
        weight = graph.add("Add", graph.add("Mul", purchases, self.p), self.q - 1.0)
        return graph.add("Mul", graph.add("Div", total, weight), self.p)


def fit(purchases: Array, mean: Array) -> GammaGamma:
    """The parameters of highest likelihood (Fader & Hardie, eq. 1a); one row per customer, both numbers above 0.

    Raises:
        TooLittleDataError: the values are such that their mean over customers would be infinite (q <= 1).

    """
    counts, code = np.unique(purchases, return_inverse=True)
    buyers = np.bincount(code).astype(np.float64)
    total, logs = purchases * mean, np.log(purchases * mean)
    of_count, overall = np.bincount(code, logs), float(np.log(mean).sum())

    def likelihood(values: Array) -> tuple[float, Array]:
        p, q, gamma = values
        spread = np.log(gamma + total)
        of_spread = np.bincount(code, spread)
        known = gammaln(p * counts + q) - gammaln(p * counts) - gammaln(q) + q * np.log(gamma)
        joint = digamma(p * counts + q)
        value = buyers @ known + p * counts @ of_count - overall - (p * counts + q) @ of_spread
        gradient = [
            counts @ (buyers * (joint - digamma(p * counts)) + of_count - of_spread),
            buyers @ (joint - digamma(q) + np.log(gamma)) - of_spread.sum(),
            buyers.sum() * q / gamma - ((p * purchases + q) / (gamma + total)).sum(),
        ]
        return float(value), np.array(gradient)

    found = maximize(likelihood, np.array([1.0, 2.0, float(mean.mean())]), len(purchases))
    p, q, gamma = (float(value) for value in found.estimates)
    if q <= 1.0:
        raise TooLittleDataError(
            f"values of purchases: {len(purchases)} customers differ so much that there is no mean value (q = {q:.2g})"
        )
    errors = tuple(float(error) for error in found.standard_errors)
    return GammaGamma(p=p, q=q, gamma=gamma, standard_errors=errors, log_likelihood=found.log_likelihood)
