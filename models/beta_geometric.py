"""BG/NBD: how often customers buy, and whether they still do, where nobody says when they leave.

Belongs here: the model of purchases (Fader, Hardie & Lee, 2005, "Counting your customers" the easy way, Marketing
Science 24(2), 275-284), its fit, and what it says of a customer. Does not belong here: the same as ONNX nodes
(`models.beta_geometric_nodes`), what purchases are worth (`models.gamma_gamma`), or a frame (`models.btyd`).

While alive, a customer buys at a rate of his own, gamma(r, alpha) over customers; after each purchase he leaves with a
probability of his own, beta(a, b) over customers. What is known of him is `Histories`; any unit of time will do.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import digamma, exprel, gammaln

from models.arrays import Array
from models.likelihood import maximize
from models.linear import sigmoid

NAMES = ("r", "alpha", "a", "b")
CERTAIN = 40.0  # a logit whose probability is 1 in float64
_PRECISION = 1e-12
_MOST_TERMS = 4_000


@dataclass(frozen=True, slots=True)
class Histories:
    """One row per customer.

    Attributes:
        repeats: Purchases after the first.
        recency: Time from the first purchase to the last; 0 where there is one.
        age: Time from the first purchase to now.

    """

    repeats: Array
    recency: Array
    age: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class BetaGeometric:
    """The fitted model; the standard errors are in the order of `NAMES`."""

    r: float
    alpha: float
    a: float
    b: float
    standard_errors: tuple[float, ...] = ()
    log_likelihood: float = float("nan")

    def alive_logit(self, customers: Histories) -> Array:
        """Log odds of being alive (Fader, Hardie & Lee, 2008, brucehardie.com/notes/021).

        Who never bought again is alive: one leaves after a purchase, and the first one does not count as such.
        """
        silence = np.log((self.alpha + customers.age) / (self.alpha + customers.recency))
        odds = np.log(np.maximum(self.b + customers.repeats - 1.0, self.b) / self.a)
        logit = odds - (self.r + customers.repeats) * silence
        return np.where(customers.repeats > 0.0, logit, CERTAIN)

    def probability_alive(self, customers: Histories) -> Array:
        """P(the customer will buy again, if he is given time)."""
        return sigmoid(self.alive_logit(customers))

    def probability_of_purchase(self, customers: Histories, horizon: float) -> Array:
        """P(the customer is alive, and buys at least once within `horizon`).

        Nobody leaves before that purchase, and a living customer's rate is gamma(r + x, alpha + T): P(no purchase) is
        that distribution's Laplace transform.
        """
        waiting = np.log1p(horizon / (self.alpha + customers.age))
        return self.probability_alive(customers) * -np.expm1(-(self.r + customers.repeats) * waiting)

    def expected_purchases(self, customers: Histories, horizon: float) -> Array:
        """E[purchases within `horizon`] (the paper's eq. 10).

        Euler's transformation turns the paper's (1 - z)^(r + x) 2F1(r + x, b + x; a + b + x - 1; z) into
        (1 - z)^(a - 1) 2F1(a + b - 1 - r, a - 1; a + b + x - 1; z): no power depends on x, and the more purchases x
        there are, the faster the terms fall. The series is summed without its 1, its factor a - 1 and its first divisor
        a + b + x - 1, so that neither a = 1 nor a + b = 1 is a pole.
        """
        z = horizon / (self.alpha + customers.age + horizon)
        top = self.a + self.b + customers.repeats - 1.0
        series = np.ones_like(z)
        for n in range(self.terms(float(z.max(initial=0.0))) + 1, 1, -1):
            series = 1.0 + series * z * ((self.rest + n - 1.0) * (self.a + n - 2.0) / n) / (top + n - 1.0)
        powers = (self.a - 1.0) * np.log1p(-z)
        alive = -top * np.log1p(-z) * exprel(powers) - np.exp(powers) * self.rest * z * series
        return np.asarray(self.probability_alive(customers) * np.maximum(alive, 0.0))

    @property
    def rest(self) -> float:
        """The first parameter of the transformed series."""
        return self.a + self.b - 1.0 - self.r

    def terms(self, z: float) -> int:
        """How many terms of the series are worth adding; those of a customer without repeats fall the slowest."""
        n = np.arange(2.0, _MOST_TERMS + 2.0)
        ratios = np.abs(self.rest + n - 1.0) * (self.a + n - 2.0) * z / ((self.a + self.b + n - 2.0) * n)
        with np.errstate(divide="ignore"):
            sizes = np.cumsum(np.log(ratios))
        return int(np.count_nonzero(sizes > np.log(_PRECISION * (1.0 - z))))


def fit(customers: Histories) -> BetaGeometric:
    """The parameters of highest likelihood (the paper's eq. 6); customers with the same history are counted once."""
    table = pd.DataFrame({"x": customers.repeats, "recency": customers.recency, "age": customers.age})
    counted = table.groupby(["x", "recency", "age"], sort=False).size().reset_index(name="count")
    x, recency, age, count = (counted[name].to_numpy(np.float64) for name in ("x", "recency", "age", "count"))
    # What depends on the number of repeats alone is the most expensive, and there are few numbers.
    repeats, code = np.unique(x, return_inverse=True)
    buyers = np.bincount(code, count)
    again = np.maximum(x, 1.0)

    def likelihood(values: Array) -> tuple[float, Array]:
        r, alpha, a, b = values
        later, sooner = np.log(alpha + age), np.log(alpha + recency)
        alive = -(r + x) * later
        with np.errstate(divide="ignore"):
            gone = np.where(x > 0.0, np.log(a / (b + again - 1.0)) - (r + x) * sooner, -np.inf)
        either = np.logaddexp(alive, gone)
        left = np.exp(gone - either)
        stayed = 1.0 - left
        known = (
            gammaln(r + repeats) - gammaln(r) + r * np.log(alpha)
            + gammaln(b + repeats) - gammaln(b) + gammaln(a + b) - gammaln(a + b + repeats)
        )  # fmt: skip
        both = digamma(a + b) - digamma(a + b + repeats)
        gradient = [
            buyers @ (digamma(r + repeats) - digamma(r) + np.log(alpha)) - count @ (stayed * later + left * sooner),
            buyers.sum() * r / alpha - count @ ((r + x) * (stayed / (alpha + age) + left / (alpha + recency))),
            buyers @ both + (count @ left) / a,
            buyers @ (both + digamma(b + repeats) - digamma(b)) - count @ (left / (b + again - 1.0)),
        ]
        return float(buyers @ known + count @ either), np.array(gradient)

    found = maximize(likelihood, np.array([1.0, max(float(age.mean()), 1e-6), 1.0, 1.0]), len(customers.repeats))
    r, alpha, a, b = (float(value) for value in found.estimates)
    errors = tuple(float(error) for error in found.standard_errors)
    return BetaGeometric(r=r, alpha=alpha, a=a, b=b, standard_errors=errors, log_likelihood=found.log_likelihood)
