"""The API describes itself, completely."""

import asyncio
import re
from typing import Any

import msgspec
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
            routes: list[Route] = connected._transport.app.routes  # noqa: SLF001  where httpx keeps it
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
