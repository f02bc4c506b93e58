"""The API describes itself, completely."""

import asyncio
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from starlette.routing import Route

from nextbest.contracts import Contract


def document(client: Any) -> dict[str, Any]:
    async def described() -> dict[str, Any]:
        async with client() as connected:
            content: dict[str, Any] = (await connected.get("/openapi.json")).json()
            return content

    return asyncio.run(described())


def test_every_route_is_described(client: Any) -> None:
    """A route that is not in the document, or the other way round, fails here."""

    async def served() -> set[tuple[str, str]]:
        async with client() as connected:
            routes: list[Route] = connected._transport.app.routed.routes  # noqa: SLF001  where httpx keeps it
            return {(r.path, m.lower()) for r in routes for m in r.methods or () if m != "HEAD"}

    assert {(path, m) for path, item in document(client)["paths"].items() for m in item} == asyncio.run(served())


def test_every_reference_leads_somewhere(client: Any) -> None:
    """All schemas referred to are in the document."""
    content = document(client)
    references = set(re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(content).decode()))
    assert references <= content["components"]["schemas"].keys()


def test_a_row_is_described_by_its_contract(client: Any, contracts: dict[str, Contract]) -> None:
    """Fields, enums and what is required come from the contract; what the server sets is not asked for."""
    schemas = document(client)["components"]["schemas"]
    row = schemas["EventsRow"]
    assert row["properties"]["type"]["enum"] == list(contracts["events"].field("type").enum or ())
    assert "event_id" in row["required"]
    assert "received_at" not in row["required"]
    assert row["properties"]["action"]["type"] == ["string", "null"]
    assert {
        "properties": {
            "contract": {"const": "outcomes"},
            "properties": {"$ref": "#/components/schemas/OutcomesRow"},
        }
    } in schemas["EventRow"]["oneOf"]


def test_each_operation_lists_the_statuses_it_can_have(client: Any) -> None:
    """A decision is never unavailable, an invalid flag is a bad request, and only a body can be of a wrong type."""
    statuses = {
        each["operationId"]: {int(status) for status in each["responses"]}
        for path in document(client)["paths"].values()
        for each in path.values()
    }
    of_scope, of_body = {401, 403, 429, 500}, {400, 413, 415}
    assert statuses["decide"] == {200, 409, 422, *of_scope, *of_body}
    assert statuses["evaluateFlag"] == {200, 404, *of_scope, *of_body}
    assert statuses["sendEvents"] == {202, 409, 422, 503, *of_scope, *of_body}
    assert statuses["getDecision"] == {200, 404, 410, 422, 503, *of_scope}
    assert statuses["getConsents"] == {200, 422, 503, *of_scope}
    assert statuses["pauseAction"] == {200, 404, 422, 503, *of_scope, *of_body}
    assert statuses["metrics"] == {200, *of_scope}
    assert statuses["health"] == {200, 500}


def test_an_answer_that_says_when_to_ask_again_is_described_so(client: Any) -> None:
    """Headers that always come are required in the description."""
    answers = document(client)["paths"]["/v1/events"]["post"]["responses"]
    headers = {status: [*answer["headers"]] for status, answer in answers.items() if "headers" in answer}
    assert headers == {"401": ["WWW-Authenticate"], "415": ["Accept"], "429": ["Retry-After"], "503": ["Retry-After"]}
    assert all(header["required"] for status in headers for header in answers[status]["headers"].values())


def test_links_say_what_may_be_asked_next(client: Any) -> None:
    """They are declared beside the operation whose answer they are about."""
    links = document(client)["paths"]["/v1/decisions"]["post"]["responses"]["200"]["links"]
    assert links["record"]["operationId"] == "getDecision"
    assert links["record"]["parameters"] == {"decision_id": "$response.body#/decision_id"}
    assert links["impression"]["requestBody"]["events"][0]["properties"]["type"] == "impression"


def test_the_policy_gives_the_examples(client: Any) -> None:
    """What a reader tries first works: the names are those of the policy in force."""
    paths = document(client)["paths"]
    body = paths["/v1/decisions"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["example1"]["value"]["placements"] == ["home_banner"]
    [parameter] = paths["/v1/actions/{action}/pause"]["post"]["parameters"]
    assert [each["value"] for each in parameter["examples"].values()] == ["beef", "milk"]


@pytest.mark.parametrize(
    ("customer", "is_valid"),
    [
        ({"customer_id": "c1"}, True),
        ({"kind": "email", "hmac": "ab" * 32}, True),
        ({"customer_id": "c1", "kind": None}, True),
        ({"kind": "phone", "hmac": "ab" * 32}, False),
        ({"kind": None, "hmac": "ab" * 32}, False),
        ({"customer_id": None}, False),
        ({"customer_id": "c1", "kind": "email", "hmac": "ab" * 32}, False),
    ],
)
def test_a_customer_is_named_in_one_way(ask: Any, customer: dict[str, Any], is_valid: bool) -> None:  # noqa: FBT001
    """By the description as by the API: null names nobody."""
    content = ask("GET", "/openapi.json").json()
    schema = {"$ref": "#/components/schemas/CustomerReference", "components": content["components"]}
    assert jsonschema.Draft202012Validator(schema).is_valid(customer) == is_valid
    answer = ask("POST", "/v1/decisions", json={"customer": customer, "placements": ["home_banner"]})
    assert answer.status_code == (200 if is_valid else 422)


@pytest.mark.parametrize(
    ("key", "is_valid"),
    [
        ("c1", True),
        ("email:" + "ab" * 32, True),
        (":c1", True),
        ("crm:439", True),
        ("crm:", True),
        ("", False),
        ("email:", False),
        ("email:" + "ab" * 31, False),
        ("phone:" + "ab" * 32, False),
        ("a:b:" + "ab" * 32, False),
        ("c" * 201, False),
        ("k" * 101 + ":" + "ab" * 32, False),
        (None, False),
    ],
)
def test_a_targeting_key_is_described_as_it_is_read(ask: Any, key: str | None, is_valid: bool) -> None:  # noqa: FBT001
    """A customer id, or kind and hash of an identifier."""
    content = ask("GET", "/openapi.json").json()
    schema = {"$ref": "#/components/schemas/FlagRequest", "components": content["components"]}
    body = {"context": {"targetingKey": key}}
    assert jsonschema.Draft202012Validator(schema).is_valid(body) == is_valid
    assert ask("POST", "/ofrep/v1/evaluate/flags/home_banner", json=body).status_code == (200 if is_valid else 400)
