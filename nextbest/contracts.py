"""What a data contract says: fields, types, keys and rules, independent of the file it was written in.

Belongs here: the model of a contract and its reading from an ODCS v3 mapping. Does not belong here: opening files
(`nextbest.adapters.contract_files`), applying the rules to rows (`nextbest.validation`), comparing two versions
(`nextbest.compatibility`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
import pyarrow as pa

from nextbest.errors import NextbestError

OnViolation = Literal["reject", "stop", "warn"]
RuleKind = Literal[
    "required", "unique", "enum", "minimum", "maximum", "pattern", "min_length", "max_length", "reference"
]
Argument = tuple[str, ...] | str | float | None
Status = Literal["proposed", "draft", "active", "deprecated", "retired"]
_STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_T = TypeVar("_T")

_ARROW_TYPES: Final[Mapping[str, pa.DataType]] = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "VARCHAR[]": pa.list_(pa.string()),
}
# How a rule is spelled in ODCS: in the options of a logical type; in the arguments of the metric invalidValues; or,
# where an option's rule has a behaviour of its own, in a custom quality rule of this engine.
_OPTIONS: Final[Mapping[str, RuleKind]] = {
    "minimum": "minimum",
    "maximum": "maximum",
    "pattern": "pattern",
    "minLength": "min_length",
    "maxLength": "max_length",
}
_NO_RULES: Final = {"timezone", "defaultTimezone"}
_ARGUMENTS: Final[Mapping[str, RuleKind]] = {**_OPTIONS, "validValues": "enum"}
_ENGINE: Final = "nextbest"
_OF_THE_TABLE: Final = {"volume", "drift"}
_VERSION: Final = re.compile(r"(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){2}", re.ASCII)
_UNITS: Final = {"d": 1, "y": 365}


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


class Freshness(msgspec.Struct, frozen=True):
    """How old the newest value of a column may be, or without one the last delivery; beyond, it stops or warns."""

    days: int
    column: str | None = None
    on_violation: OnViolation = "warn"


class Tolerance(msgspec.Struct, frozen=True):
    """How far what was delivered may be from what was delivered before; beyond it the pipeline stops or is warned."""

    limit: float
    on_violation: OnViolation = "warn"


class Fairness(msgspec.Struct, frozen=True):
    """How alike a model must treat the groups of protected fields.

    Of the customers whom it scores highest, the share `selected_share` are taken for selected. A group's selection rate
    must be at least `selection_rate_ratio` of the most favoured group's (0.8 is the four-fifths rule), and what the
    model expects of a group may differ from what came of it by the share `calibration_error` at most.
    """

    selected_share: float
    selection_rate_ratio: float
    calibration_error: float


class Field(msgspec.Struct, frozen=True):
    """A column: `type` is the ODCS logical type, `physical_type` that of the warehouse.

    Models must treat the groups of a `protected` one alike (`Fairness`).
    """

    name: str
    type: str
    physical_type: str
    description: str = ""
    key: bool = False
    classification: str | None = None
    rules: tuple[Rule, ...] = ()
    protected: bool = False

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

    `description` says what it is, `granularity` what a row is, `usage` what for, `limitations` what it is not.
    `min_rows` is the least number of rows a delivery may have; `purposes` are what consent must cover. `volume` bounds
    the share by which a day's rows may differ from the median of the same weekday before, or a snapshot's from the last
    one's; `drift` bounds the population stability index (PSI) of each column against the rows before. `status` tells
    consumers how long to count on it: one that is deprecated or retired may be removed once nobody reads it. `fairness`
    is how alike models must treat the groups of its protected fields.
    """

    name: str
    version: str
    fields: tuple[Field, ...]
    event_time: str | None = None
    description: str = ""
    granularity: str = ""
    usage: str = ""
    limitations: str = ""
    owner: str = ""
    min_rows: int = 0
    purposes: tuple[str, ...] = ()
    retention_days: int | None = None
    freshness: Freshness | None = None
    volume: Tolerance | None = None
    drift: Tolerance | None = None
    status: Status = "active"
    fairness: Fairness | None = None

    @property
    def major(self) -> int:
        """The part of the version that goes up when old rows no longer fit."""
        return int(self.version.partition(".")[0])

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
    def protected(self) -> tuple[str, ...]:
        """The fields whose groups models must treat alike."""
        return tuple(field.name for field in self.fields if field.protected)

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
        fields = tuple(field_from_odcs(name, each) for each in properties)
        quality = table.get("quality") or ()
        return Contract(
            name=name,
            version=semantic_version(str(document["version"])),
            fields=fields,
            event_time=next((each["name"] for each in properties if each.get("partitioned")), None),
            description=document["description"]["purpose"],
            granularity=table.get("dataGranularityDescription") or "",
            usage=document["description"].get("usage") or "",
            limitations=document["description"].get("limitations") or "",
            owner=document["team"]["name"],
            min_rows=_min_rows(name, quality),
            purposes=tuple(_custom(document, "purposes") or ()),
            retention_days=_days(document, "retention"),
            freshness=_freshness(document),
            volume=_tolerance(name, quality, "volume"),
            drift=_tolerance(name, quality, "drift"),
            status=_status(name, document),
            fairness=_fairness(name, document),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(f"contract {name}: cannot be read as ODCS v3 with one schema object: {error!r}") from error


def field_from_odcs(contract: str, document: Mapping[str, Any]) -> Field:
    """The field of one ODCS property.

    Raises:
        ContractError: its type, a rule or a behaviour is unknown.

    """
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
        protected=_one_of(
            f"contract {contract}, field {name}", "protected", _custom(document, "protected") or False, (True, False)
        ),
    )


def _rules(contract: str, document: Mapping[str, Any]) -> Iterator[Rule]:
    place = f"contract {contract}, field {document['name']}"
    own = _on_violation(place, document)
    if document.get("required") or document.get("primaryKey"):
        yield Rule("required", on_violation=own)
    if document.get("unique"):
        yield Rule("unique", on_violation=own)
    options = {k: v for k, v in (document.get("logicalTypeOptions") or {}).items() if k not in _NO_RULES}
    yield from _named(place, _OPTIONS, options, own)
    for quality in document.get("quality") or ():
        on_violation = _on_violation(place, quality)
        if quality.get("metric") == "invalidValues":
            if quality.get("mustBe", 0) != 0:
                raise ContractError(f"{place}: the door lets no invalid value pass: it takes `mustBe: 0`")
            yield from _named(place, _ARGUMENTS, quality.get("arguments") or {}, on_violation)
        elif quality.get("engine") == _ENGINE:
            yield from _named(place, _OPTIONS, quality["implementation"], on_violation)
        else:
            raise ContractError(f"{place}: the door knows no rule {quality.get('metric') or quality.get('type')}")
    for relationship in document.get("relationships") or ():
        yield Rule("reference", relationship["to"], _on_violation(place, relationship))


def _named(
    place: str, known: Mapping[str, RuleKind], found: Mapping[str, Any], on_violation: OnViolation
) -> Iterator[Rule]:
    for name, value in found.items():
        if name not in known:
            raise ContractError(f"{place}: the door knows no rule {name}; it knows {', '.join(known)} here")
        yield Rule(known[name], _argument(value), on_violation)


def _argument(value: Any) -> Argument:
    return tuple(str(each) for each in value) if isinstance(value, list) else value


def _on_violation(place: str, document: Mapping[str, Any]) -> OnViolation:
    """What happens to a row that breaks the rule."""
    return _one_of(place, "onViolation", _custom(document, "onViolation") or "reject", ("reject", "stop", "warn"))


def _of_the_whole(place: str, name: str, document: Mapping[str, Any]) -> OnViolation:
    """What happens when a delivery breaks the rule: there is no row to turn away."""
    return _one_of(place, name, _custom(document, name) or "warn", ("stop", "warn"))


def _status(contract: str, document: Mapping[str, Any]) -> Status:
    return _one_of(f"contract {contract}", "status", document.get("status") or "active", _STATUSES)


def _one_of(place: str, name: str, value: Any, allowed: tuple[_T, ...]) -> _T:
    if value not in allowed:
        raise ContractError(f"{place}: {name} is {value!r}: it takes {', '.join(map(str, allowed))}")
    return allowed[allowed.index(value)]


def _custom(document: Mapping[str, Any], name: str) -> Any:
    return next((each["value"] for each in document.get("customProperties") or () if each["property"] == name), None)


def _min_rows(contract: str, quality: Sequence[Mapping[str, Any]]) -> int:
    least = 0
    for each in quality:
        if each.get("metric") == "rowCount" and "mustBeGreaterThan" in each:
            least = int(each["mustBeGreaterThan"]) + 1
        elif each.get("engine") != _ENGINE or not each["implementation"].keys() <= _OF_THE_TABLE:
            said = each.get("metric") or each.get("implementation") or each.get("type")
            known = f"rowCount with mustBeGreaterThan, and {' and '.join(sorted(_OF_THE_TABLE))} of engine {_ENGINE}"
            raise ContractError(f"contract {contract}: there is no rule {said} of a whole delivery: there is {known}")
    return least


def _tolerance(contract: str, quality: Sequence[Mapping[str, Any]], name: str) -> Tolerance | None:
    for each in quality:
        if each.get("engine") == _ENGINE and name in each["implementation"]:
            place, limit = f"contract {contract}, {name}", float(each["implementation"][name])
            if limit <= 0:
                raise ContractError(f"{place}: the limit is {limit:g}, and nothing is within it: it is above 0")
            return Tolerance(limit, _of_the_whole(place, "onViolation", each))
    return None


def _fairness(contract: str, document: Mapping[str, Any]) -> Fairness | None:
    """The limits, all of which are there: a share that nobody has decided on is no promise."""
    said = _custom(document, "fairness")
    if said is None:
        return None
    names = Fairness.__struct_fields__
    if set(said) != set(names):
        raise ContractError(f"contract {contract}, fairness: it takes {', '.join(names)}, not {', '.join(said)}")
    for name, value in said.items():
        if not isinstance(value, int | float) or not 0 < value <= 1:
            raise ContractError(
                f"contract {contract}, fairness: {name} is {value!r}: it takes a share above 0, up to 1"
            )
    return Fairness(**said)


def _freshness(document: Mapping[str, Any]) -> Freshness | None:
    """The service level, and what becomes of old data: ODCS gives a service level no properties of its own."""
    days = _days(document, "freshness")
    if days is None:
        return None
    properties = document["slaProperties"]
    element = next(each.get("element") or "" for each in properties if each["property"] == "freshness")
    on_violation = _of_the_whole(f"contract {document['name']}, freshness", "onStale", document)
    return Freshness(days, element.partition(".")[2] or None, on_violation)


def _days(document: Mapping[str, Any], name: str) -> int | None:
    for each in document.get("slaProperties") or ():
        if each["property"] == name:
            unit, value = each.get("unit"), int(each["value"])
            if unit not in _UNITS or value <= 0:
                said = f"is {value} {unit}: it takes a number above 0, and d (days) or y (years) for its unit"
                raise ContractError(f"contract {document['name']}: {name} {said}")
            return value * _UNITS[unit]
    return None


def semantic_version(text: str) -> str:
    """The text itself.

    Raises:
        ValueError: it is not MAJOR.MINOR.PATCH.

    """
    if not _VERSION.fullmatch(text):
        raise ValueError(f"version {text!r} is not MAJOR.MINOR.PATCH")
    return text
