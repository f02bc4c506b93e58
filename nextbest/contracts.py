"""What a data contract says: fields, types, keys and rules, independent of the file it was written in.

Belongs here: the model of a contract and its reading from an ODCS v3 mapping. Does not belong here: opening files
(`nextbest.adapters.contract_files`), applying the rules to rows (`nextbest.validation`), comparing two versions
(`nextbest.compatibility`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa

from nextbest.errors import NextbestError

OnViolation = Literal["reject", "stop", "warn"]
RuleKind = Literal["required", "enum", "minimum", "maximum", "pattern", "min_length", "reference"]
Argument = tuple[str, ...] | str | float | None

_ARROW_TYPES: Final[Mapping[str, pa.DataType]] = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "VARCHAR[]": pa.list_(pa.string()),
}
# How a rule is spelled in ODCS: in the options of a logical type, or in the arguments of the metric invalidValues.
_OPTIONS: Final[Mapping[str, RuleKind]] = {
    "minimum": "minimum",
    "maximum": "maximum",
    "pattern": "pattern",
    "minLength": "min_length",
}
_ARGUMENTS: Final[Mapping[str, RuleKind]] = {**_OPTIONS, "validValues": "enum"}


class ContractError(NextbestError):
    """A contract says something that cannot be enforced; the message names contract and field."""


class Rule(msgspec.Struct, frozen=True):
    """One promise about one field.

    `reject` quarantines the row, `stop` lands nothing of the batch, `warn` lands the row and counts it. The argument
    is the values of an enum, the bound, the regular expression, or the "contract.field" that is referred to.
    """

    kind: RuleKind
    argument: Argument = None
    on_violation: OnViolation = "reject"


class Field(msgspec.Struct, frozen=True):
    """A column: `type` is the ODCS logical type, `physical_type` that of the warehouse."""

    name: str
    type: str
    physical_type: str
    description: str = ""
    key: bool = False
    classification: str | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def arrow_type(self) -> pa.DataType:
        return _ARROW_TYPES[self.physical_type]

    @property
    def required(self) -> bool:
        return self.rule("required") is not None

    @property
    def is_pii(self) -> bool:
        return self.classification == "pii"

    @property
    def enum(self) -> tuple[str, ...] | None:
        rule = self.rule("enum")
        return rule.argument if rule and isinstance(rule.argument, tuple) else None

    @property
    def reference(self) -> str | None:
        """The "contract.field" this one refers to."""
        rule = self.rule("reference")
        return rule.argument if rule and isinstance(rule.argument, str) else None

    def rule(self, kind: RuleKind) -> Rule | None:
        """The field's first rule of a kind."""
        return next((rule for rule in self.rules if rule.kind == kind), None)


class Contract(msgspec.Struct, frozen=True):
    """One dataset in or out. A snapshot is replaced as a whole; events have a time and are kept by day.

    `min_rows` is the least number of rows a delivery may have; `purposes` are what consent must cover.
    """

    name: str
    version: str
    fields: tuple[Field, ...]
    event_time: str | None = None
    description: str = ""
    owner: str = ""
    min_rows: int = 0
    purposes: tuple[str, ...] = ()
    retention_days: int | None = None
    freshness_days: int | None = None

    @property
    def kind(self) -> Literal["snapshot", "events"]:
        return "events" if self.event_time else "snapshot"

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if field.key)

    @property
    def holds_pii(self) -> bool:
        """Whether any field identifies a person: then none of a row's values is shown to whoever looks at checks."""
        return any(field.is_pii for field in self.fields)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the contract's rows."""
        return pa.schema([(field.name, field.arrow_type) for field in self.fields])

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    def rules(self) -> Iterator[tuple[Field, Rule]]:
        """Every rule with its field, in the order of the contract."""
        return ((field, rule) for field in self.fields for rule in field.rules)


def contract_from_odcs(document: Mapping[str, Any]) -> Contract:
    """The contract of an ODCS v3 document with one schema object.

    Raises:
        ContractError: it is not versioned, has no single schema object, or uses a type or behaviour that is unknown.

    """
    name = str(document.get("name") or "?")
    try:
        (table,) = document["schema"]
        properties = table["properties"]
        fields = tuple(_field(name, each) for each in properties)
        return Contract(
            name=name,
            version=_semantic_version(str(document["version"])),
            fields=fields,
            event_time=next((each["name"] for each in properties if each.get("partitioned")), None),
            description=document["description"]["purpose"],
            owner=document["team"]["name"],
            min_rows=_min_rows(table.get("quality") or ()),
            purposes=tuple(_custom(document, "purposes") or ()),
            retention_days=_days(document, "retention"),
            freshness_days=_days(document, "freshness"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(f"contract {name}: cannot be read as ODCS v3 with one schema object: {error!r}") from error


def _field(contract: str, document: Mapping[str, Any]) -> Field:
    name, physical_type = document["name"], document["physicalType"]
    if physical_type not in _ARROW_TYPES:
        raise ContractError(
            f"contract {contract}, field {name}: physicalType {physical_type} is none of {', '.join(_ARROW_TYPES)}"
        )
    return Field(
        name=name,
        type=document["logicalType"],
        physical_type=physical_type,
        description=document.get("description") or "",
        key=bool(document.get("primaryKey")),
        classification=document.get("classification"),
        rules=tuple(_rules(contract, document)),
    )


def _rules(contract: str, document: Mapping[str, Any]) -> Iterator[Rule]:
    place = f"contract {contract}, field {document['name']}"
    own = _on_violation(place, document)
    if document.get("required") or document.get("primaryKey"):
        yield Rule("required", on_violation=own)
    for option, value in (document.get("logicalTypeOptions") or {}).items():
        if option in _OPTIONS:
            yield Rule(_OPTIONS[option], value, own)
    for quality in document.get("quality") or ():
        for argument, value in (quality.get("arguments") or {}).items():
            if quality.get("metric") != "invalidValues" or argument not in _ARGUMENTS:
                raise ContractError(f"{place}: the door knows no rule {quality.get('metric')} {argument}")
            yield Rule(_ARGUMENTS[argument], _argument(value), _on_violation(place, quality))
    for relationship in document.get("relationships") or ():
        yield Rule("reference", relationship["to"], _on_violation(place, relationship))


def _argument(value: Any) -> Argument:
    return tuple(str(each) for each in value) if isinstance(value, list) else value


def _on_violation(place: str, document: Mapping[str, Any]) -> OnViolation:
    value = _custom(document, "onViolation") or "reject"
    try:
        return msgspec.convert(value, OnViolation)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise ContractError(f"{place}: onViolation is {value!r}: it takes reject, stop or warn") from error


def _custom(document: Mapping[str, Any], name: str) -> Any:
    return next((each["value"] for each in document.get("customProperties") or () if each["property"] == name), None)


def _min_rows(quality: Sequence[Mapping[str, Any]]) -> int:
    return next((int(each["mustBeGreaterThan"]) + 1 for each in quality if each["metric"] == "rowCount"), 0)


def _days(document: Mapping[str, Any], name: str) -> int | None:
    days = {"d": 1, "y": 365}
    properties = document.get("slaProperties") or ()
    return next((int(each["value"]) * days[each["unit"]] for each in properties if each["property"] == name), None)


def _semantic_version(text: str) -> str:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):  # noqa: PLR2004  major, minor, patch
        raise ValueError(f"version {text!r} is not MAJOR.MINOR.PATCH")
    return text
