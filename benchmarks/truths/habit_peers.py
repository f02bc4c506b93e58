"""What people do without habits of ours: rates, counts, plain regressions, trees.

Belongs here: learning on some rows and answering for others, in the shape that `habits` measures. Does not belong here:
our own models, or measures.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaln
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from benchmarks.truths.habit_worlds import CHANNELS, DAYTIME, Sends
from benchmarks.truths.rows import Role
from models.arrays import Array
from models.sequences import Events

Codes = NDArray[np.int64]


def cells(frame: pd.DataFrame, world: Sends) -> tuple[Codes, Codes, Codes]:
    """Of each send: the customer, the hour and the channel, by number."""
    customer = pd.Index(world.customers).get_indexer(pd.Index(frame["customer_id"]))
    return customer, frame["hour"].to_numpy() - DAYTIME[0], pd.Index(CHANNELS).get_indexer(pd.Index(frame["channel"]))


def _combined(overall: Array, by_hour: Array, by_channel: Array) -> Array:
    found = by_hour[:, :, None] * by_channel[:, None, :] / np.maximum(overall, 1e-9)[:, :, None]
    return np.asarray(np.minimum(found, 1.0))


def _counts(train: pd.DataFrame, world: Sends) -> Iterator[tuple[Array, Array]]:
    """Sends and answers of each customer: in all, by hour, and by channel."""
    customer, hour, channel = cells(train, world)
    answer, count = train["is_answered"].to_numpy(np.float64), len(world.customers)
    for option, options in ((np.zeros_like(hour), 1), (hour, len(DAYTIME)), (channel, len(CHANNELS))):
        at = customer * options + option
        sent, answered = (np.bincount(at, weights, minlength=count * options) for weights in (None, answer))
        yield sent.reshape(count, options).astype(np.float64), answered.reshape(count, options).astype(np.float64)


def _everybody(train: pd.DataFrame, world: Sends) -> Array:
    rates = [answered.sum(axis=0) / sent.sum(axis=0) for sent, answered in _counts(train, world)]
    return _combined(*(np.tile(rate, (len(world.customers), 1)) for rate in rates))


def _own(train: pd.DataFrame, world: Sends) -> Array:
    """A customer's own rates; where nothing was sent, their overall one; where nothing ever was, everybody's."""
    found: list[Array] = []
    for sent, answered in _counts(train, world):
        otherwise = found[0] if found else np.asarray(answered.sum() / sent.sum())
        found.append(np.where(sent > 0, answered / np.maximum(sent, 1.0), otherwise))
    return _combined(*found)


def _beta(train: pd.DataFrame, world: Sends) -> Array:
    """Each rate beside the segment's, which is worth as many sends as makes all answers likeliest (beta-binomial)."""
    member = np.eye(len(set(world.segments)))[np.unique(world.segments, return_inverse=True)[1]]
    found = []
    for sent, answered in _counts(train, world):
        mean = member @ ((member.T @ answered) / (member.T @ sent))
        failed = sent - answered

        def likelihood(worth: float, mean: Array = mean, yes: Array = answered, no: Array = failed) -> float:
            a, b = worth * mean, worth * (1 - mean)
            return float((betaln(a + yes, b + no) - betaln(a, b)).sum())

        worth = max(np.geomspace(0.5, 500.0, 30).tolist(), key=likelihood)
        found.append((answered + worth * mean) / (sent + worth))
    return _combined(*found)


def _logistic(columns: Callable[[pd.DataFrame], pd.DataFrame], train: pd.DataFrame, world: Sends) -> Array:
    encoder = OneHotEncoder(handle_unknown="ignore")
    model = LogisticRegression(max_iter=1_000).fit(encoder.fit_transform(columns(train)), train["is_answered"])
    kinds, kind = np.unique(world.segments, return_inverse=True)
    grid = pd.MultiIndex.from_product([kinds, DAYTIME, CHANNELS], names=["segment", "hour", "channel"]).to_frame()
    answer = model.predict_proba(encoder.transform(columns(grid)))[:, 1]
    return np.asarray(answer.reshape(len(kinds), len(DAYTIME), len(CHANNELS))[kind])


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["segment", "hour", "channel"]].astype(str)


def _by_segment(frame: pd.DataFrame) -> pd.DataFrame:
    plain = _plain(frame)
    return pd.DataFrame({name: plain["segment"] + plain[name] for name in ("hour", "channel")})


def _popular(known: Events, past: Codes, rows: Codes) -> Array:
    count = np.bincount(known.category[past], minlength=int(known.category.max()) + 1)
    return np.tile(count / count.sum(), (len(rows), 1))


def _again(known: Events, past: Codes, rows: Codes) -> Array:
    again = np.mean(known.category[past] == known.category[past - 1])
    others, last = _popular(known, past, rows), known.category[rows - 1]
    others[np.arange(len(rows)), last] = 0.0
    others *= (1 - again) / others.sum(axis=1, keepdims=True)
    others[np.arange(len(rows)), last] = again
    return others


def _markov(known: Events, past: Codes, rows: Codes) -> Array:
    width = int(known.category.max()) + 1
    pairs = known.category[past - 1] * width + known.category[past]
    count = np.bincount(pairs, minlength=width * width).reshape(width, width)
    return np.asarray((count / count.sum(axis=1, keepdims=True))[known.category[rows - 1]])


def _multinomial(known: Events, past: Codes, rows: Codes) -> Array:
    encoder = OneHotEncoder(handle_unknown="ignore")
    x = encoder.fit_transform(known.category[past - 1][:, None])
    model = LogisticRegression(max_iter=1_000).fit(x, known.category[past])
    return np.asarray(model.predict_proba(encoder.transform(known.category[rows - 1][:, None])))


def _boosted(known: Events, past: Codes, rows: Codes) -> Array:
    def x(at: Codes) -> Codes:
        return np.stack([known.category[at - 1], known.category[at - 2], known.kind[at - 1]], axis=1)

    trees = HistGradientBoostingClassifier(categorical_features=[0, 1, 2], max_iter=40, random_state=0)
    return np.asarray(trees.fit(x(past), known.category[past]).predict_proba(x(rows)))


SENDS: Mapping[str, tuple[Role, Callable[[pd.DataFrame, Sends], Array]]] = {
    "everybody's rates": ("baseline", _everybody),
    "own rates, unshrunk": ("baseline", _own),
    "own rates, each a beta-binomial": ("peer", _beta),
    "logistic regression": ("peer", partial(_logistic, _plain)),
    "logistic regression by segment": ("peer", partial(_logistic, _by_segment)),
}
"""By name: P(answer) by customer, hour of `DAYTIME` and channel, learned from sends."""

NEXT: Mapping[str, tuple[Role, Callable[[Events, Codes, Codes], Array]]] = {
    "most popular": ("baseline", _popular),
    "last category again": ("baseline", _again),
    "first-order Markov, unshrunk": ("baseline", _markov),
    "logistic regression of the last category": ("peer", _multinomial),
    "boosted trees of the last two categories": ("peer", _boosted),
}
"""By name: P(category) of some events of a sequence, learned from others."""
