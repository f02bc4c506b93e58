"""Maximum likelihood: the estimates of positive parameters, and how sure they are.

Belongs here: the search and the standard errors. Does not belong here: any likelihood (its model's own module).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from models.arrays import Array

Likelihood = Callable[[Array], tuple[float, Array]]
"""Of the parameters: the log-likelihood, and its derivative by each of them."""

_REACH = 12.0  # of a logarithm from where it starts: a parameter that far away has no maximum
_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class Maximum:
    """Where the likelihood is highest; a parameter that the data do not identify has an infinite standard error."""

    estimates: Array
    standard_errors: Array
    log_likelihood: float


def maximize(likelihood: Likelihood, start: Array, rows: int) -> Maximum:
    """The maximum of the log-likelihood of so many `rows`, sought in the logarithms of the parameters.

    They stay positive, and how far a step goes does not depend on units. The standard errors are those of the observed
    information, brought back from logarithms by the delta method (Davison, 2003, Statistical Models, section 4.3).
    """

    def loss(logs: Array) -> tuple[float, Array]:
        values = np.exp(logs)
        value, gradient = likelihood(values)
        return -value / rows, -gradient * values / rows

    begin = np.log(start)
    bounds = [(value - _REACH, value + _REACH) for value in begin]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-8})
    values = np.exp(found.x)
    errors = np.sqrt(_variances(_information(lambda logs: loss(logs)[1], found.x) * rows))
    return Maximum(values, values * errors, -float(found.fun) * rows)


def _information(gradient: Callable[[Array], Array], at: Array) -> Array:
    steps = np.eye(len(at)) * _STEP
    rows = [(gradient(at + step) - gradient(at - step)) / (2 * _STEP) for step in steps]
    return (np.array(rows) + np.array(rows).T) / 2


def _variances(information: Array) -> Array:
    if np.linalg.eigvalsh(information)[0] <= 0.0:
        return np.full(len(information), np.inf)
    return np.diag(np.linalg.inv(information)).copy()
