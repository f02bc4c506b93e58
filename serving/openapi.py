"""The API's description of itself (OpenAPI 3.1), made from the same types that handle requests.

Belongs here: the document. A row's schema is made from its contract. Does not belong here: the types
(`serving.schemas`), or the routes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

import nextbest
from nextbest.contracts import Contract, Field, Rule, RuleKind
from nextbest.intake import RECEIVED_AT
from nextbest.records import DecisionRecord
from serving.problems import ProblemDetails
from serving.schemas import DecisionRequest, DecisionResponse, EventsRequest, EventsResponse, Readiness

_REFERENCE = "#/components/schemas/{name}"
_TYPES = (DecisionRequest, DecisionResponse, DecisionRecord, EventsRequest, EventsResponse, Readiness, ProblemDetails)
_JSON_TYPES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "string": {"type": "string"},
        "integer": {"type": "integer", "format": "int64"},
        "number": {"type": "number", "format": "double"},
        "boolean": {"type": "boolean"},
        "timestamp": {"type": "string", "format": "date-time"},
        "array": {"type": "array", "items": {"type": "string"}},
    }
)
_KEYWORDS: Mapping[RuleKind, str] = MappingProxyType(
    {
        "enum": "enum",
        "minimum": "minimum",
        "maximum": "maximum",
        "pattern": "pattern",
        "min_length": "minLength",
        "max_length": "maxLength",
    }
)
# JSON Schema bounds numbers alone. These are what its validators with an extension for formats know; others pass on.
_TIME_KEYWORDS: Mapping[str, str] = MappingProxyType({"minimum": "formatMinimum", "maximum": "formatMaximum"})
_SET_BY_SERVER = {RECEIVED_AT, "source"}


def document(intake: Mapping[str, Contract]) -> dict[str, Any]:
    """The OpenAPI document of an API that takes rows under the contracts of `intake`."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REFERENCE)
    schemas |= {_row_name(name): row_schema(contract) for name, contract in intake.items()}
    rows = [{"$ref": _REFERENCE.format(name=_row_name(name))} for name in intake]
    schemas["EventRow"]["properties"]["properties"] = {"anyOf": rows}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nextbest",
            "version": nextbest.__version__,
            "description": "Ask for decisions and say what happened. Errors are problem details (RFC 9457).",
        },
        "paths": _paths(),
        "components": {"schemas": schemas},
    }


def _paths() -> dict[str, Any]:
    return {
        "/v1/decisions": {
            "post": _operation(
                "decide",
                "Decide for one customer",
                "200",
                DecisionResponse,
                ("400", "409", "413", "422"),
                body=DecisionRequest,
            )
        },
        "/v1/decisions/{decision_id}": {
            "parameters": [{"name": "decision_id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": _operation("getDecision", "The record of a decision", "200", DecisionRecord, ("404", "503")),
        },
        "/v1/events": {
            "post": _operation(
                "sendEvents",
                "Say what happened; 202 once what is accepted is durable, 422 when no row is valid",
                "202",
                EventsResponse,
                ("400", "413", "422", "503"),
                body=EventsRequest,
            )
        },
        "/healthz": {"get": {"operationId": "health", "responses": {"200": {"description": "The process answers"}}}},
        "/readyz": {"get": _operation("readiness", "Whether decisions can be complete", "200", Readiness, ())},
    }


def _operation(
    name: str, summary: str, status: str, answer: type, problems: tuple[str, ...], *, body: type | None = None
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            status: {"description": summary, "content": {"application/json": {"schema": _reference(answer)}}},
            **{
                code: {
                    "description": "A problem",
                    "content": {"application/problem+json": {"schema": _reference(ProblemDetails)}},
                }
                for code in problems
            },
        },
    }
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
    return operation


def _reference(type_: type) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=type_.__name__)}


def _row_name(contract: str) -> str:
    return f"{contract.capitalize()}Row"


def row_schema(contract: Contract) -> dict[str, Any]:
    """JSON Schema (2020-12) of a row as a channel sends it under a contract."""
    return {
        "title": _row_name(contract.name),
        "description": f"{contract.description} Contract {contract.name} {contract.version}.",
        "type": "object",
        "properties": {field.name: _field_schema(field) for field in contract.fields},
        "required": [
            field.name for field in contract.fields if _is_required(field) and field.name not in _SET_BY_SERVER
        ],
    }


def _is_required(field: Field) -> bool:
    return any(rule.kind == "required" for rule in _refusals(field))


def _refusals(field: Field) -> list[Rule]:
    """The rules for which the API refuses a row; one that warns lets it pass."""
    return [rule for rule in field.rules if rule.on_violation != "warn"]


def _field_schema(field: Field) -> dict[str, Any]:
    """What the door asks of one field of one row, as far as JSON Schema can say it: nothing of other rows."""
    schema: dict[str, Any] = {**_JSON_TYPES[field.type], "description": field.description}
    nothing = [] if _is_required(field) else [None]
    if nothing:
        schema["type"] = [schema["type"], "null"]
    for rule in _refusals(field):
        if rule.kind in _KEYWORDS:
            keyword = _KEYWORDS[rule.kind]
            argument = [*rule.argument, *nothing] if isinstance(rule.argument, tuple) else rule.argument
            if field.type == "timestamp":
                keyword = _TIME_KEYWORDS.get(keyword, keyword)
            if keyword in schema:
                schema.setdefault("allOf", []).append({keyword: argument})
            else:
                schema[keyword] = argument
    return schema
