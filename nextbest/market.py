"""A simulated market: answers decisions as customers would, with a truth that is known.

Belongs here: who sees, clicks, redeems or waves away, who buys unasked, and how likely that is. Does not belong here:
sending the answers anywhere, or history before our own decisions (a source's business). Everything it says is marked
`source=simulated`; a lift measured on it is a statement about the simulator, whose truth `Market.truth` tells.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from statistics import NormalDist
from typing import Any, NamedTuple

from nextbest.hashing import uniform, uniforms
from nextbest.records import DO_NOTHING

Features = Mapping[str, float | None]

_NORMAL = NormalDist()
_SEEN = {"web": 0.9, "app": 0.9, "email": 0.4}
_LONG_ABSENCE_DAYS = 91
_WEEK = timedelta(weeks=1)
_DISMISSES = 0.02
_UNSUBSCRIBES = 0.002
"""Of those who saw an e-mail and did not click; others dismiss the one thing they saw."""


class Answer(NamedTuple):
    """A row under a contract: `events` for an impression or a click, `outcomes` for what came of it."""

    contract: str
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Market:
    """Customers whose tastes follow from `seed`; what they answer follows from `seed` and the decision's id.

    `within` is the longest time between a decision and the last answer to it, but for a redemption where `takes` is
    given: it comes that much later than the click in the mean, exponentially distributed. Where `zone` is given,
    what is seen depends on the hour by its clock, and on the customer's taste for the channel.
    """

    seed: int
    within: timedelta = field(default=timedelta(seconds=10), kw_only=True)
    takes: timedelta | None = field(default=None, kw_only=True)
    zone: tzinfo | None = field(default=None, kw_only=True)

    def truth(self, customer_id: str, features: Features, action: str) -> float:
        """The probability that the customer redeems the action's coupon, having seen it.

        It rises with what the customer spends in the category and how often coupons were redeemed before, falls with
        the days since the last visit, and depends on a popularity of the action and a taste of the customer that no
        feature shows. A missing feature counts as no spend, no redemption, no visit.
        """
        if action == DO_NOTHING:
            return 0.0
        spend = features.get(f"category_spend_182d__{action}") or 0.0
        response_rate = features.get("response_rate_364d") or 0.0
        popularity = _normal("market popularity", self.seed, action)
        taste = _normal("market taste", self.seed, action, customer_id)
        habit = 0.5 * math.log1p(spend) + 1.5 * response_rate - 0.02 * _absence(features)
        return _logistic(-4.0 + habit + 0.3 * popularity + 0.5 * taste)

    def sight(self, customer_id: str, channel: str, at: datetime) -> float:
        """The probability that the customer sees what comes by the channel at `at`.

        Most look in the evening, each around an hour of their own, and each likes some channels better than others.
        """
        usual = _SEEN.get(channel, 0.0)
        if self.zone is None or not usual:
            return usual
        local = at.astimezone(self.zone)
        hour = local.hour + local.minute / 60
        favourite = 19.0 + 3.0 * _normal("market hour", self.seed, customer_id)
        taste = _normal("market channel", self.seed, customer_id, channel)
        nearness = math.cos(math.tau * (hour - favourite) / 24)
        return _logistic(math.log(usual / (1 - usual)) + 2.0 * nearness + 0.6 * taste)

    def unasked(self, customer_id: str, features: Features) -> float:
        """The probability that within a week the customer buys something without having been asked to.

        It falls with the days since the last visit, and depends on a habit of the customer that no feature shows.
        """
        habit = _normal("market habit", self.seed, customer_id)
        return _logistic(-3.0 - 0.02 * _absence(features) + 0.6 * habit)

    def week(self, customer_id: str, features: Features, actions: Sequence[str], since: datetime) -> Sequence[Answer]:
        """What the customer does of their own accord in the week from `since`: a conversion of no decision, or nothing.

        `actions` are those whose products the customer may buy.
        """
        comes, when, which = uniforms(3, "market week", self.seed, customer_id, since.isoformat()).tolist()
        if not actions or comes >= self.unasked(customer_id, features):
            return ()
        row = {
            "outcome_id": f"{customer_id}-{since:%Y%m%d}-conversion",
            "customer_id": customer_id,
            "decision_id": None,
            "slot": None,
            "contact_id": None,
            "action": actions[int(len(actions) * which)],
            "treatment": None,
            "kind": "conversion",
            "value": None,
            "currency": "USD",
            "occurred_at": since + _WEEK * when,
            "source": "simulated",
        }
        return (Answer("outcomes", row),)

    def answer(self, decision: Mapping[str, Any], features: Features, now: datetime) -> Sequence[Answer]:
        """What the customer does about one row of the `decisions` contract, decided at `now`.

        A redemption needs a click and a click an impression. Click and redemption after a click are equally likely,
        each the square root of the truth: their product is the truth. A few who do not click wave the action away.
        """
        return tuple(self._answers(decision, features, now))

    def _answers(self, decision: Mapping[str, Any], features: Features, now: datetime) -> Iterator[Answer]:
        draws = uniforms(5, "market answer", self.seed, decision["decision_id"], decision["slot"]).tolist()
        sees, clicks, redeems, spends, minds = draws
        step = self.within / 3
        if decision["action"] == DO_NOTHING or sees >= self.sight(decision["customer_id"], decision["channel"], now):
            return
        yield _event(decision, "impression", now + step * sees)
        root = math.sqrt(self.truth(decision["customer_id"], features, decision["action"]))
        if clicks >= root:
            if decision["channel"] == "email" and minds < _UNSUBSCRIBES:
                yield _outcome(decision, "unsubscribe", None, now + step * (1 + clicks))
            elif minds < _DISMISSES:
                yield _outcome(decision, "dismissal", None, now + step * (1 + clicks))
            return
        clicked_at = now + step * (1 + clicks)
        yield _event(decision, "click", clicked_at)
        if redeems < root:
            value = decision.get("value")
            amount = None if value is None else round(value * (0.5 + spends), 2)
            redeemed_at = now + step * (2 + redeems)
            if self.takes is not None:
                longer = uniform("market delay", self.seed, decision["decision_id"], decision["slot"])
                redeemed_at = clicked_at - self.takes * math.log(longer)
            yield _outcome(decision, "redemption", amount, redeemed_at)


def _event(decision: Mapping[str, Any], kind: str, occurred_at: datetime) -> Answer:
    row = {
        "event_id": f"{decision['decision_id']}-{decision['slot']}-{kind}",
        "customer_id": decision["customer_id"],
        "type": kind,
        "channel": decision["channel"],
        "category": None,
        "action": decision["action"],
        "treatment": decision["treatment"],
        "decision_id": decision["decision_id"],
        "slot": decision["slot"],
        "session_id": None,
        "occurred_at": occurred_at,
        "received_at": occurred_at,
        "source": "simulated",
    }
    return Answer("events", row)


def _outcome(decision: Mapping[str, Any], kind: str, value: float | None, occurred_at: datetime) -> Answer:
    row = {
        "outcome_id": f"{decision['decision_id']}-{decision['slot']}-{kind}",
        "customer_id": decision["customer_id"],
        "decision_id": decision["decision_id"],
        "slot": decision["slot"],
        "contact_id": None,
        "action": decision["action"],
        "treatment": decision["treatment"],
        "kind": kind,
        "value": value,
        "currency": decision["currency"],
        "occurred_at": occurred_at,
        "source": "simulated",
    }
    return Answer("outcomes", row)


def _absence(features: Features) -> float:
    recency_days = features.get("recency_days")
    return min(_LONG_ABSENCE_DAYS if recency_days is None else recency_days, _LONG_ABSENCE_DAYS)


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _normal(*key: str | int) -> float:
    return _NORMAL.inv_cdf(uniform(*key))
