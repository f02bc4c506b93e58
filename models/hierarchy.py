"""A logistic regression whose coefficients vary: a customer's around the segment's, a segment's around everybody's.

Belongs here: the fit, and what is known of a customer after so many answers. Does not belong here: what the columns
mean (`models.preferences`).

How far customers and segments vary is estimated from the data, so that what little is known of one is shrunk as much as
it should be: empirical Bayes. A customer's posterior is the normal distribution nearest to it (Gaussian variational
approximation: Ormerod & Wand, 2012); its mode and curvature would, with few answers, be too sure. Rows that share all
their columns are one cell, and are counted.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models.arrays import Array
from models.linear import sigmoid
from models.variation import within

Codes = NDArray[np.int64]

_STEPS = 50  # at most; a few are enough
_STEPS_OF_A_ROUND = 2  # the next round goes on from there
_LONGEST = 2.0  # step of a log odds: Newton's method may overshoot where nearly everybody answers, or nobody
_CLOSE = 1e-6  # of a log odds: nobody's answer depends on who else is asked about
_VAGUE = 0.1  # precision of everybody's coefficients: a log odds of 3 is nothing special
_BETWEEN = 0.25  # variance of segments, until it is estimated
_LEAST = 1e-6  # variance: of none at all there is no precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What is known of the coefficients of each customer: about normal."""

    mean: Array
    covariance: Array

    def linear(self, design: Array) -> tuple[Array, Array]:
        """The log odds of each customer in each row of `design`: mean and variance, shape (customers, rows)."""
        variance = self.covariance.reshape(len(self.mean), -1) @ _products(design).T
        return self.mean @ design.T, variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Coefficients of everybody, of each segment, and how far they vary.

    Attributes:
        design: One row per cell, one column per coefficient.
        everybody: Coefficients.
        segments: Coefficients, one row per segment.
        between: Variance of a segment's coefficients around everybody's.
        within: Variance of a customer's around the segment's.

    """

    design: Array = field(repr=False)
    everybody: Array
    segments: Array
    between: Array
    within: Array

    def posterior(self, sends: Array, answers: Array, segment: Codes) -> Posterior:
        """After `sends` and `answers`, shape (customers, cells); a segment below 0 is one never seen."""
        is_known = segment >= 0
        mean = np.where(is_known[:, None], self.segments[segment], self.everybody)
        variance = self.within + np.where(is_known[:, None], 0.0, self.between)
        start = Posterior(mean=mean, covariance=_diagonal(variance))
        is_used = sends.any(axis=0)
        counts = (sends[:, is_used], answers[:, is_used])
        return _posterior(self.design[is_used], counts, (mean, variance), start, _STEPS)


def fit(
    design: Array, blocks: Codes, sends: csr_matrix, answers: csr_matrix, segment: Codes, *, segments: int, rounds: int
) -> Hierarchy:
    """Fit to customers' sends and answers, shape (customers, cells); coefficients of one block share their variances.

    How far customers vary is told by pairs of their answers (`models.variation`). Each round finds the customers'
    posteriors, and a step of the segments' coefficients by generalized least squares (Breslow & Clayton, 1993, section
    2.3) with the variance between them, by expectation maximization.
    """
    width = design.shape[1]
    is_used = np.asarray(sends.sum(axis=0)).ravel() > 0
    used, counts = design[is_used], (sends[:, is_used].toarray(), answers[:, is_used].toarray())
    everybody, around = _marginal(used, tuple(_sums(each, segment, segments) for each in counts))
    varied = within(used, blocks, (sends[:, is_used], answers[:, is_used]), segment, sigmoid(around @ used.T))
    variance, between = np.maximum(varied, _LEAST), np.full(width, _BETWEEN)
    posterior = Posterior(mean=around[segment], covariance=_diagonal(np.tile(variance, (len(segment), 1))))
    for _ in range(rounds):
        posterior = _posterior(used, counts, (around[segment], variance[None, :]), posterior, _STEPS_OF_A_ROUND)
        pull = (posterior.mean - around[segment]) / variance
        known = np.eye(width) / variance - posterior.covariance / np.outer(variance, variance)
        gradient, information = _sums(pull, segment, segments), _sums(known, segment, segments)
        score = np.einsum("gij,gj->gi", information, around) + gradient
        shrunk = np.linalg.inv(np.eye(width) + information * between)
        everybody = np.linalg.solve(
            (shrunk @ information).sum(axis=0) + _VAGUE * np.eye(width), np.einsum("gij,gj->i", shrunk, score)
        )
        unsure = np.linalg.inv(information + np.diag(1.0 / between))
        around = np.einsum("gij,gj->gi", unsure, score + everybody / between)
        spread = np.square(around - everybody) + np.diagonal(unsure, axis1=1, axis2=2)
        between = np.maximum(_shared(spread.mean(axis=0), blocks), _LEAST)
    return Hierarchy(design=design, everybody=everybody, segments=around, between=between, within=variance)


def _marginal(design: Array, counts: tuple[Array, ...]) -> tuple[Array, Array]:
    """Coefficients of everybody, and of each segment, if customers did not vary; `counts` are of segments."""
    sends, answers = counts
    width, rate = design.shape[1], answers.sum() / sends.sum()
    level = np.where(np.arange(width) == 0, np.log(rate / (1 - rate)), 0.0)
    everybody = _mode(design, (sends.sum(axis=0)[None, :], answers.sum(axis=0)[None, :]), level, 1.0 / _VAGUE)[0]
    return everybody, _mode(design, (sends, answers), everybody, _BETWEEN)


def _mode(design: Array, counts: tuple[Array, Array], mean: Array, variance: float) -> Array:
    rows = np.tile(mean, (len(counts[0]), 1))
    start = Posterior(mean=rows, covariance=np.zeros((*rows.shape, len(mean))))
    return _posterior(design, counts, (rows, np.full((1, len(mean)), variance)), start, _STEPS).mean


def _posterior(
    design: Array, counts: tuple[Array, Array], prior: tuple[Array, Array], start: Posterior, steps: int
) -> Posterior:
    """Newton's method for all customers at once, from `counts` of sends and answers and means and variances before.

    A logistic function's mean over a normal log odds is nearly one of a flatter slope (MacKay, 1992b, eq. 10).
    """
    (sends, answers), (mean, variance) = counts, prior
    products, certain, width = _products(design), _diagonal(1.0 / variance), design.shape[1]
    at, covariance = start.mean, start.covariance
    for _ in range(steps):
        flatter = 1.0 / np.sqrt(1.0 + np.pi / 8.0 * (covariance.reshape(len(at), -1) @ products.T))
        probability = sigmoid(at @ design.T * flatter)
        gradient = (answers - sends * probability) @ design - (at - mean) / variance
        curvature = (sends * flatter * probability * (1.0 - probability)) @ products
        covariance = np.asarray(np.linalg.inv(curvature.reshape(-1, width, width) + certain), dtype=np.float64)
        step = (covariance @ gradient[:, :, None])[:, :, 0]
        longest = np.abs(step @ design.T).max(axis=1, initial=0.0)
        at = at + step * np.minimum(1.0, _LONGEST / np.maximum(longest, _LONGEST))[:, None]
        if longest.max(initial=0.0) < _CLOSE:
            break
    return Posterior(mean=at, covariance=covariance)


def _diagonal(values: Array) -> Array:
    return np.asarray(values[:, :, None] * np.eye(values.shape[1]))


def _products(design: Array) -> Array:
    return np.asarray((design[:, :, None] * design[:, None, :]).reshape(len(design), design.shape[1] ** 2))


def _sums(values: Array, segment: Codes, count: int) -> Array:
    flat = values.reshape(len(values), -1)
    member = csr_matrix((np.ones(len(segment)), (segment, np.arange(len(segment)))), shape=(count, len(segment)))
    return np.asarray(member @ flat).reshape(count, *values.shape[1:])


def _shared(values: Array, blocks: Codes) -> Array:
    return np.asarray((np.bincount(blocks, values) / np.bincount(blocks))[blocks])
