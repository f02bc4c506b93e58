"""Asking for decisions over HTTP: what an answer comes with, and what can be found out afterwards."""

import math
import shutil
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml

from nextbest.settings import Settings

Ask = Callable[..., httpx.Response]
Decide = Callable[..., dict[str, Any]]
Publish = Callable[[Settings, float], str]


def test_an_answer_comes_with_what_was_asked_for(decide: Decide, settings: Settings, publish: Publish) -> None:
    """Content unless it is not wanted; what the policy says of the action, and every candidate, on demand."""
    publish(settings, 0.1)
    plain, rich = decide(), decide("c2", include=["metadata", "explanation"])
    (slot,) = rich["placements"][0]["slots"]
    assert (slot["content"], slot["metadata"]) == (
        {},
        {
            "name": "Beef",
            "group": "food",
            "objective": "redemption",
            "action_class": "standard",
            "attributes": slot["metadata"]["attributes"],
        },
    )
    assert {each["action"] for each in rich["explanation"]} == {"beef", "milk", "do_nothing"}
    assert plain["placements"][0]["slots"][0]["metadata"] is None
    assert plain["explanation"] is None


def test_slots_are_numbered_through(decide: Decide, settings: Settings, publish: Publish) -> None:
    """Events name them by these numbers."""
    publish(settings, 0.1)
    answer = decide(limit=2)
    assert [[slot["slot"] for slot in each["slots"]] for each in answer["placements"]] == [[0, 1]]


def test_a_placement_is_asked_for_once(ask: Ask) -> None:
    """Who asks twice expects two answers, and would look for the second in vain."""
    body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner", "home_banner"]}
    refused = ask("POST", "/v1/decisions", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/placements/1")
    schema = ask("GET", "/openapi.json").json()["components"]["schemas"]["DecisionRequest"]
    assert schema["properties"]["placements"]["uniqueItems"] is True


def test_a_decision_can_be_explained_afterwards(ask: Ask, decide: Decide, settings: Settings, publish: Publish) -> None:
    """It is decided again, bit for bit; the terms of each priority add up, and features say what they moved."""
    publish(settings, 0.1)
    decision_id = decide(limit=2)["decision_id"]
    found = ask("GET", f"/v1/decisions/{decision_id}?explain=true").json()
    assert found["replay"]["identical"] is True
    assert found["replay"]["differences"] == []
    assert [each["action"] for each in found["contributions"]] == ["beef", "milk"]
    for part in found["contributions"]:
        score = next(each for each in found["record"]["candidates"] if each["action"] == part["action"])
        assert math.isclose(sum(part["terms"].values()), score["priority"])
    plain = ask("GET", f"/v1/decisions/{decision_id}").json()
    assert (plain["record"], plain["replay"], plain["contributions"]) == (found["record"], None, None)


def test_a_decision_whose_policy_is_gone_is_not_explained(
    ask: Ask, decide: Decide, settings: Settings, publish: Publish
) -> None:
    """410; the record itself is still there."""
    publish(settings, 0.1)
    path = f"/v1/decisions/{decide()['decision_id']}"
    shutil.rmtree(settings.bundles)
    gone = ask("GET", f"{path}?explain=true")
    assert (gone.status_code, str(settings.home) in gone.text) == (410, False)
    assert ask("GET", path).status_code == 200


def test_explain_takes_a_truth_alone(ask: Ask) -> None:
    """422 names the parameter."""
    said = ask("GET", "/v1/decisions/none?explain=perhaps")
    assert (said.status_code, said.json()["errors"][0]["pointer"]) == (422, "#/explain")


@pytest.mark.parametrize("given", ["yes", 3])
def test_a_context_of_the_wrong_kind_is_refused(
    settings: Settings, policy_files: dict[str, Any], given: object, request: pytest.FixtureRequest
) -> None:
    """A rule would take its default in its place, and nobody would know; names that rules do not use pass."""
    features = policy_files["features"]["features"]
    features.append({"name": "diary", "kind": "text", "origin": "context", "description": "what they say"})
    features.append({"name": "visits", "kind": "number", "origin": "context", "description": "how often"})
    (settings.home / "policies" / "features.yaml").write_text(yaml.safe_dump(policy_files["features"]))
    body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner"]}
    wrong = "visits" if isinstance(given, str) else "diary"
    ask: Ask = request.getfixturevalue("ask")  # of a replica that starts with these files
    refused = ask("POST", "/v1/decisions", json=body | {"context": {wrong: given}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"#/context/{wrong}")
    passed = ask("POST", "/v1/decisions", json=body | {"context": {"unheard_of": given}})
    assert passed.status_code == 200


def test_a_kind_of_identifier_that_there_is_not_is_refused(ask: Ask) -> None:
    """Its customers would be nobody, one fallback after another; the answer lists what there is."""
    customer = {"kind": "phone", "hmac": "ab" * 32}
    refused = ask("POST", "/v1/decisions", json={"customer": customer, "placements": ["home_banner"]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/customer/kind")
    assert "loyalty_card, email, device" in refused.json()["detail"]
    key = {"targetingKey": f"phone:{customer['hmac']}"}
    flag = ask("POST", "/ofrep/v1/evaluate/flags/home_banner", json={"context": key})
    assert (flag.status_code, flag.json()["errorCode"]) == (400, "INVALID_CONTEXT")
    assert "64 lower-case hexadecimal digits" in flag.json()["errorDetails"]


@pytest.mark.parametrize(("zone", "status"), [("America/Chicago", 200), ("", 200), ("America/Chicgo", 422), (6, 422)])
def test_a_time_zone_that_there_is_not_is_refused(
    settings: Settings, policy_files: dict[str, Any], zone: object, status: int, request: pytest.FixtureRequest
) -> None:
    """Quiet hours would go by another clock than the customer's, and nobody would know; an empty text says nothing."""
    policy_files["features"]["features"].append(
        {"name": "zone", "kind": "text", "origin": "context", "description": "x"}
    )
    policy_files["contact_policy"]["time_zone"] = {"feature": "zone"}
    for name in ("features", "contact_policy"):
        (settings.home / "policies" / f"{name}.yaml").write_text(yaml.safe_dump(policy_files[name]))
    ask: Ask = request.getfixturevalue("ask")  # of a replica that starts with these files
    customer = {"customer_id": "c1"}
    body = {"customer": customer, "placements": ["home_banner"], "context": {"zone": zone}}
    answer = ask("POST", "/v1/decisions", json=body)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert answer.json()["errors"][0]["pointer"] == "#/context/zone"
    flag = {"context": {"targetingKey": "c1", "zone": zone}}
    assert ask("POST", "/ofrep/v1/evaluate/flags/home_banner", json=flag).status_code == {422: 400}.get(status, status)


@pytest.mark.parametrize(
    "part",
    [
        {"context": {f"n{n}": 1 for n in range(101)}},
        {"context": {"n": "x" * 1_001}},
        {"context": {"n": [1]}},
        {"context": {"n" * 101: 1}},
        {"placements": ["home_banner"] * 21},
        {"request_id": "r" * 201},
        {"dedup_with": ["d"] * 21},
        {"budget_ms": 0},
        {"limit": 101},
        {"include": ["everything"]},
        {"unheard_of": 1},
    ],
)
def test_what_is_too_much_is_refused(ask: Ask, part: dict[str, Any]) -> None:
    """Lists, texts, numbers and names have limits: 422."""
    body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner"], **part}
    assert ask("POST", "/v1/decisions", json=body).status_code == 422


def test_a_body_that_is_too_large_is_refused(ask: Ask) -> None:
    """413 before it is read to its end."""
    assert ask("POST", "/v1/decisions", content=b" " * 200_001).status_code == 413
