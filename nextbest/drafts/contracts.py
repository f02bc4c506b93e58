"""The draft of a contract: an imported table as ODCS v3, every guess marked `review` with what it rests on.

Belongs here: the text of an imported table's contract, and the currency of nextbest's own. Does not belong here: the
guesses (`nextbest.guessing`).
"""

from collections.abc import Iterator
from typing import Final

from nextbest.guessing import Guess, Guesses

_LOGICAL_TYPES: Final = {
    "BOOLEAN": "boolean",
    "BIGINT": "integer",
    "DOUBLE": "number",
    "TIMESTAMPTZ": "timestamp",
    "VARCHAR": "string",
    "VARCHAR[]": "array",
}
_CURRENCIES: Final = "validValues: [USD]"

_HEAD: Final = """\
# {name}, as delivered: written by `nextbest init` from {rows:,} rows of {origin}.
# Every guess is marked `review`, with what it rests on. A key and a type turn a row away; any other guess only warns:
# remove its `onViolation` to make it bind. Each delivery replaces the last one; where deliveries add up, write
# `partitioned: true` and `partitionKeyPosition: 1` to the time of a row, which must be of type timestamp.
apiVersion: v3.1.0
kind: DataContract
id: imported.{name}
name: {name}
version: 1.0.0
status: draft
description:
  purpose: {purpose}  # review: what it is for
team:
  name: unknown  # review: who answers for it
schema:
  - name: {name}
    logicalType: object
    physicalType: table
{key}    quality:
      - description: An empty delivery is a broken delivery.
        metric: rowCount
        mustBeGreaterThan: 0
        customProperties: [{{property: onViolation, value: stop}}]
    properties:
"""
_WARN: Final = "customProperties: [{property: onViolation, value: warn}]"


def contract_yaml(name: str, origin: str, guesses: Guesses) -> str:
    """The contract `name` of a table that came from `origin`, a file's name or a database's address."""
    lines = [f"# review: left out, because no column of the contract can hold it: {each}" for each in guesses.left_out]
    if guesses.key_evidence:
        lines.append(f"# review: key {', '.join(guesses.key) or 'none'}: {guesses.key_evidence}")
    head = _HEAD.format(
        name=name,
        origin=_one_line(origin),
        rows=guesses.rows,
        purpose=quoted(f"What {_one_line(origin)} delivers."),
        key="".join(f"    {_one_line(line)}\n" for line in lines),
    )
    return head + "".join(f"{line}\n" for column in guesses.columns for line in _property(column, guesses.key))


def quoted(text: str) -> str:
    """A text as YAML, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'


def _one_line(text: str) -> str:
    """A comment ends with its line, whatever a file or a column is named."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _plain(kind: str) -> str:
    """A type without quotes, where YAML allows it."""
    return kind if kind.isalpha() else quoted(kind)


def _property(column: Guess, key: tuple[str, ...]) -> Iterator[str]:
    yield f"      - name: {quoted(column.name)}  # review: {_one_line('; '.join(column.evidence))}"
    yield f"        logicalType: {_LOGICAL_TYPES[column.physical_type]}"
    yield f"        physicalType: {_plain(column.physical_type)}"
    if column.physical_type == "VARCHAR[]":
        yield "        items: {logicalType: string, physicalType: VARCHAR}"
    if column.key:
        yield "        primaryKey: true"
        yield f"        primaryKeyPosition: {key.index(column.name) + 1}"
    if column.required:
        yield "        required: true"
    if column.is_personal:
        yield "        classification: pii  # review: judged by the name; its values are then shown to nobody"
    options = ["timezone: true", "defaultTimezone: Etc/UTC"] if column.physical_type == "TIMESTAMPTZ" else []
    options += [f"minimum: {column.minimum}"] if column.minimum is not None else []
    if options:
        yield f"        logicalTypeOptions: {{{', '.join(options)}}}"
    if not column.key and (column.required or column.minimum is not None):
        yield f"        {_WARN}"
    if column.values:
        yield "        quality:"
        yield "          - metric: invalidValues"
        yield "            arguments:"
        yield f"              validValues: [{', '.join(map(quoted, column.values))}]"
        yield "            mustBe: 0"
        yield f"            {_WARN}"


def with_currency(contract: str, currency: str) -> str:
    """The text of one of nextbest's own contracts whose amounts are in `currency`."""
    return contract.replace(_CURRENCIES, f"validValues: [{currency}]")
