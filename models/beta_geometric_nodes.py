"""BG/NBD as nodes of an ONNX graph: what serving computes, in float64.

Belongs here: the twin of each function of `models.beta_geometric` that is served. Does not belong here: why it is so
(there), or which features go in (`models.btyd`).
"""

from dataclasses import dataclass

import numpy as np

from models.arrays import Array
from models.beta_geometric import CERTAIN, BetaGeometric
from models.doubles import Doubles

_NEAR_ONE = 1e-3
_NOTHING = -1e3


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the nodes that give `models.beta_geometric.Histories`."""

    repeats: str
    recency: str
    age: str


def alive_logit(model: BetaGeometric, graph: Doubles, customers: Columns) -> str:
    """As `BetaGeometric.alive_logit`."""
    now, last = graph.add("Add", customers.age, model.alpha), graph.add("Add", customers.recency, model.alpha)
    silence = graph.add("Log", graph.add("Div", now, last))
    survivals = graph.add("Max", graph.add("Add", customers.repeats, model.b - 1.0), model.b)
    odds = graph.add("Log", graph.add("Div", survivals, model.a))
    lost = graph.add("Mul", graph.add("Add", customers.repeats, model.r), silence)
    return graph.add("Where", graph.add("Greater", customers.repeats, 0.0), graph.add("Sub", odds, lost), CERTAIN)


def probability_of_purchase(model: BetaGeometric, graph: Doubles, customers: Columns, horizon: float) -> str:
    """As `BetaGeometric.probability_of_purchase`."""
    alive = graph.add("Sigmoid", alive_logit(model, graph, customers))
    now = graph.add("Add", customers.age, model.alpha)
    waiting = graph.add("Log", graph.add("Div", now, graph.add("Add", now, horizon)))
    none = graph.add("Exp", graph.add("Mul", graph.add("Add", customers.repeats, model.r), waiting))
    return graph.add("Mul", alive, graph.add("Sub", 1.0, none))


def expected_purchases(model: BetaGeometric, graph: Doubles, customers: Columns, horizon: float) -> str:
    """As `BetaGeometric.expected_purchases`, all terms of the series at once: few nodes, however many terms there are.

    There are as many as a customer of this moment needs, whose terms fall the slowest.
    """
    z = graph.add("Div", horizon, graph.add("Add", customers.age, model.alpha + horizon))
    top = graph.add("Add", customers.repeats, model.a + model.b - 1.0)
    fall = graph.add("Log", graph.add("Sub", 1.0, z))
    powers = graph.add("Mul", fall, model.a - 1.0)
    power = graph.add("Exp", powers)
    if abs(model.a - 1.0) > _NEAR_ONE:
        first = graph.add("Mul", top, graph.add("Div", graph.add("Sub", 1.0, power), model.a - 1.0))
    else:
        first = graph.add("Mul", top, graph.add("Mul", graph.add("Neg", fall), _relative_exponential(graph, powers)))
    series = _series(model, graph, z, top, model.terms(horizon / (model.alpha + horizon)))
    others = graph.add("Mul", power, graph.add("Mul", graph.add("Mul", z, model.rest), series))
    alive = graph.add("Sigmoid", alive_logit(model, graph, customers))
    return graph.add("Mul", alive, graph.add("Relu", graph.add("Sub", first, others)))


def _relative_exponential(graph: Doubles, powers: str) -> str:
    """(exp(u) - 1) / u of u near 0, where the difference would lose more digits than its series leaves out."""
    result = graph.add("Add", graph.add("Mul", powers, 1.0 / 4.0), 1.0)
    for divisor in (3.0, 2.0):
        result = graph.add("Add", graph.add("Mul", graph.add("Mul", result, powers), 1.0 / divisor), 1.0)
    return result


def _series(model: BetaGeometric, graph: Doubles, z: str, top: str, terms: int) -> str:
    if not terms:
        return graph.add("Add", graph.add("Mul", z, 0.0), 1.0)
    n = np.arange(2.0, terms + 2.0)[None, :]
    factors = (model.rest + n - 1.0) * (model.a + n - 2.0) / n
    with np.errstate(divide="ignore"):
        constant = np.maximum(np.log(np.abs(factors)), _NOTHING)
    varying = graph.add("Log", graph.add("Div", z, graph.add("Add", top, n - 1.0)))
    signs: Array = np.cumprod(np.sign(factors), axis=1).T.astype(np.float64)
    sizes = graph.add("Exp", graph.sums(graph.add("Add", varying, constant)))
    return graph.add("Add", graph.add("MatMul", sizes, signs), 1.0)
