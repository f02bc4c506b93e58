"""The API describes itself, completely."""

import asyncio
import re
from typing import Any

import msgspec
from starlette.routing import Route

from nextbest.contracts import Contract
from serving import openapi
from serving.schemas import INTAKE


def document(contracts: dict[str, Contract]) -> dict[str, Any]:
    return openapi.document({name: contracts[name] for name in INTAKE})


def test_every_route_is_described(client: Any, contracts: dict[str, Contract]) -> None:
    """A route that is not in the document, or the other way round, fails here."""

    async def served() -> set[tuple[str, str]]:
        async with client() as connected:
            routes: list[Route] = connected._transport.app.routes  # noqa: SLF001  where httpx keeps it
            return {(r.path, m.lower()) for r in routes for m in r.methods or () if m != "HEAD"}

    described = {(path, method) for path, item in document(contracts)["paths"].items() for method in item}
    described = {(path, method) for path, method in described if method != "parameters"}
    assert described | {("/openapi.json", "get")} == asyncio.run(served())


def test_every_reference_leads_somewhere(contracts: dict[str, Contract]) -> None:
    """All schemas referred to are in the document."""
    content = document(contracts)
    references = set(re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(content).decode()))
    assert references <= content["components"]["schemas"].keys()


def test_a_row_is_described_by_its_contract(contracts: dict[str, Contract]) -> None:
    """Fields, enums and what is required come from the contract; what the server sets is not asked for."""
    schemas = document(contracts)["components"]["schemas"]
    row = schemas["EventsRow"]
    assert row["properties"]["type"]["enum"] == list(contracts["events"].field("type").enum or ())
    assert "event_id" in row["required"]
    assert "received_at" not in row["required"]
    assert row["properties"]["action"]["type"] == ["string", "null"]
    assert {"$ref": "#/components/schemas/OutcomesRow"} in schemas["EventRow"]["properties"]["properties"]["anyOf"]
