"""What must hold in the contracts as they are: every mistake found at once, each with its place.

Belongs here: what the standard cannot say of one contract, and what must hold between contracts. Does not belong here:
the standard's own JSON schema, files and lines (`nextbest.adapters.contract_review`), or a comparison with an earlier
version (`nextbest.compatibility`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from nextbest.contracts import Contract, ContractError, Field, contract_from_odcs, field_from_odcs, semantic_version
from nextbest.findings import Place, Problem

Document = Mapping[str, Any]

_IDENTITIES: Final = "identities"
"""The only contract that may hold what identifies a person: erasing a customer begins there."""
_FIELDS: Final[Place] = ("schema", 0, "properties")


class _Parsed(msgspec.Struct, frozen=True):
    """A contract as far as it can be understood; `fields` by their position in its document."""

    name: str
    fields: Mapping[int, Field]
    contract: Contract | None
    problems: list[Problem]

    def place(self, index: int) -> Place:
        return (self.name, *_FIELDS, index)


def check(documents: Mapping[str, Document]) -> list[Problem]:
    """Every problem of the contracts, given as ODCS documents by their names; none means that the door takes them."""
    contracts = {name: _parse(name, document) for name, document in documents.items()}
    types = {name: {f.name: f.physical_type for f in each.fields.values()} for name, each in contracts.items()}
    found: list[Problem] = []
    for name, contract in contracts.items():
        said = list(_unsaid(name, documents[name]))
        # What is unsaid makes a contract unreadable: saying that too would be saying it twice.
        found += said or contract.problems[:]
        found += [problem for problem in contract.problems if said and problem.rule == "rule-unknown"]
        found += [*_fields(contract), *_references(contract, types)]
        if contract.contract:
            found += _whole(contract.contract)
    return found


def _parse(name: str, document: Document) -> _Parsed:
    """Read field by field, so that one mistake does not hide the others."""
    fields: dict[int, Field] = {}
    problems: list[Problem] = []
    properties = _properties(document)
    for index, each in enumerate(properties):
        try:
            fields[index] = field_from_odcs(name, each)
        except ContractError as error:
            problems.append(Problem((name, *_FIELDS, index), str(error), "rule-unknown"))
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(Problem((name, *_FIELDS, index), f"is no field: {error!r}", "contract-unreadable"))
    contract = None
    if properties:
        table = {**document["schema"][0], "properties": [properties[index] for index in fields]}
        try:
            contract = contract_from_odcs({**document, "schema": [table]})
        except ContractError as error:
            problems.append(Problem((name,), str(error), "contract-unreadable"))
    return _Parsed(name, fields, contract, problems)


def _properties(document: Document) -> list[Any]:
    try:
        (table,) = document["schema"]
        properties = table["properties"]
    except (KeyError, TypeError, ValueError):
        return []
    return properties if isinstance(properties, list) else []


def _unsaid(name: str, document: Document) -> Iterator[Problem]:
    """What whoever works with the data must know, and the standard leaves open."""
    levels, custom = _named(document.get("slaProperties")), _named(document.get("customProperties"))
    for key, rule, value, what in (
        ("description", "no-description", _at(document, "description", "purpose"), "what it is for (purpose)"),
        ("team", "no-owner", _at(document, "team", "name"), "who answers for it (name)"),
        ("slaProperties", "no-freshness", levels.get("freshness"), "how old its data may be (freshness)"),
        ("slaProperties", "no-retention", levels.get("retention"), "how long its data is kept (retention)"),
        ("customProperties", "no-purpose", custom.get("purposes"), "what its data may be used for (purposes)"),
        ("schema", "no-schema", _properties(document), "what a row is (one object with properties)"),
    ):
        if not value:
            yield Problem((name, key), f"`{key}` does not say {what}", rule)
    try:
        semantic_version(str(document.get("version")))
    except ValueError as error:
        yield Problem((name, "version"), str(error), "version-form")


def _at(document: Document, key: str, below: str) -> Any:
    part = document.get(key)
    return part.get(below) if isinstance(part, Mapping) else None


def _named(properties: Any) -> dict[Any, Any]:
    """The values of a list of {property, value}, whatever else may be in it."""
    items = properties if isinstance(properties, list) else []
    return {each.get("property"): each.get("value") for each in items if isinstance(each, Mapping)}


def _fields(parsed: _Parsed) -> Iterator[Problem]:
    names = Counter(field.name.lower() for field in parsed.fields.values())
    for index, field in parsed.fields.items():
        place = parsed.place(index)
        if (times := names[field.name.lower()]) > 1:
            said = f"the field {field.name} is there {times} times (capitals make no difference)"
            yield Problem(place, said, "field-repeated")
        if not field.description:
            yield Problem(place, f"the field {field.name} has no description", "no-description")
        if field.is_pii and parsed.name != _IDENTITIES:
            message = (
                f"the field {field.name} is classified pii: what identifies a person belongs in {_IDENTITIES} alone"
            )
            yield Problem((*place, "classification"), message, "pii-outside-identities")
        for message in _impossible(field):
            yield Problem(place, f"the field {field.name} {message}", "rule-impossible")


def _impossible(field: Field) -> Iterator[str]:
    """Rules that no value can keep, or that are no rule."""
    for low, high in (("minimum", "maximum"), ("min_length", "max_length")):
        least = [rule.argument for rule in field.rules if rule.kind == low]
        most = [rule.argument for rule in field.rules if rule.kind == high]
        for a, b in ((a, b) for a in least for b in most):
            if isinstance(a, int | float) and isinstance(b, int | float) and a > b:
                yield f"must be at least {a} and at most {b}"
    for rule in field.rules:
        if rule.kind == "enum" and not (isinstance(rule.argument, tuple) and rule.argument):
            yield "has an enum without values"
        if rule.kind == "pattern":
            try:
                re.compile(str(rule.argument))
            except re.error as error:
                yield f"has a pattern that is no regular expression: {error}"


def _references(parsed: _Parsed, types: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    for index, field in parsed.fields.items():
        for rule in field.rules:
            if rule.kind == "reference" and (message := _astray(field, str(rule.argument), types)):
                yield Problem((*parsed.place(index), "relationships"), message, "reference-unknown")


def _astray(field: Field, target: str, types: Mapping[str, Mapping[str, str]]) -> str:
    contract, _, column = target.partition(".")
    if contract not in types:
        return f"{field.name} refers to {target}: there is no contract {contract}, but {_listed(types)}"
    if column not in types[contract]:
        return f"{field.name} refers to {target}: {contract} has no field {column}, but {_listed(types[contract])}"
    if types[contract][column] != field.physical_type:
        return f"{field.name} is {field.physical_type}, and {target}, which it refers to, {types[contract][column]}"
    return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _whole(contract: Contract) -> Iterator[Problem]:
    schema = (contract.name, "schema")
    fields = {field.name: field for field in contract.fields}
    if not contract.key:
        yield Problem(schema, "no field is its `primaryKey`: a row that comes again could not be told", "no-key")
    if contract.event_time:
        time = fields[contract.event_time]
        index = [field.name for field in contract.fields].index(time.name)
        if not time.required:
            message = f"{time.name} is the event time (`partitioned`) and must be `required`: every row has its day"
            yield Problem((contract.name, *_FIELDS, index), message, "event-time-not-required")
        if time.physical_type != "TIMESTAMPTZ":
            message = f"{time.name} is the event time (`partitioned`) and must be TIMESTAMPTZ, not {time.physical_type}"
            yield Problem((contract.name, *_FIELDS, index), message, "event-time-type")
    if contract.freshness and contract.freshness.column not in {None, *fields}:
        message = f"freshness is of {contract.freshness.column}, which is no field: there is {_listed(fields)}"
        yield Problem((contract.name, "slaProperties"), message, "freshness-of-no-field")
