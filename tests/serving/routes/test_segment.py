"""Segment's HTTP API: who may, what is answered, and what is in the log then."""

import asyncio
import gzip
import hashlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.following import step
from nextbest.log import LogUnavailableError
from nextbest.segment_wire import BATCH_BYTES, BATCH_LIMIT, MESSAGE_BYTES
from nextbest.settings import Settings
from nextbest.state import SnapshotScope
from serving.backpressure import EVENTS

Ask = Callable[..., httpx.Response]
AT = "2026-03-02T11:00:00Z"
VISITOR = f"anonymous_id:{hashlib.sha256(b'a1').hexdigest()}"
PAGE = {"type": "page", "messageId": "m1", "userId": "c1", "name": "Home", "timestamp": AT}


def basic(key: str, password: str = "") -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{key}:{password}".encode()).decode()}


def batch(ask: Ask, *messages: object, **options: Any) -> httpx.Response:
    return ask("POST", "/v1/batch", json={"batch": messages, "sentAt": "2026-03-02T12:00:00Z"}, **options)


@pytest.fixture
def write_key(settings: Settings, clock: Any) -> str:
    return KeyFile(settings.api_keys).create("shop", ("events",), 0, clock())[1]


CALLS: dict[str, dict[str, Any]] = {
    "track": {"event": "Product Viewed"},
    "identify": {"traits": {"email": "jo@example.com"}},
    "page": {},
    "screen": {},
    "alias": {"previousId": "a1"},
    "group": {"groupId": "g1"},
}


def test_each_call_has_a_route_of_its_own(ask: Ask, log: SqliteLog, write_key: str) -> None:
    """Whose message need not say its type; what is accepted is in the log, and nothing personal is."""
    for call, said in CALLS.items():
        answer = ask("POST", f"/v1/{call}", json={"userId": "c1", "messageId": call, **said}, headers=basic(write_key))
        assert (answer.status_code, answer.json()["success"], answer.json()["accepted"]) == (200, True, 1)
    entries = [entry for _, entry in log.read_sync(0, 20)]
    assert [entry.event_id for entry in entries if entry.contract == "events"] == [f"events/{call}" for call in CALLS]
    assert "jo@example.com" not in str(entries)
    wrong = ask("POST", "/v1/track", json={"type": "page", "event": "x", "userId": "c1"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "#/type")


@pytest.mark.parametrize("where", ["user name", "bearer", "body", "gzipped body"])
def test_the_write_key_is_an_api_key(replica: Any, write_key: str, where: str) -> None:
    """As the user name of basic credentials, in the body where there are none, or as everywhere else."""

    async def sent(**options: Any) -> httpx.Response:
        await replica.start()
        transport = httpx.ASGITransport(replica.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/v1/batch", **options)

    def post(key: str) -> httpx.Response:
        body = {"batch": [PAGE]} | ({"writeKey": key} if "body" in where else {})
        headers = {"user name": basic(key), "bearer": {"Authorization": f"Bearer {key}"}}.get(where, {})
        if where == "gzipped body":
            content = gzip.compress(httpx.Request("POST", "http://test", json=body).content)
            return asyncio.run(sent(content=content, headers={"Content-Encoding": "gzip"}))
        return asyncio.run(sent(json=body, headers=headers))

    assert post(write_key).status_code == 200
    refused = post(write_key[:-1] + ("0" if write_key[-1] != "0" else "1"))
    assert (refused.status_code, refused.json()["detail"]) == (401, "the API key is not known, or it was revoked")
    assert refused.headers["www-authenticate"] == 'Basic realm="nextbest"'
    assert post("").status_code == 401


@pytest.mark.parametrize("sent", ["", "Basic", "Basic %%%", "Basic /////w==", "Basic Og==", "Digest x"])
def test_what_is_no_key_is_refused(ask: Ask, sent: str) -> None:
    """With the scheme in which to send one; nothing else takes basic credentials."""
    refused = batch(ask, PAGE, headers={"Authorization": sent})
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert refused.headers["www-authenticate"].startswith("Basic")


def test_basic_credentials_are_for_these_routes_alone(ask: Ask, settings: Settings, write_key: str, clock: Any) -> None:
    """And a key needs the scope `events`."""
    assert ask("POST", "/v1/events", json={"events": []}, headers=basic(write_key)).status_code == 401
    decide = KeyFile(settings.api_keys).create("shop", ("decide",), 0, clock())[1]
    assert batch(ask, PAGE, headers=basic(decide)).status_code == 403


def test_each_message_is_accepted_or_rejected_by_itself(ask: Ask, log: SqliteLog) -> None:
    """A poisoned one takes none with it: the answer says of each what became of it."""
    large = PAGE | {"messageId": "m2", "context": {"page": {"title": "x" * MESSAGE_BYTES}}}
    answer = batch(
        ask,
        PAGE,
        large,
        {"type": "track", "userId": "c1"},
        {"type": "dream", "userId": "c1"},
        PAGE | {"messageId": "m5", "userId": None},
        PAGE | {"messageId": "m6", "timestamp": "noon"},
        PAGE | {"messageId": "m7", "timestamp": "1999-01-01T00:00:00Z"},
        7,
        PAGE,
        PAGE | {"name": "Other"},
        PAGE | {"messageId": "m11"},
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [each["status"] for each in results] == [
        *("accepted", "rejected", "rejected", "rejected", "rejected", "rejected", "rejected", "rejected"),
        *("duplicate", "rejected", "accepted"),
    ]
    assert [each["reason"].partition(":")[0] for each in results if each["status"] == "rejected"] == [
        f"the message has {len(httpx.Request('POST', 'http://x', json=large).content):,} bytes",
        "Object missing required field `event`, at #",
        "Invalid value 'dream', at #/type",
        "it is about nobody",
        "Invalid RFC3339 encoded datetime, at #/timestamp",
        "events.occurred_at is '1999-01-01T00",
        "Expected `object`, got `integer`, at #",
        "another row of events has this event_id",
    ]
    assert (answer.json()["accepted"], answer.json()["duplicates"], answer.json()["rejected"]) == (2, 1, 8)
    assert [entry.event_id for _, entry in log.read_sync(0, 20)] == ["events/m1", "events/m11"]


@pytest.mark.parametrize(
    "said",
    [{"userId": "jo@example.com"}, {"type": "dream", "userId": "c1"}, {"userId": "c1", "name": "x" * MESSAGE_BYTES}],
    ids=["about nobody that may be named", "of no type", "too large"],
)
def test_of_a_rejected_message_nothing_is_kept_that_is_not_read(
    ask: Ask, quarantine: Quarantine, said: dict[str, Any]
) -> None:
    """In quarantine, too, are neither traits nor addresses, and no key that was to be shown once."""
    message = {
        "type": "page",
        "messageId": "m1",
        "writeKey": "secret-key",
        "traits": {"phone": "secret-phone"},
        "properties": {"card": "secret-card", "channel": "app"},
        "context": {"ip": "secret-ip", "device": {"type": "ios", "id": "secret-device"}},
    }
    assert batch(ask, message | said).status_code == 400
    (kept,) = quarantine.rows()
    assert "secret" not in str(kept)
    assert kept.rule == "message"
    assert all(each in str(kept.row["message"]) for each in ("m1", "channel", "app", "ios"))


@pytest.mark.parametrize(
    ("said", "customer_id"),
    [
        ({"userId": "439"}, "439"),
        ({"userId": 439}, "439"),
        ({"anonymousId": "a1"}, VISITOR),
    ],
)
def test_a_rejected_message_goes_with_its_customer(
    ask: Ask, quarantine: Quarantine, said: dict[str, Any], customer_id: str
) -> None:
    """However the message names them: as a text, as a number, or as a visitor."""
    assert batch(ask, {"type": "track"} | said).status_code == 400
    assert [kept.row["message"] for kept in quarantine.rows()] == [{"type": "track"} | said]
    assert ask("DELETE", f"/v1/customers/{customer_id}").status_code == 200
    assert quarantine.rows() == []


def test_a_message_of_which_no_row_can_be_made_counts_among_rejects(ask: Ask) -> None:
    """By sender and rule, as every other."""
    batch(ask, PAGE, PAGE | {"messageId": "m2", "userId": "jo@example.com"})
    told = ask("GET", "/metrics").text
    assert 'nextbest_rejects_total{contract="events",rule="message",sender="tests"} 1.0' in told
    assert 'nextbest_events_total{contract="events",sender="tests",status="rejected"} 1.0' in told


def test_a_message_sent_again_is_a_duplicate(ask: Ask, log: SqliteLog, clock: Any) -> None:
    """Though each try corrects its time anew; another message under its id is told that it does not count."""
    first = {"batch": [PAGE | {"anonymousId": "a1"}], "sentAt": "2026-03-02T12:00:00Z"}
    assert ask("POST", "/v1/batch", json=first).json()["accepted"] == 1
    clock.now = clock.now.replace(minute=7, microsecond=300)
    again = ask("POST", "/v1/batch", json=first | {"sentAt": "2026-03-02T12:06:59Z"})
    assert (again.status_code, again.json()["duplicates"]) == (200, 1)
    assert [entry.contract for _, entry in log.read_sync(0, 10)] == ["events", "identities"]
    other = batch(ask, PAGE | {"name": "Other"})
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (409, "#/batch/0")


def test_an_anonymous_id_finds_the_customer(ask: Ask, log: SqliteLog, state: SqliteState) -> None:
    """A login merges the visitor with the customer; a device on which two log in is neither's."""

    def customer() -> str:
        asyncio.run(step(log, state))
        return asyncio.run(state.members([VISITOR]))[VISITOR][0]

    def said(number: int, at: str, **whom: Any) -> dict[str, Any]:
        return {"type": "page", "messageId": f"v{number}", "anonymousId": "a1", "timestamp": at, **whom}

    batch(ask, said(1, "2026-03-02T10:00:00Z"))
    assert customer() == VISITOR
    batch(ask, said(2, "2026-03-02T11:00:00Z", userId="c1"), said(3, "2026-03-02T11:01:00Z", userId="c1"))
    assert customer() == "c1"
    batch(ask, said(4, "2026-03-02T11:30:00Z"))
    scope = SnapshotScope(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    assert customer() == "c1"
    assert len(asyncio.run(state.snapshot("c1", scope)).interactions) == 4
    batch(ask, said(5, "2026-03-02T10:30:00Z", userId="c2"))
    assert customer() == VISITOR
    batch(ask, {"type": "alias", "messageId": "v6", "previousId": "a2", "userId": "c2"})
    links = [entry for _, entry in log.read_sync(0, 20) if entry.contract == "identities"]
    assert [entry.event_id.rsplit("/", 1)[1] for entry in links] == ["v3", "v5", "v6"]


def test_a_text_cut_within_a_character_is_no_poison(ask: Ask) -> None:
    """Half a pair of surrogates, as a client makes that cuts a title short, and NaN, which is no JSON."""
    content = rb'{"batch": [{"type": "page", "userId": "c1", "name": "Home \ud83d", "properties": {"price": NaN}}]}'
    assert ask("POST", "/v1/batch", content=content).json()["accepted"] == 1


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 20_000 + b"]" * 20_000, 400),
        (b'{"batch": []}', 400),
        (b'{"batch": [' + b",".join([b"{}"] * (BATCH_LIMIT + 1)) + b"]}", 400),
        (b'{"batch": [{"type": "page"}]}', 400),
        (b'{"batch": [{}], "sentAt": "noon"}', 400),
        (b" " * (BATCH_BYTES + 1), 413),
    ],
)
def test_a_body_that_is_none_is_a_problem(ask: Ask, content: bytes, status: int) -> None:
    """400, after which no client sends it again, as for a batch without one message that can be taken in."""
    refused = ask("POST", "/v1/batch", content=content)
    assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")


def test_a_single_message_has_the_limit_of_one(ask: Ask) -> None:
    """On its own route too."""
    assert ask("POST", "/v1/page", json=PAGE | {"more": "x" * MESSAGE_BYTES}).status_code == 413


def test_nothing_is_acknowledged_when_the_log_is_down(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, after which every client sends it again."""

    async def full(*_: object, **__: object) -> None:
        raise LogUnavailableError("no space left")

    monkeypatch.setattr(SqliteLog, "append", full)
    refused = batch(ask, PAGE)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


def test_basic_credentials_are_described(ask: Ask) -> None:
    """Beside the other way to send a key, and for these routes alone, which have the places of events."""
    document = ask("GET", "/openapi.json").json()
    assert document["components"]["securitySchemes"]["write_key"]["scheme"] == "basic"
    takes = {
        path
        for path, each in document["paths"].items()
        if {"write_key": []} in each.get("post", {}).get("security", [])
    }
    assert takes == {f"/v1/{call}" for call in ("batch", *CALLS)}
    assert {"/v1/events", *takes} == EVENTS


@pytest.mark.parametrize(
    "bad",
    [
        b'{"type": "track", "userId": "1", "event": "caf\xe9", "messageId": "b1"}',
        b'"\xe9"',
        b'{"type": "page", "userId": "1", "messageId": "b1", "name": 1e999}',
        b'{"type": "page", "userId": "1", "messageId": "b1", "name": ' + b"9" * 5_000 + b"}",
        b'{"type": "track", "userId": 1.5, "event": "x", "properties": {"slot": ' + b"[" * 900 + b"]" * 900 + b"}}",
        b'{"type": "track", "userId": "1", "event": "Product Clicked", "properties": {"decision_id": "d", "slot": '
        + b"[" * 900
        + b"]" * 900
        + b"}}",
        b'{"type": "page", "userId": "1", "context": ' + b'{"device":' * 900 + b"1" + b"}" * 900 + b"}",
    ],
)
def test_a_message_that_cannot_be_read_takes_no_other_with_it(
    ask: Ask, log: SqliteLog, quarantine: Quarantine, write_key: str, bad: bytes
) -> None:
    """Not UTF-8, a number larger than any, or deeper than anybody looks: the one beside it counts."""
    content = b'{"batch": [{"type": "page", "userId": "c1", "messageId": "good"}, ' + bad + b"]}"
    headers = basic(write_key) | {"content-type": "application/json"}
    answer = ask("POST", "/v1/batch", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "events/good" in {entry.event_id for _, entry in log.read_sync(0, 10)}
    assert answer.json()["accepted"] + answer.json()["rejected"] == 2
    assert len(quarantine.rows()) == answer.json()["rejected"]


def test_beside_what_is_no_number_one_may_be_larger_than_any(ask: Ask, write_key: str) -> None:
    content = b'{"batch": [{"type": "page", "userId": "c1", "properties": {"a": NaN, "b": 1e999, "c": ' + b"9" * 5_000
    headers = basic(write_key) | {"content-type": "application/json"}
    answer = ask("POST", "/v1/batch", content=content + b"}}]}", headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)


def test_an_address_is_refused_and_not_kept(ask: Ask, quarantine: Quarantine, write_key: str) -> None:
    """Quarantine holds the message without it."""
    assert batch(ask, PAGE | {"userId": "jo@example.com"}, headers=basic(write_key)).status_code == 400
    [kept] = quarantine.rows()
    assert "address" in kept.reason
    assert "jo@example.com" not in str(kept)


def test_an_amount_in_quotes_is_one(ask: Ask, log: SqliteLog, write_key: str) -> None:
    order = {"type": "track", "userId": "c1", "event": "Order Completed", "messageId": "o1"}
    said = {"action": "beef", "revenue": "12.3", "currency": "USD"}
    assert batch(ask, order | {"properties": said}, headers=basic(write_key)).status_code == 200
    [outcome] = [entry for _, entry in log.read_sync(0, 10) if entry.contract == "outcomes"]
    assert outcome.value == 12.3
