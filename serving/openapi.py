"""The API's description of itself (OpenAPI 3.1), made from the same types that handle requests.

Belongs here: the document. A row's schema is made from its contract. Does not belong here: the types
(`nextbest.wire`), or the routes.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec

import nextbest
from nextbest.contracts import Contract, Field, Rule, RuleKind
from nextbest.intake import RECEIVED_AT
from nextbest.wire import ProblemDetails
from serving.operations import Operation, Parameter

_REFERENCE = "#/components/schemas/{name}"
_KEY = "key"
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
_NULL = {"type": "null"}
_DESCRIPTION = "Ask for decisions and say what happened. Errors are problem details (RFC 9457)."
_OF_SCOPE = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
_OF_BODY = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
    HTTPStatus.TOO_MANY_REQUESTS: "Retry-After",
    HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
}
_SET_BY_SERVER = {RECEIVED_AT, "source"}


def document(operations: Sequence[Operation], intake: Mapping[str, Contract]) -> dict[str, Any]:
    """The OpenAPI document of an API with these operations, that takes rows under the contracts of `intake`."""
    _, schemas = msgspec.json.schema_components(_types(operations), ref_template=_REFERENCE)
    schemas |= {_row_name(name): row_schema(contract) for name, contract in intake.items()}
    rows = [{"$ref": _REFERENCE.format(name=_row_name(name))} for name in intake]
    schemas["EventRow"]["properties"]["properties"] = {"anyOf": rows}
    schemas["CustomerReference"]["oneOf"] = [
        {"required": ["customer_id"], "properties": {"kind": _NULL, "hmac": _NULL}},
        {"required": ["kind", "hmac"], "properties": {"customer_id": _NULL}},
    ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "nextbest", "version": nextbest.__version__, "description": _DESCRIPTION},
        "paths": _paths(operations),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                _KEY: {"type": "http", "scheme": "bearer", "description": "`nextbest keys create` makes one."}
            },
        },
    }


def _types(operations: Iterable[Operation]) -> list[type]:
    """Every type that a body or an answer has, each once."""
    found = (
        type_
        for each in operations
        for type_ in (each.body, each.problem, *each.answers.values())
        if isinstance(type_, type)
    )
    return list(dict.fromkeys([ProblemDetails, *found]))


def _paths(operations: Iterable[Operation]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation)
    return paths


def _operation(operation: Operation) -> dict[str, Any]:
    said = operation.summary if operation.scope is None else f"{operation.summary} (scope `{operation.scope}`)"
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": said,
        "parameters": [_parameter(each) for each in operation.parameters],
        "responses": _answers(operation) | _problems(operation),
    }
    if operation.scope is not None:
        described["security"] = [{_KEY: []}]
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(operation.body)}},
        }
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _answers(operation: Operation) -> dict[str, Any]:
    return {
        str(int(status)): {
            "description": status.phrase,
            "content": {"application/json": {"schema": _reference(type_)}} if isinstance(type_, type) else {type_: {}},
        }
        for status, type_ in operation.answers.items()
    }


def _problems(operation: Operation) -> dict[str, Any]:
    """Those it names, those that follow from a scope and a body, and what any request may meet."""
    statuses = {*operation.problems, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE}
    statuses |= _OF_SCOPE if operation.scope else set()
    statuses |= _OF_BODY if operation.body else set()
    content = {operation.problem_media_type: {"schema": _reference(operation.problem)}}
    return {
        str(int(status)): {"description": status.phrase, "content": content, **_headers(status)}
        for status in sorted(statuses - {*operation.answers})
    }


def _headers(status: HTTPStatus) -> dict[str, Any]:
    header = _HEADERS.get(status)
    return {"headers": {header: {"schema": {"type": "string"}}}} if header else {}


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
