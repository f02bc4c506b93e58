"""What dbt is told of the contracts: its sources, and the YAML beside each staging model.

Belongs here: from contracts to the text of both. Does not belong here: which files there are
(`orchestration.generation`), or what a model selects (`dbt_project/models/staging/`, by hand).

The tests of a source are for `dbt test --select source:*`: the door and Great Expectations have tested the same rows
already, so the pipeline does not run them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import yaml

from nextbest.contracts import Argument, Contract, Field, Rule

Yaml = dict[str, Any]

SOURCE: Final = "landing"
_LOCATION: Final = (
    "read_parquet('{{ env_var('NEXTBEST_LANDING', '../.nextbest/landing') }}/{name}/batch=*/**/*.parquet',"
    " union_by_name = true, hive_partitioning = false, filename = true)"
)
_MACRO: Final = re.compile(r"\{\{\s*(?P<macro>\w+)\('(?P<field>\w+)'\)\s*\}\} as (?P<column>\w+)")
"""How a staging model makes a column that is no field as it landed: by one of the macros below, of one field."""
_MADE: Final[Mapping[str, tuple[str, str]]] = {
    "money": ("decimal(18,4)", ""),
    "slug": ("varchar", "Id made of `{field}`."),
}
"""Type and description of what a macro makes; without a description it is the field's own."""
_CONDITIONS: Final[Mapping[str, str]] = {
    "minimum": "{column} >= {argument}",
    "maximum": "{column} <= {argument}",
    "pattern": "regexp_matches({column}, {argument})",
    "min_length": "length({column}) >= {argument}",
    "max_length": "length({column}) <= {argument}",
}
"""What holds of a column that keeps a rule, in SQL."""


_BATCH: Final = "regexp_extract(filename, 'batch=[^/]*')"
"""What is unique is so within a delivery: a later one may say a row anew."""


def sources(contracts: Mapping[str, Contract]) -> str:
    """The YAML of the landing: every contract a table, every field a column, every rule a test."""
    landing = {
        "name": SOURCE,
        "description": "Parquet that passed the door, one folder per contract.",
        "config": {"meta": {"external_location": _LOCATION}},
        "tables": [_table(contract) for _, contract in sorted(contracts.items())],
    }
    return _text({"sources": [landing]})


def staging(contract: Contract, sql: str, staged: Collection[str]) -> str:
    """The YAML of the staging model of a contract.

    Args:
        contract: whose fields are the model's columns.
        sql: the model, for what its macros make of fields.
        staged: names of all contracts that have a staging model, which a reference can be tested against.

    """
    name, key = f"stg_{contract.name}", list(contract.key)
    filled = [field.name for field in contract.fields if field.required]
    model = {
        "name": name,
        "description": _description(contract),
        "config": {"contract": {"enforced": True}},
        "data_tests": [
            _test(
                "keeps_every_key",
                name=f"{name}_keeps_every_key",
                arguments={"landed": _source(contract.name), "columns": key},
            ),
            _test("unique_key", name=f"{name}_has_a_unique_key", arguments={"columns": key}),
            _test("no_nulls", name=f"{name}_has_no_nulls", arguments={"columns": filled}),
        ],
        "columns": list(_staged(contract, sql, staged)),
    }
    return _text({"models": [model]})


def _staged(contract: Contract, sql: str, staged: Collection[str]) -> Iterator[Yaml]:
    """The fields in the order of the contract, then the columns that the model adds."""
    fields = {field.name: field for field in contract.fields}
    made = {
        found["column"]: (fields[found["field"]], *_MADE[found["macro"]])
        for found in _MACRO.finditer(sql)
        if found["macro"] in _MADE and found["field"] in fields
    }
    for name in dict.fromkeys([*fields, *made]):
        field, data_type, described = made.get(name) or (fields[name], fields[name].physical_type.lower(), "")
        description = described.format(field=field.name) or field.description
        tests = [
            _relationship(rule, "ref('stg_{}')", _severity(rule))
            for rule in field.rules
            if name in fields and rule.kind == "reference" and str(rule.argument).partition(".")[0] in staged
        ]
        yield _column(name, description, data_type, field, tests)


def _table(contract: Contract) -> Yaml:
    unique = _test(
        "unique_key",
        name=f"{SOURCE}_{contract.name}_unique_key",
        arguments={"columns": [_BATCH, *contract.key]},
    )
    return {
        "name": contract.name,
        "description": _description(contract),
        "config": {"meta": {"owner": contract.owner, "contract_version": contract.version}},
        "data_tests": [unique],
        "columns": [
            _column(
                field.name,
                field.description,
                field.physical_type.lower(),
                field,
                [_rule_test(contract.name, field, number) for number in range(len(field.rules))],
            )
            for field in contract.fields
        ],
    }


def _rule_test(contract: str, field: Field, number: int) -> Yaml:
    """The test of one rule on the rows that landed; where the row landed nevertheless, a failure is a warning."""
    rule = field.rules[number]
    repeated = sum(each.kind == rule.kind for each in field.rules[:number])
    named = {"name": f"{SOURCE}_{contract}_{field.name}_{rule.kind}{f'_{repeated + 1}' if repeated else ''}"}
    severity = _severity(rule)
    if rule.kind == "required":
        return _test("not_null", **named, **severity)
    if rule.kind == "enum":
        return _test("accepted_values", **named, arguments={"values": _words(rule.argument)}, **severity)
    if rule.kind == "reference":
        return _relationship(rule, f"source('{SOURCE}', '{{}}')", named | severity)
    if rule.kind == "unique":
        where = {"where": f"{field.name} is not null", **severity.get("config", {})}
        return _test("unique_key", **named, arguments={"columns": [_BATCH, field.name]}, config=where)
    condition = _CONDITIONS[rule.kind].format(column=field.name, argument=_literal(rule.argument))
    return _test("holds", **named, arguments={"condition": condition}, **severity)


def _words(argument: Argument) -> list[str]:
    return list(argument) if isinstance(argument, tuple) else [str(argument)]


def _relationship(rule: Rule, relation: str, options: Yaml) -> Yaml:
    contract, _, field = str(rule.argument).partition(".")
    return _test("relationships", arguments={"to": relation.format(contract), "field": field}, **options)


def _test(kind: str, **options: Any) -> Yaml:
    order = ("name", "arguments", "config")
    return {kind: {key: options[key] for key in order if key in options}}


def _severity(rule: Rule) -> Yaml:
    return {"config": {"severity": "warn"}} if rule.on_violation == "warn" else {}


def _source(contract: str) -> str:
    return f"source('{SOURCE}', '{contract}')"


def _description(contract: Contract) -> str:
    return f"{contract.granularity} {contract.description}".strip()


def _column(name: str, description: str, data_type: str, field: Field, tests: list[Yaml]) -> Yaml:
    column: Yaml = {"name": name, "description": description, "data_type": data_type}
    if field.classification:
        column["config"] = {"meta": {"classification": field.classification}}
    if tests:
        column["data_tests"] = tests
    return column


def _literal(value: object) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


class _Dumper(yaml.SafeDumper):
    """As the YAML of the marts is written: items indented, a list of words on one line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  PyYAML's
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  PyYAML's
        return True


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    is_flat = not any(isinstance(each, dict) for each in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=is_flat)


_Dumper.add_representer(list, _list)


def _text(document: Yaml) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
