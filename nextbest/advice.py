"""What to tell whoever delivered: what a rule allows, and what was probably meant.

Belongs here: the words in which the door, the API and the command line explain the same broken rule. Does not belong
here: finding what is broken (`nextbest.validation`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

import pyarrow as pa

from nextbest.contracts import Contract, RuleKind

_SHOWN = 12
"""Names that a message lists before it only counts them."""
UNDECLARED, ABSENT = "undeclared", "absent"
"""Warnings about columns: one the contract does not name, and one that may be null and did not come."""
_ALLOWED: Final[Mapping[RuleKind, str]] = {
    "required": "it must have a value",
    "unique": "no two rows may have the same",
    "minimum": "it takes nothing below {argument}",
    "maximum": "it takes nothing above {argument}",
    "pattern": "it takes what matches {argument}",
    "min_length": "its length is {argument} or more",
    "max_length": "its length is {argument} or less",
    "reference": "it takes a {key} that {target} has",
}


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, whatever its case; None where none is close.

    >>> nearest("cust_id", ["customer_id", "store_id"])
    'customer_id'
    """
    folded = {each.casefold(): each for each in names}
    found = get_close_matches(name.casefold(), folded, n=1)
    return folded[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question to put behind a message; empty where no name is close."""
    found = nearest(name, names)
    return f"; did you mean {found!r}?" if found else ""


def listed(names: Iterable[str]) -> str:
    """Names in a row, and how many more there are."""
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def expected(contract: Contract, column: str, rule: str, value: str | None = None) -> str:
    """What a rule allows in a column, and for a value that is nearly right what was probably meant.

    `column` and `rule` are as in a rejected row (`nextbest.validation.REJECTS`).
    """
    if rule == "key":
        return f"one row may have this {column}"
    field = contract.field(column)
    if rule == "type":
        return f"it takes {'an' if field.type[0] in 'aeiou' else 'a'} {field.type}"
    if rule == "enum":
        meant = did_you_mean(value, field.enum or ()) if value else ""
        return f"it takes {listed(field.enum or ())}{meant}"
    broken = [each for each in field.rules if each.kind == rule]
    enforced = next((each for each in broken if each.on_violation != "warn"), broken[0])
    target, _, key = str(enforced.argument).partition(".")
    return _ALLOWED[enforced.kind].format(argument=enforced.argument, target=target, key=key)


def explain(contract: Contract, rejected: pa.Table) -> list[str]:
    """For each rule that rows break how many do, the first of them, and what would be right.

    `rejected` has the schema `nextbest.validation.REJECTS`. No value is told where one could identify a person.
    """
    columns, rules = rejected["column"].to_pylist(), rejected["rule"].to_pylist()
    broken = list(zip(columns, rules, strict=True))
    first = {name: index for index, name in reversed(list(enumerate(broken)))}
    told = []
    for (column, rule), count in Counter(broken).items():
        row = rejected.slice(first[column, rule], 1).to_pylist()[0]
        value = None if contract.holds_pii else row["value"]
        said = "" if value is None else f" is {value!r}"
        told.append(
            f"{column}.{rule}: {count:,} rows, first row {row['row_number']:,}{said}: "
            f"{expected(contract, column, rule, value)}"
        )
    return told


def misnamed(contract: Contract, warnings: Mapping[str, int]) -> list[str]:
    """Columns that did not land because of their name, where one that may be left out has nearly the same."""
    optional = [field.name for field in contract.fields if not field.required]
    undeclared = [name.removesuffix(f".{UNDECLARED}") for name in warnings if name.endswith(f".{UNDECLARED}")]
    return [
        f"column {name} is not in the contract and did not land{question}"
        for name in undeclared
        if (question := did_you_mean(name, optional))
    ]
