"""Events, outcomes and consents that come over HTTP: what is said of each, and that it binds."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

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
