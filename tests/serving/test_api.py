"""The HTTP API, on a real log and State: decisions, and what is said when something is wrong."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from nextbest import records
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.log import LogUnavailableError
from nextbest.settings import Settings
from nextbest.state import SnapshotScope
from nextbest.wire import DecisionDetails

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
Publish = Callable[[Settings, float], str]


def call(client: Any, method: str, path: str, body: object = None, content: bytes | None = None) -> httpx.Response:
    async def send() -> httpx.Response:
        async with client() as connected:
            content_ = msgspec.json.encode(body) if content is None else content
            response: httpx.Response = await connected.request(method, path, content=content_)
            return response

    return asyncio.run(send())


def decide(client: Any, customer_id: str = "c1", **options: Any) -> dict[str, Any]:
    body = {"customer": {"customer_id": customer_id}, "placements": ["home_banner"], "limit": 1, **options}
    response = call(client, "POST", "/v1/decisions", body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def action(answer: dict[str, Any]) -> str:
    name: str = answer["placements"][0]["slots"][0]["action"]
    return name


def test_a_known_customer_gets_the_best_action(client: Any, settings: Settings, publish: Publish) -> None:
    """The answer says what was decided, how likely that was, with which models and policy, and what to show."""
    model_set_id = publish(settings, 0.1)
    answer = decide(client)
    (slot,) = answer["placements"][0]["slots"]
    assert (slot["action"], slot["probability"], slot["content"]) == ("beef", 1.0, {"headline": "Beef"})
    assert slot["reason"] == "highest priority of 3"
    assert slot["p"] == pytest.approx(0.1)
    assert slot["priority"] == pytest.approx(1.0)
    assert (answer["tier"], answer["logged"], answer["model_set_id"]) == ("full", True, model_set_id)
    assert answer["stage_us"].keys() >= {"state", "features", "scoring", "reserve", "log"}


def test_the_decision_is_in_the_log_as_its_contract_says(
    client: Any, settings: Settings, publish: Publish, log: SqliteLog
) -> None:
    """One envelope per slot, the whole record in it, and the same record at its address."""
    publish(settings, 0.1)
    answer = decide(client, limit=2)
    entries = [entry for _, entry in log.read_sync(0, 10)]
    assert [(entry.type, entry.contract, entry.action) for entry in entries] == [
        ("decision", "decisions", "beef"),
        ("decision", "decisions", "milk"),
    ]
    record = records.decode(entries[0].properties["record"])
    assert record.decision_id == answer["decision_id"]
    found = call(client, "GET", f"/v1/decisions/{answer['decision_id']}")
    assert msgspec.json.decode(found.content, type=DecisionDetails) == DecisionDetails(record=record)


def test_an_unknown_customer_gets_a_safe_decision(client: Any, settings: Settings, publish: Publish) -> None:
    """The placement's fallback, logged, with its reason."""
    publish(settings, 0.1)
    answer = decide(client, "stranger")
    assert (action(answer), answer["tier"], answer["degraded"]) == ("do_nothing", "fallback", ["unknown_customer"])
    assert answer["logged"]
    assert answer["placements"][0]["slots"][0]["content"] == {"headline": "Good food"}


def test_before_the_first_model_set_decisions_are_safe(client: Any) -> None:
    """A server can start before anything was trained."""
    answer = decide(client)
    assert (action(answer), answer["degraded"], answer["model_set_id"]) == ("do_nothing", ["no_model_set"], None)


def test_a_feature_store_that_is_down_is_no_error(
    client: Any, features: Any, settings: Settings, publish: Publish
) -> None:
    """The decision is a fallback that says so."""
    publish(settings, 0.1)
    features.reason = "features_unavailable"
    assert decide(client)["degraded"] == ["features_unavailable"]


@pytest.mark.parametrize(("part", "reason"), [("online", "state_unavailable"), ("log", "log_unavailable")])
def test_without_log_or_state_nothing_is_counted_or_logged(
    client: Any, settings: Settings, publish: Publish, part: str, reason: str
) -> None:
    """A part that cannot be used leaves the consent-free, cap-exempt fallback, and the answer says it is not logged."""
    publish(settings, 0.1)
    shutil.rmtree(settings.state / part)
    (settings.state / part).write_text("a file where the folder should be")
    answer = decide(client)
    assert (action(answer), answer["degraded"], answer["logged"]) == ("do_nothing", [reason], False)


def test_a_decision_that_cannot_be_logged_gives_back_its_reservation(
    client: Any, settings: Settings, publish: Publish, state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the customer never saw counts toward no cap."""
    publish(settings, 0.1)
    monkeypatch.setattr(SqliteLog, "append", _full)
    assert decide(client)["degraded"] == ["log_unavailable"]
    assert asyncio.run(state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO))).contacts == ()


def test_a_cap_binds(client: Any, settings: Settings, publish: Publish, clock: Any) -> None:
    """The third decision of the day proposes something else, says why, and the next day is another day."""
    publish(settings, 0.1)
    assert [action(decide(client)) for _ in range(2)] == ["beef", "beef"]
    answer = decide(client, include=["explanation"])
    assert action(answer) == "milk"
    reasons = {each["action"]: (each["stage"], each.get("reason")) for each in answer["explanation"]}
    assert reasons["beef"] == ("contact_policy", "beef_twice: 2 of 2")
    clock.now += timedelta(hours=24)
    assert action(decide(client)) == "beef"


def test_a_dry_run_counts_toward_no_cap(client: Any, settings: Settings, publish: Publish) -> None:
    """It decides the same, as often as it is asked."""
    publish(settings, 0.1)
    assert [action(decide(client, dry_run=True)) for _ in range(3)] == ["beef"] * 3


def test_a_request_id_gets_one_decision(client: Any, settings: Settings, publish: Publish, log: SqliteLog) -> None:
    """The same request again is the same decision, counted and logged once."""
    publish(settings, 0.1)
    first, second = decide(client, request_id="r1"), decide(client, request_id="r1")
    del first["stage_us"], second["stage_us"]
    assert first == second
    assert len(log.read_sync(0, 10)) == 1
    assert decide(client, request_id="r2")["decision_id"] != first["decision_id"]


def test_a_decision_that_was_killed_before_it_was_logged_is_made_again(
    client: Any, settings: Settings, publish: Publish, state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry gets the action its first try held, counted once."""
    publish(settings, 0.1)
    decide(client)
    with monkeypatch.context() as patched:
        patched.setattr(SqliteLog, "append", _killed)
        with pytest.raises(KilledError):
            decide(client, request_id="r1")
    assert action(decide(client, request_id="r1")) == "beef"
    assert len(asyncio.run(state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO))).contacts) == 2


class KilledError(BaseException):
    """What no handler takes for an error."""


async def _killed(*_args: object, **_options: object) -> None:
    raise KilledError


async def _full(*_args: object, **_options: object) -> None:
    raise LogUnavailableError("database or disk is full")


async def _broken(*_args: object, **_options: object) -> None:
    raise KeyError("the customer's secret")


def test_a_decision_made_again_once_the_log_is_back_counts(
    client: Any, settings: Settings, publish: Publish, state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first try gave back the second one holds."""
    publish(settings, 0.1)
    with monkeypatch.context() as patched:
        patched.setattr(SqliteLog, "append", _full)
        assert not decide(client, request_id="r1")["logged"]
    assert action(decide(client, request_id="r1")) == "beef"
    assert len(asyncio.run(state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO))).contacts) == 1


def test_the_same_request_at_once_is_one_decision(
    client: Any, settings: Settings, publish: Publish, state: SqliteState, log: SqliteLog
) -> None:
    """Twenty of the same request id: one answer, logged once, counted once."""
    publish(settings, 0.1)
    body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner"], "request_id": "r1"}

    async def ask() -> list[dict[str, Any]]:
        async with client() as connected:
            asked = (connected.post("/v1/decisions", content=msgspec.json.encode(each)) for each in [body] * 20)
            return [answer.json()["placements"][0] for answer in await asyncio.gather(*asked)]

    first, *others = asyncio.run(ask())
    assert all(other == first for other in others)
    entries = [entry for _, entry in log.read_sync(0, 100)]
    contacts = asyncio.run(state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO))).contacts
    assert [entry.action for entry in entries] == [contact.action for contact in contacts]
    assert [entry.action for entry in entries] == [slot["action"] for slot in first["slots"]]


@pytest.mark.parametrize(
    "other",
    [
        {"customer_id": "c2"},
        {"dry_run": True},
        {"customer": {"kind": "email", "hmac": "ab" * 32}},
        {"limit": 1},
        {"context": {"weather": "rain"}},
    ],
)
def test_a_request_id_is_not_lent_to_another_request(
    client: Any, settings: Settings, publish: Publish, other: dict[str, Any]
) -> None:
    """Nobody gets what was decided for somebody else, and a dry run is not a decision."""
    publish(settings, 0.1)
    body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner"], "request_id": "r1"}
    assert call(client, "POST", "/v1/decisions", body).status_code == 200
    if customer_id := other.pop("customer_id", None):
        other = {"customer": {"customer_id": customer_id}}
    response = call(client, "POST", "/v1/decisions", body | other)
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")


def test_a_defect_of_ours_is_no_error_to_the_customer(
    client: Any,
    settings: Settings,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A decision is the fallback and says so; the server's log says where it happened, and no value of it."""
    publish(settings, 0.1)
    monkeypatch.setattr(SqliteLog, "append", _broken)
    answer = decide(client)
    assert (action(answer), answer["degraded"], answer["logged"]) == ("do_nothing", ["defect"], False)
    assert "KeyError at test_api._broken" in caplog.text
    assert "secret" not in caplog.text


def test_a_defect_of_ours_is_a_problem_without_its_inside(
    client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 as problem details: no stack trace, nothing of what went wrong inside, there or in the log."""
    monkeypatch.setattr(SqliteLog, "append", _broken)
    row = {"event_id": "e1", "customer_id": "c1", "type": "click", "channel": "web", "action": "beef"}
    at = {"occurred_at": "2026-03-02T12:00:00Z"}
    response = call(client, "POST", "/v1/events", {"events": [{"contract": "events", "properties": row | at}]})
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in response.text + caplog.text


@pytest.mark.usefixtures("linked")
def test_an_identifier_stands_for_its_customer(
    client: Any, settings: Settings, publish: Publish, log: SqliteLog
) -> None:
    """A linked identifier decides for its customer, an unknown one for a new one, who goes by it."""
    publish(settings, 0.1)
    known = decide(client, customer={"kind": "email", "hmac": "ab" * 32})
    assert (known["customer_id"], action(known)) == ("c1", "beef")
    new = decide(client, customer={"kind": "email", "hmac": "cd" * 32})
    assert (new["customer_id"], new["degraded"]) == ("email:" + "cd" * 32, ["unknown_customer"])
    asked_by = [(entry.identifiers[0].hmac[:2], entry.partition_key) for _, entry in log.read_sync(1, 10)]
    assert asked_by == [("ab", "c1"), ("cd", "email:" + "cd" * 32)]


@pytest.mark.usefixtures("linked")
def test_a_known_customer_stays_known_under_a_smaller_id(
    client: Any, settings: Settings, publish: Publish, features: Any
) -> None:
    """Somebody new who shares an address with them names them both, and the warehouse knows nothing of that one."""
    publish(settings, 0.1)
    features.forgotten.add("a1")
    row = {"kind": "email", "identifier_hmac": "ab" * 32, "customer_id": "a1", "linked_at": "2026-03-02T12:00:00Z"}
    call(client, "POST", "/v1/events", {"events": [{"contract": "identities", "properties": row}]})
    answers = [decide(client, customer={"customer_id": each}) for each in ("c1", "a1")]
    assert [(each["customer_id"], each["tier"], each["degraded"]) for each in answers] == [("a1", "full", [])] * 2


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("/v1/decisions", b"{", 400, "not JSON"),
        ("/v1/decisions", b'{"customer": {"customer_id": "\xff"}, "placements": ["home_banner"]}', 400, "UTF-8"),
        (
            "/v1/events",
            b'{"events": [{"contract": "events", "properties": {"a": ' + b"[" * 100_000,
            400,
            "nests too deep",
        ),
        ("/v1/decisions", b"{}", 422, "customer"),
        (
            "/v1/decisions",
            b'{"customer": {"customer_id": "c1"}, "placements": ["home_banner", 3]}',
            422,
            "#/placements/1",
        ),
        (
            "/v1/decisions",
            b'{"customer": {"customer_id": "c1"}, "placements": ["moon"]}',
            422,
            "unknown placement moon",
        ),
        ("/v1/decisions", b'{"customer": {"kind": "email"}, "placements": ["home_banner"]}', 422, "kind and hmac"),
        ("/v1/decisions", b'{"customer": {"customer_id": "email:a@b.c"}, "placements": ["home_banner"]}', 422, "an id"),
        ("/v1/decisions", b'{"customer": {}, "placements": ["home_banner"]}', 422, "customer_id"),
        (
            "/v1/decisions",
            b'{"customer": {"customer_id": "c1"}, "placements": ["home_banner"], "context": {"n": 1'
            + b"0" * 309
            + b"}}",
            422,
            "#/context",
        ),
        ("/v1/events", b'{"events": []}', 422, "length"),
        ("/v1/events", b'{"events": [{"contract": "secrets", "properties": {}}]}', 422, "#/events/0/contract"),
        ("/v1/events", b" " * 2_000_001, 413, "2,000,000"),
    ],
)
def test_a_bad_body_is_a_problem_that_says_what(client: Any, path: str, content: bytes, status: int, said: str) -> None:
    """Problem details (RFC 9457) that name the field."""
    response = call(client, "POST", path, content=content)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["status"] == status
    assert said in response.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/decisions/none", 404), ("DELETE", "/v1/events", 405)],
)
def test_what_is_not_there_is_a_problem(client: Any, method: str, path: str, status: int) -> None:
    """Unknown routes, decisions and methods answer with problem details too."""
    response = call(client, method, path)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


def test_what_is_at_no_address_is_named_and_shown_the_way(client: Any) -> None:
    """Who mistyped sees what came of it, what the address takes, and where all of them are."""
    nothing = call(client, "GET", "/v1/decisoins/d1").json()["detail"]
    assert nothing == "GET /v1/decisoins/d1: nothing is at this address; /docs has every operation"
    wrong = call(client, "DELETE", "/v1/events").json()["detail"]
    assert wrong == "DELETE /v1/events: it takes POST; /docs has every operation"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/customers/c1/consents", {"GET", "HEAD", "PUT"}),
        ("/v1/customers/c1", {"DELETE"}),
        ("/v1/events", {"POST"}),
        ("/healthz", {"GET", "HEAD"}),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PATCH"])
def test_a_method_that_an_address_does_not_have(client: Any, method: str, path: str, allowed: set[str]) -> None:
    """405 names all of those that it has, also where they are several operations."""
    response = call(client, method, path)
    assert (response.status_code, response.headers["content-type"]) == (405, "application/problem+json")
    assert {*response.headers["allow"].split(", ")} == allowed


@pytest.mark.parametrize(("given", "status"), [("true", 200), ("false", 200), ("", 422), ("1", 422), ("True", 422)])
def test_a_truth_is_true_or_false(client: Any, given: str, status: int) -> None:
    """As the description has it, and nothing that a client may have meant by something else."""
    decision_id = decide(client)["decision_id"]
    assert call(client, "GET", f"/v1/decisions/{decision_id}?explain={given}").status_code == status
