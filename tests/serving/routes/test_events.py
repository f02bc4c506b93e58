"""Events, outcomes, consents and signals that come over HTTP: what is said of each, and that it binds."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.settings import Settings

Ask = Callable[..., httpx.Response]
Decide = Callable[..., dict[str, Any]]
Publish = Callable[[Settings, float], str]


def consent(status: str, at: str, consent_id: str) -> dict[str, Any]:
    row = {"consent_id": consent_id, "customer_id": "c1", "purpose": "marketing", "regime": "opt_out"}
    return {"contract": "consents", "properties": {**row, "status": status, "occurred_at": at}}


def impression(event_id: str, **fields: Any) -> dict[str, Any]:
    row = {"event_id": event_id, "customer_id": "c1", "type": "impression", "channel": "web", "action": "beef"}
    return {"contract": "events", "properties": {**row, "occurred_at": "2026-03-02T12:00:00Z", **fields}}


def send(ask: Ask, *events: dict[str, Any]) -> httpx.Response:
    return ask("POST", "/v1/events", json={"events": events})


def action(answer: dict[str, Any]) -> str:
    name: str = answer["placements"][0]["slots"][0]["action"]
    return name


def test_each_event_is_accepted_or_rejected_with_its_reason(ask: Ask, log: SqliteLog) -> None:
    """A batch is not all or nothing: the answer says by row what became of it; what was accepted is in the log."""
    outcome = {"outcome_id": "o1", "customer_id": "c1", "action": "beef", "kind": "redemption", "currency": "USD"}
    response = send(
        ask,
        impression("e1", source="simulated"),
        impression("e2", channel="pigeon"),
        impression("e1", source="simulated"),
        {"contract": "outcomes", "properties": {**outcome, "value": "much", "occurred_at": "2026-03-02T12:00:00Z"}},
        {"contract": "outcomes", "properties": {**outcome, "value": 3.5, "occurred_at": "2026-03-02T12:00:00Z"}},
    )
    assert response.status_code == 202
    taken = response.json()
    assert [result["status"] for result in taken["results"]] == [
        "accepted",
        "rejected",
        "duplicate",
        "rejected",
        "accepted",
    ]
    assert taken["results"][1] == {
        "status": "rejected",
        "reason": "events.channel is 'pigeon': it takes web, app, email",
        "rule": "enum",
        "column": "channel",
    }
    assert taken["results"][3]["reason"] == "outcomes.value is 'much': it takes a number"
    assert (taken["accepted"], taken["duplicates"], taken["rejected"]) == (2, 1, 2)
    assert [(entry.event_id, entry.source) for _, entry in log.read_sync(0, 10)] == [
        ("events/e1", "simulated"),
        ("outcomes/o1", "live"),
    ]


def test_an_event_sent_again_is_a_duplicate(ask: Ask, log: SqliteLog) -> None:
    """A client that retries is told so, and nothing counts twice."""
    assert send(ask, impression("e1")).json()["accepted"] == 1
    response = send(ask, impression("e1"))
    assert (response.status_code, response.json()["duplicates"]) == (202, 1)
    assert len(log.read_sync(0, 10)) == 1


def test_a_batch_with_no_valid_row_is_a_problem(ask: Ask) -> None:
    """422, with a pointer to the field of each row."""
    response = send(ask, impression("e1", type="dream"))
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    (error,) = response.json()["errors"]
    assert error["pointer"] == "#/events/0/properties/type"


def test_events_under_taken_keys_are_a_conflict(ask: Ask) -> None:
    """409 when nothing but their keys is wrong with them, with a pointer to each key; beside other faults 422."""
    send(ask, impression("e1"))
    response = send(ask, impression("e1", action="milk"))
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")
    assert [error["pointer"] for error in response.json()["errors"]] == ["#/events/0/properties/event_id"]
    assert send(ask, impression("e1", action="milk"), impression("e2", type="dream")).status_code == 422


def test_events_are_not_acknowledged_when_the_log_is_down(ask: Ask, settings: Settings) -> None:
    """503 with Retry-After: the client keeps them and sends again."""
    settings.state.mkdir(exist_ok=True)
    shutil.rmtree(settings.state / "log")
    (settings.state / "log").write_text("a file where the folder should be")
    response = send(ask, impression("e1"))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_a_withdrawn_consent_binds_the_next_decision(
    ask: Ask, decide: Decide, settings: Settings, publish: Publish, clock: Any
) -> None:
    """Once the withdrawal is acknowledged no decision acts against it; granted again, decisions come back."""
    publish(settings, 0.1)
    assert send(ask, consent("withdrawn", "2026-03-02T12:00:00Z", "k1")).status_code == 202
    answer = decide(include=["explanation"])
    assert action(answer) == "do_nothing"
    assert {each["reason"] for each in answer["explanation"] if "reason" in each} == {"marketing: withdrawn"}
    assert answer["placements"][0]["slots"][0]["reason"] == "marketing: withdrawn (2 actions)"
    clock.now += timedelta(seconds=1)
    send(ask, consent("granted", "2026-03-02T12:00:01Z", "k2"))
    assert action(decide()) == "beef"


def test_a_stock_binds_the_next_decision(
    ask: Ask, decide: Decide, settings: Settings, publish: Publish, *, clock: Any, log: SqliteLog
) -> None:
    """What has run out is not decided again, of whatever customer; the decision's explanation says since when."""
    publish(settings, 0.1)
    assert action(decide()) == "beef"
    row = {"signal": "stock", "key": "beef"}
    sold_out = {"signal_id": "s1", "value": 0.0, "occurred_at": "2026-03-02T12:00:00Z", **row}
    assert send(ask, {"contract": "signals", "properties": sold_out}).json()["accepted"] == 1
    answer = decide(include=["explanation"])
    assert action(answer) == "milk"
    stopped = [(each["action"], each["stage"], each["reason"]) for each in answer["explanation"] if "reason" in each]
    assert stopped == [("beef", "stock", "out of stock: 0 of at least 1 since 2026-03-02 12:00:00 UTC")]
    clock.now += timedelta(seconds=2)
    delivered = {"signal_id": "s2", "value": 80.0, "occurred_at": "2026-03-02T12:00:01Z", **row}
    assert send(ask, {"contract": "signals", "properties": delivered}).json()["accepted"] == 1
    assert action(decide()) == "beef"
    signals = [entry for _, entry in log.read_sync(0, 10) if entry.contract == "signals"]
    assert [(each.type, each.partition_key, each.value) for each in signals] == [
        ("signal", "stock:beef", 0.0),
        ("signal", "stock:beef", 80.0),
    ]


FAR = "it is more than 5 minutes later than now, 2026-03-02T12:00:00+00:00"
ROW = b'{"contract": "events", "properties": {}}'
NO_ID = "is no id: it takes up to 200 characters, and no control character"
NO_CUSTOMER = (
    "names no customer: it takes up to 200 characters, and is an identifier (kind:hmac, one of the kinds of "
    "identities and a keyed hash), or else neither begins nor ends like one, and is no dot, which no path can name"
)
KINDS = (
    "page_view, product_view, add_to_cart, email_open, click, impression, login, unsubscribe, identify, alias, group, "
    "custom"
)
WRONG = {
    "another type": ({"slot": "1"}, "slot", "events.slot is '1': it takes an integer"),
    "an unknown name": ({"chanel": "web"}, "chanel", "events has no 'chanel'; did you mean 'channel'?"),
    "a name of odd characters": ({"a/b~c%": 1}, "a~1b~0c%25", "events has no 'a/b~c%'"),
    "no name": ({"": 1}, "", "events has no ''"),
    "a long name": ({"n" * 5_000: 1}, "n" * 100, f"events has no '{'n' * 100}…'"),
    "a long text": ({"name": "x" * 10_001}, "name", "events.name has 10,001 characters: it takes 10,000 or less"),
    "a number that no column holds": ({"slot": 2**70}, "slot", f"events.slot is '{2**70}': it takes an integer"),
    "a list of lists of lists": ({"slot": [[[1]]]}, "slot", "events.slot is [[[1]]]: it takes an integer"),
    "many values": ({"name": [1] * 1_001}, "name", f"events.name is [{'1,' * 49}1…: it takes a string"),
    "nothing where something must be": (
        {"channel": None},
        "channel",
        "events.channel is missing: it must have a value",
    ),
    "none of a list": (
        {"type": "clik"},
        "type",
        f"events.type is 'clik': it takes {KINDS}; did you mean 'click'?",
    ),
    "too large": (
        dict.fromkeys(("category", "treatment", "session_id", "decision_id"), "x" * 9_000),
        "",
        "the row of events is 36,187 bytes of JSON: it takes 32,000 or less",
    ),
    "no zone": (
        {"occurred_at": "2026-03-02T12:00:00"},
        "occurred_at",
        "events.occurred_at is '2026-03-02T12:00:00': it takes a time with its zone, such as 2026-03-02T12:00:00Z",
    ),
    "no time": ({"occurred_at": "noon"}, "occurred_at", "events.occurred_at is 'noon': it takes a timestamp"),
    "the future": (
        {"occurred_at": "2026-03-02T12:06:00Z"},
        "occurred_at",
        f"events.occurred_at is '2026-03-02T12:06:00+00:00': {FAR}",
    ),
    "too long ago": (
        {"occurred_at": "1999-12-31T23:59:59Z"},
        "occurred_at",
        "events.occurred_at is '1999-12-31T23:59:59Z': it takes nothing below 2000-01-01T00:00:00Z",
    ),
    "an empty key": ({"event_id": ""}, "event_id", "events.event_id is '': its length is 1 or more"),
    "a long key": ({"event_id": "e" * 201}, "event_id", f"events.event_id {NO_ID}"),
    "a control character": ({"event_id": "e\u0000"}, "event_id", f"events.event_id {NO_ID}"),
    "an identifier for an id": (
        {"customer_id": "email:a@example.org"},
        "customer_id",
        f"events.customer_id {NO_CUSTOMER}",
    ),
    "no path can name": (
        {"customer_id": ".."},
        "customer_id",
        f"events.customer_id {NO_CUSTOMER}",
    ),
}


@pytest.mark.parametrize(("fields", "place", "reason"), WRONG.values(), ids=WRONG)
def test_each_fault_of_a_row_has_its_answer(
    ask: Ask, quarantine: Quarantine, fields: dict[str, Any], place: str, reason: str
) -> None:
    """422 with place and reason where no row is valid; the row is in quarantine with the same reason."""
    response = send(ask, impression("e1") | {"properties": impression("e1")["properties"] | fields})
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"detail": reason, "pointer": "#/events/0/properties" + (f"/{place}" if place else "")}
    ]
    (kept,) = quarantine.rows()
    assert (kept.reason, kept.sender) == (reason, "tests")


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_no_row_takes_those_beside_it_with_it(
    ask: Ask, log: SqliteLog, quarantine: Quarantine, fields: tuple[dict[str, Any], str, str]
) -> None:
    """However wrong it is, its neighbour is in the log."""
    wrong = impression("wrong") | {"properties": impression("wrong")["properties"] | fields[0]}
    response = send(ask, impression("e1"), wrong)
    assert (response.status_code, response.json()["accepted"], response.json()["rejected"]) == (202, 1, 1)
    assert [entry.event_id for _, entry in log.read_sync(0, 10)] == ["events/e1"]
    assert len(quarantine.rows()) == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "the body is not JSON"),
        (b'{"events": [{"contract": "events", "properties": {"a": "\xff"}}]}', 400, "the body is not UTF-8"),
        (
            b'{"events": [{"contract": "event", "properties": {}}]}',
            422,
            "it takes consents, events, identities, outcomes, signals, transactions, at #/ev",
        ),
        (
            b'{"events": [{"contract": 7, "properties": {}}]}',
            422,
            "Expected `string`, got `integer`: a number in quotes is one, at #/events/0/contract",
        ),
        (
            b'{"events": [{"contract": "events", "properties": {"name": ' + b"[" * 60 + b"1" + b"]" * 60 + b"}}]}",
            422,
            "#/events/0/properties",
        ),
        (
            b'{"events": [{"contract": "events", "properties": {}, "more": 1}]}',
            422,
            "unknown field `more`, at #/events/0",
        ),
        (b'{"events": [' + (ROW + b",") * 500 + ROW + b"]}", 422, "length <= 500"),
        (b" " * 2_000_001, 413, "the body is larger than 2,000,000 bytes"),
    ],
)
def test_each_fault_of_a_body_has_its_answer(
    ask: Ask, quarantine: Quarantine, body: bytes, status: int, said: str
) -> None:
    """What has no rows that could be judged is refused as a whole, with the place: the sender has all of it."""
    response = ask("POST", "/v1/events", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert said in response.json()["detail"]
    assert quarantine.rows() == []


def test_rejects_are_not_answered_without_a_quarantine(ask: Ask, settings: Settings) -> None:
    """503 with Retry-After: the client keeps them, and nothing is dropped in silence; valid rows need none."""
    settings.quarantine.parent.mkdir(exist_ok=True)
    settings.quarantine.write_text("a file where the folder should be")
    response = send(ask, impression("e1", type="dream"))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "the quarantine cannot be used now" in response.json()["detail"]
    assert send(ask, impression("e1")).status_code == 202


def test_an_erased_customer_is_in_no_quarantine(ask: Ask, quarantine: Quarantine) -> None:
    """What was rejected of them is forgotten with the rest."""
    send(ask, impression("e1", type="dream"), impression("e2", type="dream", customer_id="c2"))
    assert ask("DELETE", "/v1/customers/c1").status_code == 200
    assert [each.row["customer_id"] for each in quarantine.rows()] == ["c2"]


@pytest.mark.parametrize("number", [b"1e400", b"-" + b"9" * 5_000])
def test_a_number_larger_than_any_is_a_fault_of_its_row_alone(ask: Ask, quarantine: Quarantine, number: bytes) -> None:
    """The row beside it counts, and what was sent is in quarantine as its text."""
    events = [impression("good"), impression("bad", slot="NUMBER")]
    content = json.dumps({"events": events}).encode().replace(b'"NUMBER"', number)
    answer = ask("POST", "/v1/events", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 202, answer.text
    good, bad = answer.json()["results"]
    assert (good["status"], bad["status"], bad["column"]) == ("accepted", "rejected", "slot")
    [kept] = quarantine.rows()
    assert kept.row["slot"] == number.decode()


def login(customer_id: str, at: str = "2026-03-02T12:00:00Z", **fields: Any) -> dict[str, Any]:
    row = {"kind": "anonymous_id", "identifier_hmac": "ab" * 32, "customer_id": customer_id, "linked_at": at}
    return {"contract": "identities", "properties": row | fields}


def test_a_login_binds_the_next_decision(ask: Ask, decide: Decide, settings: Settings, publish: Publish) -> None:
    """What the visitor has refused, whom the customer id does not know yet, is refused by the customer."""
    publish(settings, 0.1)
    visitor = "anonymous_id:" + "ab" * 32
    no = consent("withdrawn", "2026-03-02T11:00:00Z", "k1")
    no["properties"]["customer_id"] = visitor
    assert send(ask, no).status_code == 202
    assert action(decide()) == "beef"
    assert send(ask, login("c1")).json()["accepted"] == 1
    assert action(decide()) == "do_nothing"
    assert decide(customer={"kind": "anonymous_id", "hmac": "ab" * 32})["customer_id"] == "c1"
    yes = ask("PUT", f"/v1/customers/{visitor}/consents", json={"consents": {"marketing": "granted"}})
    assert yes.json()["customer_id"] == "c1"
    assert action(decide()) == "beef"


def test_each_word_about_an_identifier_is_a_row_of_its_own(ask: Ask, log: SqliteLog) -> None:
    """Somebody else logs in there, and the first once more: neither takes the other's key."""
    words = [login("c1"), login("c2"), login("c1", "2026-03-02T12:01:00Z"), login("c1")]
    assert [each["status"] for each in send(ask, *words).json()["results"]] == [*["accepted"] * 3, "duplicate"]
    assert len(log.read_sync(0, 10)) == 3


def test_what_identifies_a_person_is_neither_taken_nor_kept(ask: Ask, quarantine: Quarantine) -> None:
    """A keyed hash is all that is asked for; what came with it is in no file."""
    refused = send(ask, login("c1", value="jo@example.com"))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/events/0/properties/value")
    (kept,) = quarantine.rows()
    assert "value" not in kept.row
    assert "jo@example.com" not in refused.text


def test_a_request_by_another_name_is_repeated_like_any_other(
    ask: Ask, decide: Decide, settings: Settings, publish: Publish
) -> None:
    """Who asks for one of two ids that are one customer's gets the same decision for the same request."""
    publish(settings, 0.1)
    assert send(ask, login("c1", kind="email"), login("c0", kind="email")).json()["accepted"] == 2
    first = decide(customer={"customer_id": "c1"}, request_id="r1")
    again = decide(customer={"customer_id": "c1"}, request_id="r1")
    assert first["customer_id"] == "c0"
    assert (again["decision_id"], again["placements"]) == (first["decision_id"], first["placements"])
