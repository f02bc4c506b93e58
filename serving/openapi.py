"""The API's description of itself (OpenAPI 3.1), made from the same types that handle requests.

Belongs here: the document. Does not belong here: the types (`nextbest.wire`), the schemas of rows
(`serving.row_schemas`), what is shown as an example (`serving.examples`), or the routes.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec

import nextbest
from nextbest.contracts import Contract
from nextbest.intake import at_the_door
from nextbest.names import CustomerNames
from nextbest.row_check import ID_LENGTH
from nextbest.segment import MAIL_ADDRESS
from nextbest.segment_wire import MESSAGES, SegmentAlias
from nextbest.wire import INTAKE, ProblemDetails
from serving.examples import Examples
from serving.operations import Link, Operation, Parameter
from serving.row_schemas import row_name, row_schema

_REFERENCE = "#/components/schemas/{name}"
_KEY, _WRITE_KEY = "key", "write_key"
_NULL, _TEXT = {"type": "null"}, {"type": "string"}
_JSON = "application/json"
_DESCRIPTION = """\
Ask for decisions and say what happened. Errors are problem details (RFC 9457).

Besides what each operation lists: 404 for what is at no address, and 405 with `Allow` for a method that an address does
not have. A character that a path cannot hold is percent-encoded as UTF-8, `/` as `%2F`. Query parameters that are not
listed are ignored. Of a name that occurs twice in an object the last one counts. Until a replica can be reached, 500 or
503 comes from what stands before it, and is no problem details."""
_OF_SCOPE = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
_OF_BODY = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
_SECONDS = {"type": "integer", "minimum": 1}
_HEADERS: Mapping[HTTPStatus, tuple[str, dict[str, Any]]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", {"type": "string"}),
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("Accept", {"type": "string"}),
        HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After", _SECONDS),
        HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", _SECONDS),
    }
)


def document(
    operations: Sequence[Operation], contracts: Mapping[str, Contract], examples: Examples | None = None
) -> dict[str, Any]:
    """The OpenAPI document of an API with these operations, that takes rows under these contracts."""
    examples = examples or Examples()
    return {
        "openapi": "3.1.0",
        "info": {"title": "nextbest", "version": nextbest.__version__, "description": _DESCRIPTION},
        "paths": _paths(operations, examples),
        "components": {
            "schemas": _schemas(operations, contracts),
            "securitySchemes": {
                _KEY: {"type": "http", "scheme": "bearer", "description": "`nextbest keys create` makes one."},
                _WRITE_KEY: {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The key as user name, without a password, as clients of Segment's send it.",
                },
            },
        },
    }


def _schemas(operations: Sequence[Operation], contracts: Mapping[str, Contract]) -> dict[str, Any]:
    """Those of the types, and what handling them asks beyond what a type can say."""
    _, schemas = msgspec.json.schema_components(_types(operations), ref_template=_REFERENCE)
    names = CustomerNames(contracts["identities"])
    schemas |= {row_name(name): row_schema(at_the_door(contracts[name]), names.no_name) for name in INTAKE}
    schemas["EventRow"]["oneOf"] = [
        {"properties": {"contract": {"const": name}, "properties": {"$ref": _REFERENCE.format(name=row_name(name))}}}
        for name in INTAKE
    ]
    id_alone = {"not": {"pattern": names.no_id}}
    schemas["CustomerReference"]["oneOf"] = [
        {"required": ["customer_id"], "properties": {"customer_id": _TEXT | id_alone, "kind": _NULL, "hmac": _NULL}},
        {
            "required": ["kind", "hmac"],
            "properties": {"customer_id": _NULL, "kind": {"enum": [*names.kinds]}, "hmac": _TEXT},
        },
    ]
    schemas["FlagRequest"]["required"] = ["context"]
    context = schemas["FlagRequest"]["properties"]["context"]
    key = {"type": "string", "minLength": 1, "maxLength": 200, "anyOf": [id_alone, {"pattern": names.identifier}]}
    context |= {"required": ["targetingKey"], "properties": {"targetingKey": key}}
    del context["default"]
    _describe_messages(schemas, names)
    return schemas


def _describe_messages(schemas: dict[str, Any], names: CustomerNames) -> None:
    """What Segment's messages are beyond their fields: about somebody, and of a type, which alone one need not say."""
    whole, text = {"type": "integer"}, {"type": "string", "minLength": 1}
    user = {"not": {"anyOf": [{"pattern": names.no_id}, {"pattern": MAIL_ADDRESS}]}}
    visitor = {"maxLength": ID_LENGTH, "not": {"pattern": MAIL_ADDRESS}}
    somebody = [
        {"required": ["userId"], "properties": {"userId": {"anyOf": [whole, text | user]}}},
        {
            "required": ["anonymousId"],
            "properties": {"userId": {"enum": ["", None]}, "anonymousId": {"anyOf": [whole, text | visitor]}},
        },
    ]
    for each in MESSAGES:
        schema = schemas[each.__name__]
        schema["required"].remove("type")
        schema["anyOf"] = somebody[:1] if each is SegmentAlias else somebody
    references = [_reference(each) | {"required": ["type"]} for each in MESSAGES]
    schemas["SegmentBatch"]["properties"]["batch"]["items"] = {"oneOf": references}


def _types(operations: Iterable[Operation]) -> list[type]:
    """Every type that a body or an answer has, each once."""
    found = (
        type_
        for each in operations
        for type_ in (each.body, each.problem, *each.answers.values())
        if isinstance(type_, type)
    )
    return list(dict.fromkeys([ProblemDetails, *found]))


def _paths(operations: Iterable[Operation], examples: Examples) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation, examples)
    return paths


def _operation(operation: Operation, examples: Examples) -> dict[str, Any]:
    said = operation.summary if operation.scope is None else f"{operation.summary} (scope `{operation.scope}`)"
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": said,
        "parameters": [_parameter(each, examples) for each in operation.parameters],
        "responses": _answers(operation) | _problems(operation),
    }
    if operation.scope is not None:
        described["security"] = [{_KEY: []}, *([{_WRITE_KEY: []}] if operation.write_key else [])]
    if operation.body:
        content = {"schema": _reference(operation.body), **_shown(examples.bodies.get(operation.body, ()))}
        described["requestBody"] = {"required": operation.is_body_required, "content": {_JSON: content}}
    return described


def _parameter(parameter: Parameter, examples: Examples) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
        **_shown(examples.parameters.get(parameter.name, ())),
    }


def _shown(values: Sequence[Any]) -> dict[str, Any]:
    named = {f"example{number}": {"value": value} for number, value in enumerate(values, start=1)}
    return {"examples": named} if named else {}


def _answers(operation: Operation) -> dict[str, Any]:
    links = {"links": {each.name: _link(each) for each in operation.links}} if operation.links else {}
    return {
        str(int(status)): {
            "description": status.phrase,
            "content": (
                {_JSON: {"schema": _reference(answer)}} if isinstance(answer, type) else {each: {} for each in answer}
            ),
            **(links if status < HTTPStatus.MULTIPLE_CHOICES else {}),
        }
        for status, answer in operation.answers.items()
    }


def _link(link: Link) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": link.to, "description": link.description}
    if link.parameters:
        described["parameters"] = dict(link.parameters)
    if link.body is not None:
        described["requestBody"] = link.body
    return described


def _problems(operation: Operation) -> dict[str, Any]:
    """Those it names, those that follow from a scope and a body, and what a defect of ours comes to."""
    statuses = {*operation.problems, HTTPStatus.INTERNAL_SERVER_ERROR}
    statuses |= _OF_SCOPE if operation.scope else set()
    statuses |= {*_OF_BODY, operation.invalid} if operation.body else set()
    content = {operation.problem_media_type: {"schema": _reference(operation.problem)}}
    return {
        str(int(status)): {"description": status.phrase, "content": content, **_headers(status)}
        for status in sorted(statuses - {*operation.answers})
    }


def _headers(status: HTTPStatus) -> dict[str, Any]:
    if status not in _HEADERS:
        return {}
    name, schema = _HEADERS[status]
    return {"headers": {name: {"required": True, "schema": schema}}}


def _reference(type_: type) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=type_.__name__)}
