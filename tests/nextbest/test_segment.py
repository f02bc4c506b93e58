"""What becomes of a message of Segment's."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.adapters.contract_files import load_contracts
from nextbest.envelope import nameless
from nextbest.row_check import RowCheck
from nextbest.segment import MessageError, Reader, Reading, happened_at, linked, says_the_same
from nextbest.segment_wire import AnyMessage, SegmentPage
from nextbest.settings import CHECKOUT

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
READER = Reader(lambda name: not name.startswith("email:"), ("USD",))
TIMES = st.datetimes(timezones=st.just(UTC))


def message(call: str, **said: Any) -> AnyMessage:
    row = {"type": call, "messageId": "m1", "userId": "c1", "timestamp": "2026-03-02T11:00:00Z"} | said
    sent: AnyMessage = msgspec.convert({name: value for name, value in row.items() if value is not None}, AnyMessage)
    return sent


def read(call: str, **said: Any) -> Reading:
    """What it comes to; each row must be one under its contract."""
    reading = READER.read(message(call, **said), NOW)
    for row in reading.rows:
        (valid,) = RowCheck(CONTRACTS[row.contract], lambda _: True).check([row.properties], NOW)
        assert isinstance(valid, dict), valid
    return reading


def only(reading: Reading) -> dict[str, Any]:
    """What its one row says, without whom, when and under which id."""
    (row,) = reading.rows
    told = {"event_id", "outcome_id", "customer_id", "occurred_at"}
    said = {name: value for name, value in row.properties.items() if name not in told and value is not None}
    return {"contract": row.contract, **said}


WEB = {"contract": "events", "channel": "web"}
MAIL = {"contract": "events", "channel": "email"}
OURS = {"decision_id": "d1", "slot": 1, "action": "beef", "treatment": "beef_home"}


@pytest.mark.parametrize(
    ("call", "said", "row"),
    [
        ("page", {"name": "Home"}, WEB | {"type": "page_view", "name": "Home"}),
        ("page", {"name": ""}, WEB | {"type": "page_view"}),
        ("screen", {"name": "Start"}, WEB | {"type": "page_view", "channel": "app", "name": "Start"}),
        ("page", {"properties": {"session_id": "s1"}}, WEB | {"type": "page_view", "session_id": "s1"}),
        ("identify", {"traits": {"email": "a@example.com"}}, WEB | {"type": "identify"}),
        ("alias", {"previousId": "a1"}, WEB | {"type": "alias"}),
        ("group", {"groupId": 7}, WEB | {"type": "group", "name": "7"}),
    ],
)
def test_each_call_has_its_event(call: str, said: dict[str, Any], row: dict[str, Any]) -> None:
    """Nothing that was acknowledged vanishes, and no trait is kept."""
    assert only(read(call, **said)) == row


@pytest.mark.parametrize(
    ("event", "properties", "row"),
    [
        ("Product Viewed", {"category": "beef", "name": "Steak"}, WEB | {"type": "product_view", "category": "beef"}),
        ("Product Viewed", {"category": ["beef"]}, WEB | {"type": "product_view"}),
        ("Product Added", {"category": "beef"}, WEB | {"type": "add_to_cart", "category": "beef"}),
        ("Product Added", {"price": 2.5, "quantity": 3}, WEB | {"type": "add_to_cart", "value": 7.5}),
        ("Product Added", {"price": "2.50"}, WEB | {"type": "add_to_cart", "value": 2.5}),
        ("Product Added", {"price": "free", "quantity": 2}, WEB | {"type": "add_to_cart"}),
        ("Product Clicked", {"category": "beef", "price": 2.5}, WEB | {"type": "click", "category": "beef"}),
        ("Promotion Viewed", {"promotion_id": "beef"}, WEB | {"type": "impression", "action": "beef"}),
        ("Promotion Viewed", {"promotion_id": "P-1"}, WEB | {"type": "impression", "name": "P-1"}),
        ("Promotion Viewed", OURS, WEB | {"type": "impression"} | OURS),
        ("Promotion Clicked", OURS | {"channel": "app"}, WEB | {"type": "click", "channel": "app"} | OURS),
        ("Email Opened", {"action": "Open it"}, MAIL | {"type": "email_open"}),
        ("Email Link Clicked", {"action": "beef"}, MAIL | {"type": "click", "action": "beef"}),
        ("Unsubscribed", {}, MAIL | {"type": "unsubscribe"}),
        ("Order Completed", {"total": 9.5}, WEB | {"type": "custom", "name": "Order Completed"}),
        (
            "Order Completed",
            {"total": 9.5, "action": "beef", "currency": "EUR"},
            WEB | {"type": "custom", "name": "Order Completed", "action": "beef"},
        ),
        (
            "Order Completed",
            {"total": 9.5, "revenue": 8, "currency": "USD", **OURS},
            {"contract": "outcomes", "kind": "conversion", "value": 8, "currency": "USD"} | OURS,
        ),
        ("Video Played", {"action": "Big Button", "slot": "x"}, WEB | {"type": "custom", "name": "Video Played"}),
    ],
)
def test_tracked_events_are_read_by_their_name(event: str, properties: dict[str, Any], row: dict[str, Any]) -> None:
    """Those of Segment's specs are ours; any other is kept under its name, whatever its properties are called."""
    assert only(read("track", event=event, properties=properties)) == row


def test_an_unsubscription_from_an_action_is_an_outcome_too() -> None:
    """The event names the channel, by which contact rules pause it; the outcome is what models learn from."""
    rows = read("track", event="Unsubscribed", properties=OURS).rows
    assert [(row.contract, row.properties.get("type"), row.properties.get("kind")) for row in rows] == [
        ("outcomes", None, "unsubscribe"),
        ("events", "unsubscribe", None),
    ]


@pytest.mark.parametrize(
    "said",
    [{"channel": "mobile"}, {"context": {"device": {"type": "ios"}}}, {"context": {"device": {"type": "Android"}}}],
)
def test_a_mobile_client_is_the_app(said: dict[str, Any]) -> None:
    """By the channel that it names, or by its device."""
    assert only(read("track", event="Product Viewed", **said))["channel"] == "app"


def test_a_visitor_is_a_customer_of_their_own() -> None:
    """By the message alone, so that a retry after a login is the same row; it links nothing, for it may come late."""
    reading = read("page", userId=None, anonymousId="a1")
    assert reading.rows[0].properties["customer_id"] == f"anonymous_id:{hashlib.sha256(b'a1').hexdigest()}"
    assert reading.link is None


def test_a_known_user_is_linked_by_hash() -> None:
    """Under the message's id, since an identifier may be linked again; an alias links what was there before."""
    for reading in (read("identify", anonymousId="a1"), read("alias", previousId="a1"), read("page", anonymousId="a1")):
        assert reading.link is not None
        entry = linked(CONTRACTS["identities"], reading.link, NOW)
        digest = hashlib.sha256(b"a1").hexdigest()
        assert entry.event_id == f"identities/{nameless(f'anonymous_id/{digest}')}/m1"
        assert (entry.type, entry.properties["customer_id"]) == ("identity", "c1")
        assert (entry.identifiers[0].kind, entry.identifiers[0].hmac) == ("anonymous_id", digest)
        assert entry.occurred_at == NOW - timedelta(hours=1)
    assert read("identify").link is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"userId": None}, "about nobody"),
        ({"userId": "", "anonymousId": ""}, "about nobody"),
        ({"userId": "jo@example.com"}, "userId is an address"),
        ({"userId": None, "anonymousId": "jo@example.com"}, "anonymousId is an address"),
        ({"userId": "email:x"}, "userId begins with a kind of identifier"),
    ],
)
def test_who_has_no_usable_id_is_rejected(said: dict[str, Any], reason: str) -> None:
    """With a reason that says what to send, and nothing of what was sent."""
    with pytest.raises(MessageError, match=reason) as refused:
        READER.read(message("page", **said), NOW)
    assert "jo@example.com" not in str(refused.value)


def test_an_alias_names_the_new_user() -> None:
    """An anonymous id alone is nobody that another could have become."""
    with pytest.raises(MessageError, match="names the userId"):
        READER.read(message("alias", userId=None, anonymousId="a1", previousId="a0"), NOW)


def at(**times: Any) -> datetime:
    return happened_at(SegmentPage(**times), NOW, times.get("sent_at"))


HOUR, YEARS = timedelta(hours=1), timedelta(days=4_000)


@pytest.mark.parametrize(
    ("times", "then"),
    [
        ({}, NOW),
        ({"timestamp": NOW - HOUR}, NOW - HOUR),
        ({"timestamp": NOW + HOUR}, NOW),
        ({"timestamp": (NOW - HOUR).replace(tzinfo=None)}, NOW - HOUR),
        # A clock that is an hour ahead, or behind; years behind, of both times; and of the one alone.
        ({"timestamp": NOW, "sent_at": NOW + HOUR}, NOW - HOUR),
        ({"timestamp": NOW - 3 * HOUR, "sent_at": NOW - HOUR}, NOW - 2 * HOUR),
        ({"original_timestamp": NOW - 3 * HOUR, "sent_at": NOW - HOUR}, NOW - 2 * HOUR),
        ({"timestamp": NOW - YEARS - HOUR, "sent_at": NOW - YEARS}, NOW - HOUR),
        ({"timestamp": NOW - HOUR, "sent_at": NOW - YEARS}, NOW - HOUR),
        ({"timestamp": NOW - HOUR, "sent_at": NOW + YEARS}, NOW - HOUR),
        # Sent before it happened; imported from history; and handed on by Segment, days later.
        ({"timestamp": NOW, "sent_at": NOW - HOUR}, NOW),
        ({"timestamp": NOW - YEARS, "sent_at": NOW}, NOW - YEARS),
        ({"timestamp": NOW - YEARS, "original_timestamp": NOW, "sent_at": NOW - YEARS}, NOW - YEARS),
    ],
)
def test_the_clock_of_the_sender_is_corrected(times: dict[str, Any], then: datetime) -> None:
    """As Segment does, unless sentAt is absurd."""
    assert at(**times) == then


@given(TIMES, TIMES, st.one_of(st.none(), TIMES))
def test_nothing_happens_in_the_future(timestamp: datetime, sent_at: datetime, original: datetime | None) -> None:
    """Whatever times there are, in any order."""
    assert at(timestamp=timestamp, sent_at=sent_at, original_timestamp=original) <= NOW


@given(st.timedeltas(timedelta(), timedelta(days=3)), st.timedeltas(timedelta(), timedelta(minutes=5)))
def test_a_message_sent_again_is_the_same(later: timedelta, latency: timedelta) -> None:
    """Each try has its own sentAt, and so another time; its id and all else stay, with a messageId or without."""
    for message_id in ("m1", None):
        sent = message("page", messageId=message_id, name="Home")
        first = READER.read(sent, NOW, NOW).rows[0].properties
        again = READER.read(sent, NOW + later + latency, NOW + later).rows[0].properties
        assert first["event_id"] == again["event_id"]
        assert says_the_same(first, again)
    assert not says_the_same(first, READER.read(message("page", name="Other"), NOW).rows[0].properties)


def test_a_message_without_an_id_gets_one_from_what_it_says() -> None:
    """Another message has another."""
    ids = {
        read(call, messageId=None, **said).rows[0].properties["event_id"]
        for call, said in (
            ("page", {}),
            ("screen", {}),
            ("page", {"name": "Home"}),
            ("page", {"properties": {"a": 1}}),
            ("page", {"sentAt": "2026-03-02T11:00:00Z"}),
        )
    }
    assert len(ids) == 4
