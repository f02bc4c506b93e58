"""A placement as a flag of OpenFeature, on a real log and State."""

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from nextbest.settings import Settings

Ask = Callable[..., httpx.Response]
Publish = Callable[[Settings, float], str]
FLAG = "/ofrep/v1/evaluate/flags/home_banner"


@pytest.fixture
def settings(settings: Settings, policy_files: dict[str, Any]) -> Settings:
    """A home whose policy knows two things of a context."""
    policy_files["features"]["features"] += [
        {"name": "in_store", "kind": "boolean", "origin": "context", "description": "at the till"},
        {"name": "visits", "kind": "number", "origin": "context", "description": "this week"},
    ]
    content = msgspec.yaml.encode(policy_files["features"])
    (settings.home / "policies" / "features.yaml").write_bytes(content)
    return settings


def test_a_placement_is_an_object_with_its_slots(ask: Ask, settings: Settings, publish: Publish) -> None:
    """The first slot at hand, all of them beside it, and the decision in the metadata."""
    publish(settings, 0.1)
    answer = ask("POST", FLAG, json={"context": {"targetingKey": "c1"}}).json()
    assert (answer["key"], answer["reason"], answer["variant"]) == ("home_banner", "TARGETING_MATCH", "beef/beef")
    assert answer["value"]["content"] == {"headline": "Beef"}
    assert [slot["action"] for slot in answer["value"]["slots"]] == ["beef", "milk"]
    assert answer["metadata"].keys() == {"decision_id", "tier", "logged", "probability", "policy_hash"}


def test_nothing_to_propose_is_the_default(ask: Ask) -> None:
    """The placement's fallback, which is an answer and no error."""
    answer = ask("POST", FLAG, json={"context": {"targetingKey": "stranger"}}).json()
    assert (answer["reason"], answer["variant"]) == ("DEFAULT", "do_nothing")
    assert answer["value"]["content"] == {"headline": "Good food"}


def test_of_a_context_only_what_decisions_know_is_kept(ask: Ask, settings: Settings, publish: Publish) -> None:
    """Applications put people's names and addresses there; a decision is logged with its context."""
    publish(settings, 0.1)
    others = {"email": "ann@example.com", "deep": {"a": {"b": {"c": [1]}}}, "n" * 200: 1, "huge": 10**30, "no": None}
    context = {"targetingKey": "c1", "in_store": True, "visits": None, **others}
    answered = ask("POST", FLAG, json={"context": context})
    assert answered.status_code == 200, answered.text
    record = ask("GET", f"/v1/decisions/{answered.json()['metadata']['decision_id']}").json()["record"]
    assert record["context"] == {"in_store": True}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b"[]", "INVALID_CONTEXT"),
        (b'{"context": 1}', "INVALID_CONTEXT"),
        (b"{}", "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": 439}}', "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": "email:ann@example.com"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "c1", "in_store": "yes"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "c1", "in_store": [true]}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "c1", "visits": 1000000000000000000000000000000}}', "INVALID_CONTEXT"),
    ],
)
def test_a_request_that_is_wrong_is_told_in_the_words_of_the_protocol(ask: Ask, content: bytes, code: str) -> None:
    """400, the flag's key, a code and a detail: its providers read all three."""
    answered = ask("POST", FLAG, content=content)
    assert answered.status_code == 400
    problem = answered.json()
    assert (problem["key"], problem["errorCode"]) == ("home_banner", code)
    assert problem["errorDetails"]
    assert "ann@example.com" not in answered.text


def test_an_unknown_flag_is_not_found(ask: Ask) -> None:
    """404 with the code that the protocol has for it, and the flags that there are."""
    answered = ask("POST", "/ofrep/v1/evaluate/flags/nowhere", json={"context": {"targetingKey": "c1"}})
    assert (answered.status_code, answered.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert answered.json()["errorDetails"] == "the policy has no placement 'nowhere': there is home_banner"


def test_without_a_key_there_is_no_evaluation(ask: Ask) -> None:
    """401, in the protocol's form too."""
    answered = ask("POST", FLAG, json={"context": {"targetingKey": "c1"}}, headers={"authorization": "Bearer no"})
    assert (answered.status_code, answered.json()["errorCode"]) == (401, "GENERAL")
