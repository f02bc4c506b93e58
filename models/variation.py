"""How far customers' coefficients vary around their segment's, from pairs of answers of the same customer.

Belongs here: the variances. Does not belong here: what follows from them (`models.hierarchy`).

Where customers vary, two answers of one of them go together more than chance has it, the more so the more alike the
two sends were. Pairs tell that much even where there are only a few sends to a customer, from which the likelihood of
a hierarchical model can hardly tell variation from chance.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from scipy.stats import norm

from models.arrays import Array

Codes = NDArray[np.int64]

_SCALE = 15 * np.pi / (16 * np.sqrt(3))  # of a normal variable beside a logistic one: Zeger, Liang & Albert (1988)
_ROUNDS = 20
_CLOSE = 1e-4
_CERTAIN = 0.95  # correlation: the series does not reach further
_RARE = 1e-6


def within(design: Array, blocks: Codes, counts: tuple[csr_matrix, csr_matrix], segment: Codes, rates: Array) -> Array:
    """The variance of each coefficient; those of one block share theirs.

    A log odds that varies with variance v is, nearly, a normal variable with variance v + `_SCALE`² above 0 (Zeger,
    Liang & Albert, 1988); the covariance of two of those being so follows from their correlation by the tetrachoric
    series (Pearson, 1900), of which the first two terms are taken. The variances, none below 0, are those whose
    covariances are nearest to the products of residuals, in least squares weighted by their variance under chance.

    Args:
        design: One row per cell, shape (cells, coefficients).
        blocks: Of each coefficient.
        counts: Sends and answers, each shape (customers, cells).
        segment: Of each customer.
        rates: P(answer) over the customers of each segment, shape (segments, cells).

    """
    count = int(blocks.max()) + 1
    alike = np.stack([(design * (blocks == block)) @ design.T for block in range(count)], axis=2)
    sends, answers = counts
    terms = [
        _pairs(alike, sends[segment == each], answers[segment == each], np.clip(rate, _RARE, 1 - _RARE))
        for each, rate in enumerate(rates)
    ]
    products, weight, level, likeness, own = (np.concatenate(each) for each in zip(*terms, strict=True))
    found = np.zeros(count)
    if not len(products):
        return found[blocks]
    for _ in range(_ROUNDS):
        scale = np.sqrt(np.prod(_SCALE**2 + own @ found, axis=1))
        density = np.prod(norm.pdf(level), axis=1)
        correlation = np.clip(likeness @ found / scale, -_CERTAIN, _CERTAIN)
        second = correlation * np.prod(level, axis=1)
        slope = (density * (1.0 + second) / scale)[:, None] * likeness
        rest = products - density * correlation * (1.0 + second / 2.0) + slope @ found
        before, found = found, nnls(slope * weight[:, None], rest * weight)[0]
        if np.abs(found - before).max() < _CLOSE:
            break
    return np.asarray(found[blocks])


def _pairs(
    alike: Array, sends: csr_matrix, answers: csr_matrix, rate: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Of each two cells with a pair of sends of one customer of a segment: see what is returned.

    Returns:
        The mean product of two residuals, shape (pairs,), and the square root of its weight; the levels above which a
        normal variable is as often as there is an answer, shape (pairs, 2); how alike the cells are by block, shape
        (pairs, blocks); and each cell to itself, shape (pairs, 2, blocks).

    """
    both, residual = (sends.T @ sends).toarray(), (answers - sends.multiply(rate)).tocsr()
    products = (residual.T @ residual).toarray()
    alone = np.arange(len(rate))  # a send is no pair with itself
    sent, answered = (np.asarray(each.sum(axis=0)).ravel() for each in (sends, answers))
    both[alone, alone] -= sent
    products[alone, alone] -= answered * (1 - rate) ** 2 + (sent - answered) * rate**2
    one, other = np.nonzero(np.triu(both))
    pairs = both[one, other] * np.where(one == other, 0.5, 1.0)
    cells = np.stack([one, other], axis=1)
    chance = np.prod((rate * (1 - rate))[cells], axis=1)
    own = alike[alone, alone]
    return (
        products[one, other] / both[one, other],
        np.sqrt(pairs / chance),
        norm.ppf(rate)[cells],
        alike[one, other],
        own[cells],
    )
