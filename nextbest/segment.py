"""What becomes of a message of Segment's: rows of our contracts, and whom its identifiers belong to.

Belongs here: the mapping, which follows from the message and the clock alone, so that a message sent again comes to the
same rows. Does not belong here: the form of messages (`nextbest.segment_wire`), or taking rows in (serving).

Nothing that tells a person is kept: traits, addresses of networks and of mail, and the browser's name are not read,
nor kept of a message that is rejected (`legible`).
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from msgspec.structs import fields

from nextbest import intake
from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.errors import NextbestError
from nextbest.segment_wire import (
    MESSAGES,
    AnyMessage,
    SegmentAlias,
    SegmentGroup,
    SegmentMessage,
    SegmentScreen,
    SegmentTrack,
)
from nextbest.wire import EventRow

CUSTOM = "custom"
_ANONYMOUS = "anonymous_id"
"""The kind of identifier that an anonymous id is: who is known by it alone goes by its name."""
_EVENTS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "Product Viewed": ("product_view", None),
        "Product Added": ("add_to_cart", None),
        "Product Clicked": ("click", None),
        "Promotion Viewed": ("impression", None),
        "Promotion Clicked": ("click", None),
        "Email Opened": ("email_open", "email"),
        "Email Link Clicked": ("click", "email"),
        "Unsubscribed": ("unsubscribe", "email"),
    }
)
"""By an event's name in Segment's specs of e-commerce and of e-mail: its type, and its channel where that is said."""
_TYPES: Mapping[str, str] = MappingProxyType({"page": "page_view", "screen": "page_view"})
"""By a call, the type of its event, where it is another word."""
_OUTCOMES: Mapping[str, str] = MappingProxyType({"Order Completed": "conversion", "Unsubscribed": "unsubscribe"})
_AMOUNTS = ("revenue", "total", "value")
"""Properties with the worth of an order, the best first."""
_PRICE, _QUANTITY = "price", "quantity"
"""Of a product: what is worth something in the cart."""
_CHANNELS = ("web", "app", "email")
_APPS = ("ios", "android")
_CONTACT = ("decision_id", "slot", "action", "treatment")
_READ = frozenset(
    {*_CONTACT, *_AMOUNTS, _PRICE, _QUANTITY, "currency", "category", "session_id", "channel", "promotion_id"}
)
"""Properties that a row is made of."""
_NAMES = frozenset({"type", *(each.encode_name for one in MESSAGES for each in fields(one))}) - {"writeKey"}
"""Parts of a message that a row is made of; the write key is the sender's secret."""
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_ACTION = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
MAIL_ADDRESS = r"[^@\s]+@[^@\s]+\.[^@\s]+"
"""The pattern of what is no pseudonym."""
_CURRENCY = "USD"
"""What an amount is in, to Segment, where nothing is said."""
_WEEK = timedelta(days=7)
_Row = tuple[Literal["events", "outcomes"], str, dict[str, Any]]


class MessageError(NextbestError):
    """A message cannot be taken in as it is."""


@dataclass(frozen=True, slots=True)
class Link:
    """That an anonymous id belongs to a customer, by which message and since when."""

    anonymous_id: str
    customer_id: str
    at: datetime
    message_id: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message comes to."""

    rows: tuple[EventRow, ...]
    link: Link | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads messages; `is_id` says what may be a customer's id, `currencies` are those that an outcome may have."""

    is_id: Callable[[str], bool]
    currencies: Collection[str]

    def read(self, message: AnyMessage, received_at: datetime, sent_at: datetime | None = None) -> Reading:
        """The rows of a message; `sent_at` is its batch's.

        Raises:
            MessageError: it is about nobody, or about somebody under a name that is no customer id; says why.

        """
        sent_at = message.sent_at or sent_at
        customer_id = self._customer(message)
        at = happened_at(message, received_at, sent_at)
        common = {"customer_id": customer_id, "occurred_at": at.isoformat()}
        message_id = message.message_id or _digest(message)
        rows = (
            EventRow(contract, {key: message_id, **said, **common}, _in_utc(sent_at))
            for contract, key, said in self._rows(message)
        )
        return Reading(tuple(rows), _link(message, customer_id, at, message_id))

    def _customer(self, message: AnyMessage) -> str:
        user, visitor = _text(message.user_id), _text(message.anonymous_id)
        if not (user or visitor):
            raise MessageError("it is about nobody: send a userId or an anonymousId")
        if isinstance(message, SegmentAlias) and not user:
            raise MessageError("an alias names the userId that previousId has become")
        name, said = ("userId", user) if user else ("anonymousId", visitor)
        if re.search(MAIL_ADDRESS, said):
            raise MessageError(f"{name} is an address, by which a person is known: send an id of your own")
        if user and not self.is_id(user):
            raise MessageError("userId begins with a kind of identifier, or ends like a keyed hash: send an id")
        return user or visitor_name(visitor)

    def _rows(self, message: AnyMessage) -> Iterator[_Row]:
        """By contract and the name of its key, what each row says."""
        said = message.properties or {}
        contact = _contact(message, said)
        outcome = self._outcome(message, said, contact)
        if outcome:
            yield "outcomes", "outcome_id", contact | outcome
        if outcome is None or outcome["kind"] == "unsubscribe":  # rules about a channel go by events: they name one
            yield "events", "event_id", contact | _event(message, said, contact)

    def _outcome(
        self, message: AnyMessage, said: Mapping[str, Any], contact: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """How a customer answered an action; none where none is named, or in a currency that outcomes do not have."""
        kind = _OUTCOMES.get(message.event) if isinstance(message, SegmentTrack) else None
        currency = said.get("currency") or _CURRENCY
        if kind is None or "action" not in contact or currency not in self.currencies:
            return None
        amount = next((each for name in _AMOUNTS if (each := _amount(said.get(name))) is not None), None)
        return {"kind": kind, "currency": currency, "value": amount if kind == "conversion" else None}


def _amount(value: Any) -> float | int | None:
    """A number, be it in quotes; whatever else is called so is none."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value if type(value) in {int, float} else None


def legible(message: Any) -> Any:
    """Of a message, as JSON has it, what reading it looks at: of one that is rejected nothing else may be kept."""
    if not isinstance(message, dict):
        return message if isinstance(message, str | int | float) else None
    said = {name: value for name, value in message.items() if name in _NAMES and not _is_address(value)}
    if isinstance(properties := said.get("properties"), dict):
        said["properties"] = {
            name: value
            for name, value in properties.items()
            if name in _READ and not isinstance(value, dict | list)  # of a list or an object nothing is read
        }
    if isinstance(context := said.get("context"), dict):
        device = context.get("device")
        said["context"] = {"device": {"type": device["type"]}} if isinstance(device, dict) and "type" in device else {}
    return said


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(MAIL_ADDRESS, value) is not None


def customer_of(message: Any) -> str:
    """The id of whom a message, as JSON has it, is about, be it one that nobody may have; empty where it names none."""
    said = message if isinstance(message, dict) else {}
    user, visitor = _text(said.get("userId")), _text(said.get("anonymousId"))
    return user or (visitor and visitor_name(visitor))


def visitor_name(anonymous_id: str) -> str:
    """The name of whoever is known by an anonymous id alone, until it is linked to a customer."""
    return f"{_ANONYMOUS}:{_hash(anonymous_id)}"


def _hash(anonymous_id: str) -> str:
    return hashlib.sha256(anonymous_id.encode()).hexdigest()


def happened_at(message: SegmentMessage, received_at: datetime, sent_at: datetime | None) -> datetime:
    """When it happened, by our clock: `timestamp` and what the sender's clock is off by, never later than now.

    A clock that is off by more than a week is believed only where `timestamp` is of the same clock, at most a week
    before it was sent; else `timestamp` is taken as it is. Beside `originalTimestamp` it has been corrected already.
    """
    said, sent = _in_utc(message.timestamp or message.original_timestamp), _in_utc(sent_at)
    if said is None:
        return received_at
    is_corrected = message.timestamp is not None and message.original_timestamp is not None
    if sent is not None and not is_corrected:
        off = received_at - sent
        if abs(off) <= _WEEK or timedelta() <= sent - said <= _WEEK:
            said = received_at - min(max(sent - said, timedelta()), received_at - datetime.min.replace(tzinfo=UTC))
    return min(said, received_at)


def says_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows can be of one message: each try corrects its time anew."""
    return intake.says_the_same(_timeless(one), _timeless(other))


def linked(identities: Contract, link: Link, received_at: datetime) -> Envelope:
    """The log's entry of a link: an identifier may be linked again, so it has the id of the message that said so."""
    row = {
        "kind": _ANONYMOUS,
        "identifier_hmac": _hash(link.anonymous_id),
        "customer_id": link.customer_id,
        "linked_at": link.at.astimezone(UTC),
        "source": "live",
    }
    said = intake.envelope(identities, row, received_at)
    return msgspec.structs.replace(said, event_id=f"{said.event_id}/{link.message_id}")


def _link(message: AnyMessage, customer_id: str, at: datetime, message_id: str) -> Link | None:
    """That of a known user. An anonymous message links nothing: it may come late, after the user has logged in."""
    earlier = message.previous_id if isinstance(message, SegmentAlias) else message.anonymous_id
    known = _text(message.user_id) and _text(earlier)
    return Link(_text(earlier), customer_id, at, message_id) if known else None


def _event(message: AnyMessage, said: Mapping[str, Any], contact: Mapping[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": _type(message),
        "channel": _channel(message, said),
        "name": _name(message, said, contact),
    }
    category = said.get("category")
    if event["type"] != CUSTOM and isinstance(category, str) and category:
        event["category"] = category
    if event["type"] == "add_to_cart":
        event["value"] = _worth(said)
    session = said.get("session_id")
    return event | ({"session_id": session} if isinstance(session, str) and session else {})


def _worth(said: Mapping[str, Any]) -> float | int | None:
    """Price by quantity, which is one where nothing is said; none where there is no price."""
    price, quantity = _amount(said.get(_PRICE)), _amount(said.get(_QUANTITY))
    return None if price is None else price * (1 if quantity is None else quantity)


def _type(message: AnyMessage) -> str:
    if isinstance(message, SegmentTrack):
        return _EVENTS.get(message.event, (CUSTOM, None))[0]
    call = str(message.__struct_config__.tag)
    return _TYPES.get(call, call)


def _name(message: AnyMessage, said: Mapping[str, Any], contact: Mapping[str, Any]) -> str | None:
    """What the sender calls it, where the type does not say that already."""
    if isinstance(message, SegmentGroup):
        return _text(message.group_id)
    if not isinstance(message, SegmentTrack):
        return getattr(message, "name", None) or None
    if message.event not in _EVENTS:
        return message.event
    return None if "action" in contact else _promotion(message, said) or None


def _channel(message: AnyMessage, said: Mapping[str, Any]) -> str:
    by_name = _EVENTS.get(message.event, (CUSTOM, None))[1] if isinstance(message, SegmentTrack) else None
    if by_name:
        return by_name
    if said.get("channel") in _CHANNELS:
        return str(said["channel"])
    device = (message.context or {}).get("device")
    system = device.get("type") if isinstance(device, Mapping) else None
    is_app = isinstance(message, SegmentScreen) or message.channel == "mobile" or str(system).lower() in _APPS
    return "app" if is_app else "web"


def _contact(message: AnyMessage, said: Mapping[str, Any]) -> dict[str, Any]:
    """Which contact it is about. Beside `decision_id` these properties are ours, and are checked as such.

    Without one they may be anybody's: what is no action's id is not taken for one.
    """
    if not isinstance(message, SegmentTrack) or (message.event not in _EVENTS and message.event not in _OUTCOMES):
        return {}
    is_ours = bool(said.get("decision_id"))
    ours = {name: said[name] for name in _CONTACT if said.get(name) is not None} if is_ours else {}
    if odd := [name for name, value in ours.items() if isinstance(value, dict | list)]:
        raise MessageError(
            f"properties.{odd[0]} is a list or an object: beside decision_id it says which contact it was"
        )
    action = said.get("action") or _promotion(message, said)
    is_action = isinstance(action, str) and _ACTION.fullmatch(action)
    return {"action": action} | ours if is_action else ours


def _promotion(message: SegmentTrack, said: Mapping[str, Any]) -> str:
    is_one = message.event.startswith("Promotion ")
    return _text(said.get("promotion_id")) if is_one else ""


def _text(value: object) -> str:
    """An id as text; empty where there is none."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _in_utc(said: datetime | None) -> datetime | None:
    return said.replace(tzinfo=UTC) if said is not None and said.tzinfo is None else said


def _digest(message: AnyMessage) -> str:
    """The id of a message that has none: the same for whatever says the same, whenever it is sent."""
    said = msgspec.structs.replace(message, sent_at=None, write_key=None)
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()[:32]


def _timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "occurred_at"}
