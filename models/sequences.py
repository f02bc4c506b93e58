"""Sequence features: what the order of a customer's events says of each category, at a moment.

Belongs here: events in order, counts of what follows what, and one row of features per moment and category. Does not
belong here: how the features are weighed (`models.intent`).

A moment is a customer, the events known by then, and the time. All moments are computed at once: the loops are over
lags and a dozen features, never over events.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix
from scipy.special import gammaln

from models.arrays import Array

Codes = NDArray[np.int64]

TYPES = ("page_view", "product_view", "add_to_cart", "purchase")
NAMES = (
    "is_last",
    "recent",
    "in_session",
    "viewed",
    "in_cart",
    "bought",
    "dwell",
    "log_hours_since",
    "log_own_share",
    "log_popularity",
    "log_transition",
    "log_transition_of_two",
)
"""The features of a category at a moment, in order.

Of the last `LAGS` events, each weighted by `DECAY` to the power of the events after it: `recent`, all of them;
`viewed`, product views; `in_cart`, carts not bought since; `bought`, purchases; `dwell`, the time before the next
event, in parts of half an hour, which it is cut to. `in_session` counts those of the session that is going on.
Logarithms are of probabilities, shrunk, or of hours and one.
"""

LAGS = 12
DECAY = 0.7
PAUSE = 1800.0  # seconds without an event that end a session
_VIEW, _CART, _PURCHASE = (TYPES.index(name) for name in ("product_view", "add_to_cart", "purchase"))
_NEVER = np.log1p(366 * 24.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Events by customer and time.

    Attributes:
        customers: By number.
        customer: Of each event.
        category: Of each event.
        kind: Of each event, one of `TYPES`.
        session: Of each event.
        when: Each event happened, in seconds.
        start: Each customer's first event, and one past the last event of all.
        by_category: The events by customer, category and time.

    """

    customers: pd.Index
    customer: Codes
    category: Codes
    kind: Codes
    session: Codes
    when: Array
    start: Codes
    by_category: Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Customers by number, one past the last event known of each, and the time in seconds."""

    customer: Codes
    end: Codes
    now: Array

    def __getitem__(self, rows: slice | Codes) -> "Moments":
        return Moments(customer=self.customer[rows], end=self.end[rows], now=self.now[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What follows what, over all customers: each level is shrunk to the one above it.

    Attributes:
        popularity: P(category).
        first: P(category | the last), one row per last category.
        pairs: Of the last two categories, by number, sorted.
        second: Counts of what followed each pair; a last row, of a pair never seen, is empty.
        second_strength: Events that `first` is worth in `second`.
        own_strength: Events that `popularity` is worth in a customer's own share.

    """

    popularity: Array
    first: Array
    pairs: Codes = field(repr=False)
    second: csr_matrix = field(repr=False)
    second_strength: float
    own_strength: float


def events(frame: pd.DataFrame, categories: pd.Index) -> Events:
    """The rows of `frame` (`models.intent.train` names its columns) that are of one of `categories`, in order.

    Where `session_id` is null, half an hour without an event ends a session.
    """
    code = categories.get_indexer(pd.Index(frame["category"]))
    frame, code = frame[code >= 0], code[code >= 0]
    customer, customers = pd.factorize(frame["customer_id"], sort=True)
    at = seconds(frame["occurred_at"])
    order = np.lexsort((at, customer))
    customer, at = customer[order], at[order]
    code, session = code[order], pd.factorize(frame["session_id"])[0][order]
    is_paused = np.diff(at, prepend=-np.inf) > PAUSE
    is_named = (session >= 0) & (np.roll(session, 1) >= 0)
    is_new = np.where(is_named, session != np.roll(session, 1), is_paused) | (np.diff(customer, prepend=-1) != 0)
    return Events(
        customers=pd.Index(customers),
        customer=customer,
        category=code,
        kind=pd.Index(TYPES).get_indexer(pd.Index(frame["type"]))[order],
        session=np.cumsum(is_new),
        when=at,
        start=np.searchsorted(customer, np.arange(len(customers) + 1)),
        by_category=np.lexsort((code, customer)),
    )


def seconds(times: pd.Series) -> Array:
    """Since 1970."""
    return np.asarray(pd.to_datetime(times, utc=True).dt.as_unit("us").astype("int64").to_numpy() / 1e6)


def before(known: Events, rows: Codes) -> Moments:
    """The moments at which the events `rows` happen, when all that is known is what came before them."""
    return Moments(customer=known.customer[rows], end=rows, now=known.when[rows])


def tables(known: Events, categories: int, is_taken: NDArray[np.bool_]) -> Tables:
    """Count what follows what, of the customers `is_taken` by number."""
    rows = np.flatnonzero(is_taken[known.customer])
    category, place = known.category, rows - known.start[known.customer[rows]]
    count = np.bincount(category[rows], minlength=categories) + 1.0
    popularity = count / count.sum()

    own = _counts(known.customer[rows], category[rows], (len(known.customers), categories))
    after = rows[place > 0]
    singles = _counts(category[after - 1], category[after], (categories, categories))
    first = _shrunk(singles.toarray(), popularity, _strength(singles, np.tile(popularity, (categories, 1))))
    after = rows[place > 1]
    pairs, pair = np.unique(category[after - 2] * categories + category[after - 1], return_inverse=True)
    second = _counts(pair, category[after], (len(pairs) + 1, categories))
    return Tables(
        popularity=popularity,
        first=first,
        pairs=pairs,
        second=second,
        second_strength=_strength(second, first[np.append(pairs % categories, 0)]),
        own_strength=_strength(own, np.broadcast_to(popularity, own.shape)),
    )


def features(known: Events, moments: Moments, counted: Tables) -> Array:
    """The features `NAMES` of each category at each moment, shape (moments, categories, features)."""
    shape = (len(moments.end), len(counted.popularity))
    start = known.start[moments.customer]
    recent, in_session, viewed, in_cart, bought, dwell = np.zeros((6, *shape))
    for lag in range(1, LAGS + 1):
        rows = np.flatnonzero(moments.end - lag >= start)
        event = moments.end[rows] - lag
        cell, kind, weight = (rows, known.category[event]), known.kind[event], DECAY ** (lag - 1)
        following = known.when[event + 1] if lag > 1 else moments.now[rows]
        last = moments.end[rows] - 1
        is_here = (moments.now[rows] - known.when[last] <= PAUSE) & (known.session[event] == known.session[last])
        recent[cell] += weight
        in_session[cell] += is_here
        viewed[cell] += weight * (kind == _VIEW)
        in_cart[cell] += weight * ((kind == _CART) & (bought[cell] == 0.0))
        bought[cell] += weight * (kind == _PURCHASE)
        dwell[cell] += weight * np.minimum(following - known.when[event], PAUSE) / PAUSE
    before, since = _history(known, moments, shape[1])
    last = np.where(moments.end > start, known.category[moments.end - 1], -1)
    own = _shrunk(before, counted.popularity, counted.own_strength)
    first, second = _transitions(known, moments, last, counted)
    is_last = (np.arange(shape[1]) == last[:, None]).astype(np.float64)
    popularity = np.broadcast_to(np.log(counted.popularity), shape)
    logs = (np.log(own), popularity, np.log(first), np.log(second))
    return np.stack([is_last, recent, in_session, viewed, in_cart, bought, dwell, since, *logs], axis=2)


def _history(known: Events, moments: Moments, categories: int) -> tuple[Array, Array]:
    """Events of each category before each moment, and log1p of the hours since the last one."""
    order, step = known.by_category, len(known.when) + 1
    key = (known.customer[order] * categories + known.category[order]) * step + order
    wanted = ((moments.customer * categories)[:, None] + np.arange(categories)) * step
    low, high = np.searchsorted(key, wanted), np.searchsorted(key, wanted + moments.end[:, None])
    hours = (moments.now[:, None] - known.when[order[high - 1]]) / 3600.0
    return (high - low).astype(np.float64), np.where(high > low, np.log1p(np.maximum(hours, 0.0)), _NEVER)


def _transitions(known: Events, moments: Moments, last: Codes, counted: Tables) -> tuple[Array, Array]:
    """P(category | the last) and P(category | the last two); of a customer without events, the popularity."""
    first = np.where(last[:, None] >= 0, counted.first[last], counted.popularity)
    has_two = moments.end - 1 > known.start[moments.customer]
    previous = known.category[np.maximum(moments.end - 2, 0)]
    pair = np.where(has_two, previous * len(counted.popularity) + last, -1)
    place = np.searchsorted(counted.pairs, pair)
    is_seen = np.append(counted.pairs, -1)[place] == pair
    counts = counted.second[np.where(is_seen & has_two, place, len(counted.pairs))].toarray()
    return first, _shrunk(counts, first, counted.second_strength)


def _counts(row: Codes, column: Codes, shape: tuple[int, int]) -> csr_matrix:
    return csr_matrix((np.ones(len(row)), (row, column)), shape=shape)


def _shrunk(counts: Array, mean: Array, strength: float) -> Array:
    return np.asarray((counts + strength * mean) / (counts.sum(axis=1, keepdims=True) + strength))


def _strength(counts: csr_matrix, mean: Array) -> float:
    """How many events the mean is worth: the likeliest concentration of a Dirichlet around it (Minka, 2000, eq. 53)."""
    cells, total = counts.tocoo(), np.asarray(counts.sum(axis=1)).ravel()
    share = mean[cells.row, cells.col]

    def loss(log_strength: float) -> float:
        strength = np.exp(log_strength)
        rows = gammaln(strength) - gammaln(total + strength)
        return -float(rows.sum() + (gammaln(cells.data + strength * share) - gammaln(strength * share)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.01, 1e5]), method="bounded").x))
