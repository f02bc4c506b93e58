"""Worlds whose truth is known: kinds of customers, sends and answers, visits.

Belongs here: how they come about, by seed. Does not belong here: what is measured on them (`habits`).

None of them is made the way our models think: curves over the day are no sums of harmonics, amounts are noisy and
shares are of few purchases, tastes are a customer's own and change nothing that is counted over all.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.arrays import Array
from models.inputs import DEPARTMENT_PREFIX
from models.linear import sigmoid
from models.sequences import TYPES

CHANNELS = ("app", "email", "sms")
DAYTIME = np.arange(7, 23)
_PEAKS = np.array([8.0, 12.5, 20.0])
HOUR_SHARES = np.where(DAYTIME == 9, 0.5, 0.0) + 0.5 / len(DAYTIME)  # noqa: PLR2004  half go out at nine
CHANNEL_SHARES = np.array([0.2, 0.65, 0.15])

CATEGORIES = tuple(f"category {letter}" for letter in "abcdefghijkl")
_PAUSES = np.array([60.0, 86_400.0])  # seconds to the next event, in mean: within a visit, and to the next one
_STAYS = 0.8

DEPARTMENTS = ("grocery", "drug_gm", "produce", "meat", "deli", "fuel")
# By kind: baskets in 91 days, USD a basket, part bought with coupons, own brand, and how spend divides.
_KINDS = (
    (28.0, 45.0, 0.10, 0.25, (50, 12, 12, 14, 8, 4)),
    (9.0, 80.0, 0.03, 0.20, (52, 20, 8, 10, 5, 5)),
    (14.0, 14.0, 0.01, 0.35, (30, 6, 8, 4, 48, 4)),
    (5.0, 22.0, 0.05, 0.50, (55, 35, 3, 3, 2, 2)),
    (11.0, 30.0, 0.04, 0.22, (25, 5, 5, 5, 5, 55)),
)
_PARTS = (0.30, 0.25, 0.20, 0.15, 0.10)


def shoppers(customers: int, seed: int) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Customers of five kinds, as features of 91 days show them; and each one's kind."""
    random = np.random.default_rng(seed)
    kind = random.choice(len(_KINDS), customers, p=_PARTS)
    rate, size, coupons, brand = np.array([each[:4] for each in _KINDS]).T[:, kind]
    parts = np.array([each[4] for each in _KINDS], dtype=np.float64)[kind]
    baskets = random.poisson(rate * random.gamma(4.0, 0.25, customers))
    basket = size * random.lognormal(0.0, 0.4, customers)
    spend = baskets * basket
    share = random.gamma(parts * 0.25)
    share = share / share.sum(axis=1, keepdims=True) * (baskets > 0)[:, None]
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(customers)],
            "recency_days": np.minimum(random.exponential(91.0 / (baskets + 0.5)), 91.0),
            "baskets_91d": baskets,
            "spend_91d": spend,
            "mean_basket_value_91d": np.where(baskets > 0, basket, 0.0),
            "distinct_products_91d": random.poisson(spend / 5.0),
            "retail_discount_share_91d": random.beta(3.0, 17.0, customers),
            "coupon_baskets_91d": random.binomial(baskets, coupons),
            "private_label_share_91d": random.beta(8 * brand, 8 * (1 - brand)) * (baskets > 0),
        }
    )
    return frame.assign(**{f"{DEPARTMENT_PREFIX}{name}": share[:, at] for at, name in enumerate(DEPARTMENTS)}), kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """Customers and their segments, the sends to them, and P(answer) by customer, hour of `DAYTIME` and channel."""

    customers: tuple[str, ...]
    segments: tuple[str, ...]
    frame: pd.DataFrame
    truth: Array


def sends(customers: int, each: int, seed: int) -> Sends:
    """Sends, `each` in mean to each of so many customers, half of them at nine.

    A customer has an hour that suits best, somewhere around the segment's, how much it does, a channel that suits best,
    and a level.
    """
    random = np.random.default_rng(seed)
    segment = random.integers(0, len(_PEAKS), customers)
    peak = _PEAKS[segment] + random.normal(0.0, 2.5, customers)
    angle = 2 * np.pi * (DAYTIME[None, :] - peak[:, None]) / 24
    bump = random.gamma(4.0, 0.45, customers)[:, None] * np.exp(3.0 * (np.cos(angle) - 1.0))
    channel = np.array([[0.4, 0.0, -0.4], [0.0, 0.3, -0.2], [-0.3, 0.0, 0.4]])[segment]
    channel = channel + random.normal(0.0, 0.7, channel.shape)
    level = -2.6 + 0.4 * (segment == 1) + random.normal(0.0, 0.7, customers)
    truth = sigmoid(level[:, None, None] + bump[:, :, None] + channel[:, None, :])
    who = np.repeat(np.arange(customers), random.poisson(each, customers))
    hour = random.choice(DAYTIME, len(who), p=HOUR_SHARES)
    by = random.choice(len(CHANNELS), len(who), p=CHANNEL_SHARES)
    names = np.array([f"c{number}" for number in range(customers)])
    labels = np.array(["early", "midday", "evening"])[segment]
    frame = pd.DataFrame(
        {
            "customer_id": names[who],
            "segment": labels[who],
            "channel": np.array(CHANNELS)[by],
            "hour": hour,
            "weekday": random.integers(1, 8, len(who)),
            "is_answered": (random.random(len(who)) < truth[who, hour - DAYTIME[0], by]).astype(np.int64),
        }
    )
    return Sends(customers=tuple(names.tolist()), segments=tuple(labels.tolist()), frame=frame, truth=truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Events, and before each one P(next category), by category: what it was drawn from."""

    frame: pd.DataFrame
    truth: Array


def visits(customers: int, each: int, seed: int) -> Visits:
    """So many events of each customer: what is next depends on the last two, the cart, recent views and own taste."""
    random = np.random.default_rng(seed)
    width, everyone = len(CATEGORIES), np.arange(customers)
    follows = np.log(random.dirichlet(np.full(width, 0.4), width) + 0.005)
    follows_two = random.normal(0.0, 0.6, (width, width, width))
    taste = np.log(random.dirichlet(np.linspace(0.3, 1.5, width), customers) + 0.01)
    last, previous = random.integers(0, width, (2, customers))
    cart, recent = np.zeros((2, customers, width))
    at = random.uniform(0.0, 86_400.0 * 20, customers)
    columns: dict[str, list[NDArray[np.generic]]] = {"category": [], "type": [], "at": [], "session": [], "truth": []}
    session = np.zeros(customers, dtype=np.int64)
    for _ in range(each):
        utility = 0.7 * follows[last] + follows_two[previous, last] + 0.5 * taste + 1.5 * cart + 0.8 * recent
        probability = np.exp(utility - utility.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        drawn = (np.cumsum(probability, axis=1) < random.random((customers, 1))).sum(axis=1)
        chosen = np.minimum(drawn, width - 1)
        buys = (cart[everyone, chosen] > 0) & (random.random(customers) < 0.6)  # noqa: PLR2004  most carts are bought
        kind = np.where(buys, 3, random.choice(3, customers, p=[0.35, 0.45, 0.2]))
        cart[everyone, chosen] = np.where(kind == TYPES.index("add_to_cart"), 1.0, cart[everyone, chosen] * ~buys)
        recent *= 0.6
        recent[everyone, chosen] += 1.0
        previous, last = last, chosen
        for name, values in (
            ("category", chosen),
            ("type", kind),
            ("at", at),
            ("session", session),
            ("truth", probability),
        ):
            columns[name].append(values)
        stays = random.random(customers) < _STAYS
        at = at + random.exponential(np.where(stays, *_PAUSES))
        session = session + ~stays
        recent *= stays[:, None]
    found = {name: np.stack(values, axis=1).reshape(customers * each, -1) for name, values in columns.items()}
    who = np.repeat(everyone, each)
    frame = pd.DataFrame(
        {
            "customer_id": np.array([f"c{number:05d}" for number in everyone])[who],
            "session_id": [
                f"{customer}-{number}" for customer, number in zip(who, found["session"][:, 0], strict=True)
            ],
            "category": np.array(CATEGORIES)[found["category"][:, 0]],
            "type": np.array(TYPES)[found["type"][:, 0]],
            "occurred_at": pd.Timestamp(2026, 1, 1, tz="UTC") + pd.to_timedelta(found["at"][:, 0], unit="s"),
        }
    )
    return Visits(frame=frame, truth=found["truth"])
