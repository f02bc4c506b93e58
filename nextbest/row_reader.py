"""Reading one row without Arrow: for the rows that keep their contract beyond doubt, which nearly all do.

Belongs here: a contract compiled to one function per field, and when a value is sure to be valid. Does not belong here:
why a row is not (`nextbest.row_check`): whatever is not sure here is judged there, a whole column at a time, which for
a single row takes a hundred times as long.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from nextbest.contracts import Contract, Field, Rule, RuleKind

Reader = Callable[[Any], Any]
"""From a value as JSON has it to that of the contract's type; None where it is not sure to be one."""

# The times that channels write, and no others that might be read in two ways.
_TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3}|\.\d{6})?(Z|[+-](0\d|1[0-3]):[0-5]\d)", re.ASCII
)
# A pattern of these parts means the same to Arrow (RE2) and to Python, as long as the text is plain ASCII.
_PART: Final = r"[\w .,:@/^$()|*+?-]|\\[dws.\-]|\{\d+(,\d*)?\}|\[\^?[\w .,:@/-]+\]"
_PLAIN: Final = re.compile(rf"(?:{_PART})+", re.ASCII)
_WIDEST_WHOLE: Final = 2**53
"""Below it every whole number is a float too."""
_JSON_OF_CHARACTER, _JSON_OF_VALUE = 6, 48
"""Most bytes of JSON of a character, and of a name's punctuation with a number or a time."""


class RowReader:
    """Reads the rows of one contract.

    Args:
        contract: theirs; one that judges rows by one another, or as a whole, has no row that is sure by itself.
        ids: of columns that hold ids, what tells whether a text is one that a path can name.
        id_length: most characters of an id.
        defaults: values of columns that were not sent.
        most_bytes: of a row as JSON.

    """

    def __init__(
        self,
        contract: Contract,
        *,
        ids: Mapping[str, Callable[[str], bool]],
        id_length: int,
        defaults: Mapping[str, Any],
        most_bytes: int,
    ) -> None:
        texts = sum(field.type == "string" for field in contract.fields)
        others = sum(len(field.name) + _JSON_OF_VALUE for field in contract.fields)
        self._most = max((most_bytes - others) // (_JSON_OF_CHARACTER * max(texts, 1)), 0)
        self._ids, self._id_length = ids, id_length
        self._blank = {field.name: defaults.get(field.name) for field in contract.fields}
        enforced = {
            field.name: [rule for rule in field.rules if rule.on_violation != "warn"] for field in contract.fields
        }
        self._required = tuple(name for name, rules in enforced.items() if any(r.kind == "required" for r in rules))
        self._readers: dict[str, Reader] = {}
        if not contract.min_rows and all(_by_itself(rule) for _, rule in contract.rules()):
            self._readers = {
                field.name: self._reader(field, enforced[field.name]) or _never_sure for field in contract.fields
            }

    def read(self, sent: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row in the contract's types and order, with what the server has given; None where that is not sure."""
        row = self._blank.copy()
        for name, value in sent.items():
            reader = self._readers.get(name)
            if reader is None:
                return None
            if value is None:
                row[name] = None
            elif (found := reader(value)) is None:
                return None
            else:
                row[name] = found
        row.update(given)
        for name in self._required:
            if row[name] is None:
                return None
        return row

    def _reader(self, field: Field, rules: list[Rule]) -> Reader | None:
        bounds = {rule.kind: rule.argument for rule in rules}
        if len(bounds) < len(rules):
            return None  # two patterns, say: rare enough for the other way
        if field.type == "string":
            return self._text(field, bounds)
        if field.type not in _READERS or bounds.keys() - _BOUNDS:
            return None
        return _READERS[field.type](bounds)

    def _text(self, field: Field, bounds: Mapping[RuleKind, Any]) -> Reader | None:
        if bounds.keys() & {"minimum", "maximum"}:
            return None
        least, most = int(bounds.get("min_length", 0)), int(bounds.get("max_length", self._most))
        is_id = field.name in self._ids
        most = min(most, self._most, self._id_length) if is_id else min(most, self._most)
        if "enum" in bounds:
            if bounds.keys() - {"enum", "required"} or is_id:
                return None
            allowed = {each: each for each in bounds["enum"] if len(each) <= most}.get
            return lambda value: allowed(value) if type(value) is str else None
        if "pattern" in bounds:
            return None if is_id else _matching(bounds["pattern"], least, most)
        if is_id:
            can_be_named = self._ids[field.name]
            return lambda value: (
                value
                if type(value) is str and least <= len(value) <= most and (value.isalnum() or can_be_named(value))
                else None
            )
        return lambda value: value if type(value) is str and least <= len(value) <= most else None


def _never_sure(_value: Any) -> None:
    """Reads a field of a kind that is left to the other way; null it may be."""
    return


def _by_itself(rule: Rule) -> bool:
    return rule.on_violation != "stop" and rule.kind != "unique"


def _matching(pattern: str, least: int, most: int) -> Reader | None:
    if not _PLAIN.fullmatch(pattern):
        return None
    search = re.compile(pattern, re.ASCII).search
    return lambda value: (
        value
        if type(value) is str
        and least <= len(value) <= most
        and value.isascii()
        and value.isprintable()
        and search(value)
        else None
    )


def _whole(bounds: Mapping[RuleKind, Any]) -> Reader | None:
    least, most = bounds.get("minimum", -_WIDEST_WHOLE), bounds.get("maximum", _WIDEST_WHOLE)
    if type(least) is not int or type(most) is not int:
        return None
    least, most = max(least, -_WIDEST_WHOLE), min(most, _WIDEST_WHOLE)
    return lambda value: value if type(value) is int and least <= value <= most else None


def _truth(bounds: Mapping[RuleKind, Any]) -> Reader | None:
    return None if "minimum" in bounds or "maximum" in bounds else lambda value: value if type(value) is bool else None


def _number(bounds: Mapping[RuleKind, Any]) -> Reader | None:
    least = max(float(bounds.get("minimum", -_WIDEST_WHOLE)), -_WIDEST_WHOLE)
    most = min(float(bounds.get("maximum", _WIDEST_WHOLE)), _WIDEST_WHOLE)

    def read(value: Any) -> float | None:
        # Adding 0.0 takes the sign off -0.0, as writing it as a whole number does.
        return value + 0.0 if type(value) in {int, float} and least <= value <= most else None

    return read


def _time(bounds: Mapping[RuleKind, Any]) -> Reader | None:
    least = _moment(bounds["minimum"]) if "minimum" in bounds else datetime.min.replace(tzinfo=UTC)
    most = _moment(bounds["maximum"]) if "maximum" in bounds else datetime.max.replace(tzinfo=UTC)
    if least is None or most is None:
        return None

    def read(value: Any) -> datetime | None:
        moment = _moment(value)
        return moment if moment is not None and least <= moment <= most else None

    return read


def _moment(value: Any) -> datetime | None:
    if type(value) is datetime:
        return value if value.tzinfo is UTC else None
    if type(value) is not str or not _TIME.fullmatch(value):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_BOUNDS: Final = frozenset[RuleKind]({"required", "reference", "minimum", "maximum"})
_READERS: Final[Mapping[str, Callable[[Mapping[RuleKind, Any]], Reader | None]]] = {
    "integer": _whole,
    "number": _number,
    "timestamp": _time,
    "boolean": _truth,
}
