"""The regressions that find effects: what each row says of every action against nothing.

Belongs here: the moments of the doubly robust and of the residual-on-residual regression, their loss, and what is left
for trees. Does not belong here: which is kept (`models.uplift`), or how they are solved (`models.pooled`).

What a row says of two actions is compared with the same nothing, so that its noise is shared. At noise of variance 1 in
the outcome, the scores of the actions less that of nothing have the covariance diag(1/p) + 1/p(nothing), whose inverse,
the precision, is diag(p) - p p' / (p(nothing) + sum of p): rows are weighted with that (generalized least squares). It
is the expectation of the R-learner's own Gram matrix, which weights so by itself (for one action: Fisher, 2024,
"Inverse-variance weighting for estimation of heterogeneous treatment effects").
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from models.arrays import Array
from models.decision_log import DecisionLog
from models.doubly_robust import scores
from models.fitted import Fitted
from models.offers import NOTHING, Codes, Offers, indicators
from models.pooled import Moments, Scale, scale_of

_CELLS = 4_000_000  # of a regression held at a time
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, slots=True)
class EffectData:
    """What is regressed."""

    offers: Offers
    log: DecisionLog
    scale: Scale
    seen: Array
    """Scores of each action less those of nothing, shape (rows, actions)."""
    support: Array
    """Shape (rows, arms), as `DecisionLog.support`."""
    rest: Array
    """What each outcome has over its expectation, whatever is done."""

    @property
    def actions(self) -> int:
        return len(self.log.actions)

    def told(self, rows: Codes, action: Codes) -> Array:
        """What a fitted model takes, of pairs of a row and an action (from 0)."""
        return np.column_stack([self.offers.pairs(rows, action + 1), indicators(action, self.actions)])

    def columns(self, rows: Codes) -> list[Array]:
        """By action what a regression takes."""
        return [self.scale.columns(self.offers.pairs(rows, np.full(len(rows), 1 + n))) for n in range(self.actions)]


def effect_data(offers: Offers, log: DecisionLog, expected: Array, least: float) -> EffectData:
    """What is regressed, given what is expected of every arm."""
    robust = scores(log, expected, least)
    support = log.support(least)
    whole = support if log.pmf is None else log.pmf
    return EffectData(
        offers,
        log,
        scale_of(offers.pairs(np.arange(len(log)), np.maximum(log.arm, 1))),
        robust[:, 1:] - robust[:, [NOTHING]],
        support,
        log.outcome - np.sum(whole * expected, axis=1),
    )


def robust_moments(data: EffectData, rows: Codes) -> Moments:
    """Of the doubly robust regression (Kennedy, 2023, algorithm 1), weighted by precision."""

    def part(some: Codes) -> Moments:
        p, seen = data.support[some, 1:], data.seen[some]
        total = _total(data.support[some])
        weighted = p * (seen - (np.sum(p * seen, axis=1) / total)[:, None])
        columns = data.columns(some)
        own = block_diag(*((z.T * p[:, n]) @ z for n, z in enumerate(columns)))
        pulled = np.concatenate([z * (p[:, n] / np.sqrt(total))[:, None] for n, z in enumerate(columns)], axis=1)
        moment = np.concatenate([z.T @ weighted[:, n] for n, z in enumerate(columns)])
        return Moments(own - pulled.T @ pulled, moment, float(np.sum(weighted * seen)), int((p > 0).sum()))

    return _summed(part, data, rows)


def residual_moments(data: EffectData, rows: Codes, pmf: Array) -> Moments:
    """Of the R-learner's regression (Nie & Wager, 2021), of all actions at once: rows of `pmf` are those of the log.

    The sum of (y - m(x) - sum over actions of (1{done} - p(x)) effect(x))^2, with m(x) what is expected whatever is
    done: Robinson's (1988) transformation with a vector of treatments.
    """

    def part(some: Codes) -> Moments:
        surprise = indicators(data.log.arm[some], data.log.arms)[:, 1:] - pmf[some, 1:]
        z = np.concatenate([z * surprise[:, [n]] for n, z in enumerate(data.columns(some))], axis=1)
        rest = data.rest[some]
        return Moments(z.T @ z, z.T @ rest, float(rest @ rest), len(rest))

    return _summed(part, data, rows)


def robust_loss(data: EffectData, rows: Codes, model: Fitted) -> float:
    """The doubly robust loss of `model`: squared errors against the scores of `rows`, weighted by precision, summed."""
    p, errors = data.support[rows, 1:], _errors(data, rows, model)
    shared = np.sum(p * errors, axis=1) ** 2 / _total(data.support[rows])
    return float(np.sum(p * errors**2) - shared.sum())


def common_rest(data: EffectData, rows: Codes, model: Fitted) -> tuple[Array, Array]:
    """What `model` leaves of the scores in mean over the actions, per row, and how precisely it is known.

    The mean is weighted as generalized least squares does it; it holds the noise of nothing once, not once per action.
    """
    p, nothing = data.support[rows, 1:], data.support[rows, NOTHING]
    supported = p.sum(axis=1)
    rest = np.sum(p * _errors(data, rows, model), axis=1) / np.maximum(supported, _TINY)
    return rest, nothing * supported / np.maximum(nothing + supported, _TINY)


def _errors(data: EffectData, rows: Codes, model: Fitted) -> Array:
    return np.column_stack(
        [data.seen[rows, n] - model.predict(data.told(rows, np.full(len(rows), n))) for n in range(data.actions)]
    )


def _total(support: Array) -> Array:
    return np.asarray(np.maximum(support.sum(axis=1), _TINY))


def _summed(part: Callable[[Codes], Moments], data: EffectData, rows: Codes) -> Moments:
    width = data.actions * (len(data.scale.mean) + 1)
    found = Moments(np.zeros((width, width)), np.zeros(width), 0.0, 0)
    step = max(1, _CELLS // width)
    for start in range(0, len(rows), step):
        found += part(rows[start : start + step])
    return found
