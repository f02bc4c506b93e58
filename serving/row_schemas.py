"""JSON Schemas (2020-12) of rows as channels send them, made from their contracts.

Belongs here: what the door asks of one row, as far as JSON Schema can say it: nothing of other rows, and nothing of
now. Does not belong here: the rest of the API's description (`serving.openapi`), or the door (`nextbest.intake`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nextbest.casting import ZONED_TIME_SHAPE
from nextbest.contracts import Contract, Field, Rule, RuleKind
from nextbest.intake import RECEIVED_AT
from nextbest.row_check import CONTROL, ID_LENGTH, is_id_column

_JSON_TYPES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "string": {"type": "string"},
        "integer": {"type": "integer", "format": "int64"},
        "number": {"type": "number", "format": "double"},
        "boolean": {"type": "boolean"},
        "timestamp": {"type": "string", "format": "date-time", "pattern": ZONED_TIME_SHAPE},
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
_DEFAULT_OF_SERVER = "source"


def row_name(contract: str) -> str:
    """The name of the schema of a contract's rows."""
    return f"{contract.capitalize()}Row"


def row_schema(contract: Contract, no_customer: str) -> dict[str, Any]:
    """The schema of a row under a contract; what the server sets itself is not in it.

    Args:
        contract: the row's.
        no_customer: the pattern of what names no customer (`nextbest.names`).

    """
    sent = [field for field in contract.fields if field.name != RECEIVED_AT]
    return {
        "title": row_name(contract.name),
        "description": f"{contract.description} Contract {contract.name} {contract.version}.",
        "type": "object",
        "properties": {
            field.name: _field_schema(field, contract.event_time) | _no_id(field, no_customer) for field in sent
        },
        "required": [field.name for field in sent if _is_required(field) and field.name != _DEFAULT_OF_SERVER],
        "additionalProperties": False,
    }


def _no_id(field: Field, no_customer: str) -> dict[str, Any]:
    """What no field that holds an id may be."""
    if not is_id_column(field):
        return {}
    pattern = no_customer if field.name == "customer_id" else CONTROL
    return {"maxLength": ID_LENGTH, "not": {"type": "string", "pattern": pattern}}


def _is_required(field: Field) -> bool:
    return any(rule.kind == "required" for rule in _refusals(field))


def _refusals(field: Field) -> list[Rule]:
    """The rules for which the API refuses a row; one that warns lets it pass."""
    return [rule for rule in field.rules if rule.on_violation != "warn"]


def _field_schema(field: Field, event_time: str | None) -> dict[str, Any]:
    said = (
        f"{field.description} Not more than five minutes later than now."
        if field.name == event_time
        else field.description
    )
    schema: dict[str, Any] = {**_JSON_TYPES[field.type], "description": said}
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
