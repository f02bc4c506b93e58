"""Live state: what a customer has done lately, as whole numbers that come out the same in whatever order it arrives.

Belongs here: which records count, what is kept of them and for how long, and adding and joining it. Does not belong
here: what decisions make of it (`nextbest.live_features`), or where it is kept (State's projections, Feast).

It is a commutative monoid: counts add, maxima are taken, and of everything that is bounded the newest is kept. A bound
is by time first, so what one part of the records lets go of, all of them together let go of too. Times are those of
`Envelope.moment`, and horizons run back from the newest of them: no channel's clock that is ahead empties a state.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from nextbest.envelope import Envelope
from nextbest.intake import IMPRESSION
from nextbest.moments import to_microseconds
from nextbest.source import slug

K = TypeVar("K", int, tuple[int, str])

LIVE_STATE: Final = "live_state"
"""The name of the feature that holds a state as text."""
PURCHASE: Final = "purchase"
CART: Final = "add_to_cart"
OUTCOME: Final = "outcome_"
"""What an outcome counts as begins so: a click may be an event as well as an outcome."""
CATEGORY: Final = "category/"
"""What everything in a category counts as begins so."""

READS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "events": ("customer_id", "type", "category", "action", "value", "occurred_at", "received_at"),
        "outcomes": ("customer_id", "kind", "action", "value", "occurred_at", "received_at"),
        "transactions": ("customer_id", "sales_value", "occurred_at", "received_at"),
    }
)
"""Of which contracts' rows in the log a state is made, and of which of their fields."""

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
HOURS: Final = 28 * 24
"""How far back hours are kept, from the newest record; carts too."""
_MINUTES: Final = 6 * 60
_SECONDS: Final = 10 * 60
_CELLS: Final = 512
"""Most cells of hours, and of minutes."""
_ITEMS: Final = 64
"""Most categories, and most moments at which something was put into the cart."""
_SLUG: Final = 80
"""Most characters of a category: a sender may call it anything."""


class LiveState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a customer's records. Lists are flat, in order of time: they are read with every decision.

    Attributes:
        newest: the newest moment of all, in microseconds since 1970, as all moments here.
        hours: by what was done, and by category, since 28 days: hour, count, value in cents; and the next hour.
        minutes: by the type of event, since six hours: minute, count; and the next minute.
        seconds: of what the customer did on digital channels, since ten minutes: second, count; and the next second.
        categories: when the customer last did something in a category.
        purchased: when they last bought something; 0 for never.
        cart: what was put into the cart: moment, items, value in cents; and the next moment.
        campaign: when they last met an action, and which.

    """

    newest: int = 0
    hours: dict[str, list[int]] = {}
    minutes: dict[str, list[int]] = {}
    seconds: list[int] = []
    categories: dict[str, int] = {}
    purchased: int = 0
    cart: list[int] = []
    campaign: tuple[int, str] = (0, "")


NOTHING: Final = LiveState()
"""The state of whoever has done nothing."""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LiveState)


def encode(state: LiveState) -> str:
    """The state as JSON: the same text for the same state."""
    return _encoder.encode(state).decode()


def decode(text: str) -> LiveState:
    """The state in a text.

    Raises:
        msgspec.DecodeError: it holds none.

    """
    return _decoder.decode(text)


def union(states: Iterable[LiveState], records: Iterable[Envelope] = ()) -> LiveState:
    """The state of all that is in `states`, and of `records`; no record may be in two of them."""
    tally = Tally()
    for state in states:
        tally.join(state)
    for record in records:
        tally.add(record)
    return tally.state()


def member_of(record: Envelope) -> str | None:
    """Whose state a record counts in; none where it counts in nobody's."""
    whom = record.properties.get("customer_id")
    return whom if isinstance(whom, str) and _what(record) else None


class Tally:
    """A state in the making, to which records and states are added."""

    def __init__(self) -> None:
        self._newest = 0
        self._hours: dict[tuple[int, str], tuple[int, int]] = {}
        self._minutes: dict[tuple[int, str], int] = {}
        self._seconds: dict[int, int] = {}
        self._categories: dict[str, int] = {}
        self._purchased = 0
        self._cart: dict[int, tuple[int, int]] = {}
        self._campaign = (0, "")

    def add(self, record: Envelope) -> None:
        """Count a record, of whatever kind."""
        what = _what(record)
        if not what:
            return
        at, cents = to_microseconds(record.moment), _cents(record)
        # What is shown to customers is nothing that they do: it counts, but makes no session, habit or interest.
        category = _category(record) if what != IMPRESSION else ""
        self._newest = max(self._newest, at)
        self._count(at // HOUR, what, 1, cents)
        if category:
            self._count(at // HOUR, CATEGORY + category, 1, cents)
            self._categories[category] = max(self._categories.get(category, 0), at)
        if record.type == "event":
            _sum(self._minutes, (at // MINUTE, what), 1)
            _sum(self._seconds, at // SECOND, 1)
        if record.action and record.type != "transaction":
            self._campaign = max(self._campaign, (at, record.action))
        if what == PURCHASE:
            self._purchased = max(self._purchased, at)
        elif what == CART:
            self._put(at, 1, cents)

    def join(self, state: LiveState) -> None:
        """Count all that is in a state."""
        self._newest = max(self._newest, state.newest)
        for what, cells in state.hours.items():
            for hour, count, cents in zip(cells[0::3], cells[1::3], cells[2::3], strict=True):
                self._count(hour, what, count, cents)
        for what, cells in state.minutes.items():
            for minute, count in zip(cells[0::2], cells[1::2], strict=True):
                _sum(self._minutes, (minute, what), count)
        for second, count in zip(state.seconds[0::2], state.seconds[1::2], strict=True):
            _sum(self._seconds, second, count)
        for category, at in state.categories.items():
            self._categories[category] = max(self._categories.get(category, 0), at)
        for at, items, cents in zip(state.cart[0::3], state.cart[1::3], state.cart[2::3], strict=True):
            self._put(at, items, cents)
        self._purchased = max(self._purchased, state.purchased)
        self._campaign = max(self._campaign, state.campaign)

    def state(self) -> LiveState:
        """What it has come to so far; what is too old by now is let go of."""
        newest = self._newest
        self._hours = {key: self._hours[key] for key in _newest(self._hours, _CELLS, (newest // HOUR - HOURS + 1, ""))}
        minutes = _newest(self._minutes, _CELLS, (newest // MINUTE - _MINUTES + 1, ""))
        self._minutes = {key: self._minutes[key] for key in minutes}
        seconds = _newest(self._seconds, _SECONDS, newest // SECOND - _SECONDS + 1)
        self._seconds = {second: self._seconds[second] for second in seconds}
        self._cart = {at: self._cart[at] for at in _newest(self._cart, _ITEMS, newest - HOURS * HOUR + 1)}
        latest = sorted(((at, name) for name, at in self._categories.items()), reverse=True)[:_ITEMS]
        self._categories = {name: at for at, name in sorted(latest, key=lambda one: one[1])}
        return LiveState(
            newest=newest,
            hours=_series((what, (hour, *self._hours[hour, what])) for hour, what in self._hours),
            minutes=_series((what, (minute, self._minutes[minute, what])) for minute, what in self._minutes),
            seconds=[number for cell in self._seconds.items() for number in cell],
            categories=self._categories.copy(),
            purchased=self._purchased,
            cart=[number for at, put in self._cart.items() for number in (at, *put)],
            campaign=self._campaign,
        )

    def _count(self, hour: int, what: str, count: int, cents: int) -> None:
        counts, values = self._hours.get((hour, what), (0, 0))
        self._hours[hour, what] = (counts + count, values + cents)

    def _put(self, at: int, items: int, cents: int) -> None:
        before, value = self._cart.get(at, (0, 0))
        self._cart[at] = (before + items, value + cents)


def _sum(cells: dict[K, int], key: K, count: int) -> None:
    cells[key] = cells.get(key, 0) + count


def _newest(cells: Mapping[K, Any], most: int, oldest: K) -> list[K]:
    """The keys of what is kept, in order: the greatest of those that are not too old."""
    return sorted(key for key in cells if key >= oldest)[-most:]


def _series(cells: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, list[int]]:
    """By name what belongs to it, one after the other."""
    found: dict[str, list[int]] = {}
    for name, numbers in cells:
        found.setdefault(name, []).extend(numbers)
    return dict(sorted(found.items()))


def _what(record: Envelope) -> str:
    """What a record counts as; empty where it counts as nothing, such as an impression whose customer is erased."""
    read = _KINDS.get(record.type)
    return read(record.properties) if read else ""


def _event(properties: Mapping[str, Any]) -> str:
    return properties.get("type") or ""


def _outcome(properties: Mapping[str, Any]) -> str:
    kind = properties.get("kind")
    return f"{OUTCOME}{kind}" if kind else ""


def _purchase(properties: Mapping[str, Any]) -> str:
    return PURCHASE if properties else ""


_KINDS: Final = MappingProxyType({"event": _event, IMPRESSION: _event, "outcome": _outcome, "transaction": _purchase})


def _category(record: Envelope) -> str:
    """The category as actions are named by it."""
    said = record.properties.get("category")
    return slug(said[:_SLUG]) if isinstance(said, str) else ""


def _cents(record: Envelope) -> int:
    """What a record is worth, rounded once, so that sums are exact."""
    value = record.properties.get("sales_value") if record.type == "transaction" else record.value
    return round(value * 100.0) if isinstance(value, int | float) else 0
