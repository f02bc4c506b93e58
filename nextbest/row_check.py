"""Rows as a channel sends them: which are valid, and of each other one why it is not.

Belongs here: what the API asks of a row beyond its contract, since it can answer: nothing undeclared, a zone with every
time, ids that can be named, nothing of the future, one row per key. A file has no sender to ask, and is judged by its
contract alone (`nextbest.validation`). Does not belong here: what becomes of a row (serving), or the rules.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from types import MappingProxyType, NoneType
from typing import Any, Final

import msgspec
import pyarrow as pa

from nextbest.advice import UNDECLARED, did_you_mean, expected
from nextbest.casting import TIME_SHAPE, ZONED_TIME_SHAPE
from nextbest.contracts import Contract, Field
from nextbest.intake import RECEIVED_AT, key_taken, says_the_same
from nextbest.row_reader import RowReader
from nextbest.validation import ContractViolation, validate
from nextbest.wire import LONG_TEXT_LIMIT, Verdict

Found = Verdict | dict[str, Any]
"""What was found of a row: its values in the contract's types, or why it has none."""

ROW_BYTES: Final = 32_000
"""Most bytes of a row as JSON."""
ID_LENGTH: Final = 200
CONTROL: Final = r"[\x00-\x1f\x7f-\x9f]"
"""The pattern of what no id has in it; a customer's is asked what a path can name, and is that alone."""
DUPLICATE: Final = Verdict("duplicate")
_SIZE, _ZONE, _ID, _FUTURE = "size", "zone", "id", "future"
_CUSTOMER = "customer_id"
_NO_ID: Final = f"is no id: it takes up to {ID_LENGTH} characters, and no control character"
_NO_CUSTOMER: Final = (
    f"names no customer: it takes up to {ID_LENGTH} characters, and is an identifier (kind:hmac, one of the kinds of "
    "identities and a keyed hash), or else neither begins nor ends like one, and is no dot, which no path can name"
)
_DEFAULTS: Final = MappingProxyType({"source": "live"})
_SHOWN: Final = 100
"""Characters of a value that a reason repeats."""
_CLOCK_AHEAD = timedelta(minutes=5)
"""How far a channel's clock may be ahead of ours."""
_TYPES_OF_JSON: Mapping[str, frozenset[type]] = MappingProxyType(
    {
        "string": frozenset({str, NoneType}),
        "integer": frozenset({int, float, NoneType}),
        "number": frozenset({int, float, NoneType}),
        "boolean": frozenset({bool, NoneType}),
        "timestamp": frozenset({str, datetime, NoneType}),
        "array": frozenset({list, NoneType}),
    }
)
"""By the type of a field, what its values are once JSON is decoded; times that the server sets are decoded already."""


def is_id_column(field: Field) -> bool:
    """Whether a field holds an id, by its place or its name (docs/naming.md)."""
    return field.type == "string" and (field.key or field.name.endswith("_id"))


def control_free(text: str) -> bool:
    """Whether no character of a text is a control character."""
    return re.search(CONTROL, text) is None


class RowCheck:
    """Judges the rows of one contract.

    Args:
        contract: theirs.
        is_customer_id: tells an id of a customer from what is none (`nextbest.names`).

    """

    def __init__(self, contract: Contract, is_customer_id: Callable[[str], bool]) -> None:
        self.contract = contract
        self._names = {field.name for field in contract.fields} | {RECEIVED_AT}
        ids = [field.name for field in contract.fields if is_id_column(field)]
        self._ids = {name: is_customer_id if name == _CUSTOMER else control_free for name in ids}
        self._times = tuple(field.name for field in contract.fields if field.type == "timestamp")
        self._received = RECEIVED_AT in {field.name for field in contract.fields}
        self._key = itemgetter(*contract.key) if contract.key else None
        # Whose key is whose is asked of all rows together, whichever way each was judged.
        fields = tuple(msgspec.structs.replace(field, key=False) for field in contract.fields)
        # How many rows a delivery must have is nothing that one row could break.
        self._without_key = msgspec.structs.replace(contract, fields=fields, min_rows=0)
        self._reader = RowReader(
            contract,
            ids=self._ids,
            id_length=ID_LENGTH,
            defaults=_DEFAULTS,
            most_bytes=ROW_BYTES,
        )

    def check(self, rows: Sequence[Mapping[str, Any]], received_at: datetime) -> list[Found]:
        """For each row as it was sent its values in the contract's types, or why it is not valid.

        An earlier row once more is a duplicate; another one under its key is rejected. `source` is `live` where it is
        not said, and what is sent as the time of receipt is not looked at.
        """
        found: list[Any] = [self.sure(row, received_at) for row in rows]
        unsure = [index for index, each in enumerate(found) if each is None]
        if unsure:
            judged = self.exact([rows[index] for index in unsure], received_at)
            for index, verdict in zip(unsure, judged, strict=True):
                found[index] = verdict
        return self._once(found) if len(found) > 1 else found

    def sure(self, row: Mapping[str, Any], received_at: datetime) -> dict[str, Any] | None:
        """The values of a row that is valid beyond doubt; None for any other."""
        values = self._reader.read(row, {RECEIVED_AT: received_at} if self._received else {})
        time = self.contract.event_time
        return None if values is None or (time and values[time] > received_at + _CLOCK_AHEAD) else values

    def exact(self, rows: Sequence[Mapping[str, Any]], received_at: datetime) -> list[Found]:
        """For each row by itself its values, or why it is not valid: every rule, all rows at a time."""
        found: dict[int, Found] = {}
        for index, row in enumerate(rows):
            if verdict := self._misshapen(row):
                found[index] = verdict
        whole = [index for index in range(len(rows)) if index not in found]
        if whole:
            complete = [{**_DEFAULTS, **rows[index], RECEIVED_AT: received_at} for index in whole]
            found.update(zip(whole, self._by_contract(complete, received_at), strict=True))
        return [found[index] for index in range(len(rows))]

    def _misshapen(self, row: Mapping[str, Any]) -> Verdict | None:
        """What is wrong with a row before any rule is asked."""
        name = self.contract.name
        if (size := len(msgspec.json.encode(row))) > ROW_BYTES:
            return _rejected(f"the row of {name} is {size:,} bytes of JSON: it takes {ROW_BYTES:,} or less", _SIZE)
        for each in row:
            if each not in self._names:
                shown = _clipped(each)
                return _rejected(
                    f"{name} has no {shown!r}{did_you_mean(shown, self._names)}", UNDECLARED, each[:_SHOWN]
                )
        for field in self.contract.fields:
            value = row.get(field.name)
            if field.name != RECEIVED_AT and type(value) not in _TYPES_OF_JSON[field.type]:
                said = _clipped(repr(value) if isinstance(value, str) else str(_text(value)))
                right = expected(self.contract, field.name, "type")
                return _rejected(f"{name}.{field.name} is {said}: {right}", "type", field.name)
            if isinstance(value, str) and len(value) > LONG_TEXT_LIMIT and field.name not in self._ids:
                right = f"it takes {LONG_TEXT_LIMIT:,} or less"
                return _rejected(f"{name}.{field.name} has {len(value):,} characters: {right}", _SIZE, field.name)
        for column in self._times:
            text = _text(row.get(column)) if column != RECEIVED_AT else None
            if text and re.search(TIME_SHAPE, text) and not re.search(ZONED_TIME_SHAPE, text):
                right = f"it takes a time with its zone, such as {text}Z"
                return _rejected(f"{name}.{column} is {text!r}: {right}", _ZONE, column)
        return None

    def _by_contract(self, rows: Sequence[Mapping[str, Any]], received_at: datetime) -> list[Found]:
        columns = {field.name: [_text(row.get(field.name)) for row in rows] for field in self.contract.fields}
        table = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
        try:
            validated = validate(self._without_key, table)
        except ContractViolation as violation:
            return [_rejected(str(violation), violation.rule)] * len(rows)
        rejected = {reject["row_number"] - 1: reject for reject in validated.rejected.to_pylist()}
        valid = iter(validated.valid.to_pylist())
        return [
            self._verdict(rejected[index]) if index in rejected else self._acceptable(next(valid), received_at)
            for index in range(len(rows))
        ]

    def _verdict(self, reject: Mapping[str, Any]) -> Verdict:
        rule, column, value = reject["rule"], reject["column"], reject["value"]
        said = "is missing" if value is None else f"is {_clipped(repr(value))}"
        right = expected(self.contract, column, rule, value and value[:_SHOWN])
        return _rejected(f"{self.contract.name}.{column} {said}: {right}", rule, column)

    def _acceptable(self, row: dict[str, Any], received_at: datetime) -> Found:
        """The row, unless an id of it is none, or it is of the future.

        There it would count under no window and be overruled by nothing. An id is not repeated: it may be an address
        that belongs nowhere but in a keyed hash.
        """
        name, time = self.contract.name, self.contract.event_time
        for column, is_id in self._ids.items():
            value = row[column]
            if value is not None and (len(value) > ID_LENGTH or not is_id(value)):
                return _rejected(f"{name}.{column} {_NO_CUSTOMER if column == _CUSTOMER else _NO_ID}", _ID, column)
        if time is None or row[time] <= received_at + _CLOCK_AHEAD:
            return row
        ahead = f"more than {_CLOCK_AHEAD // timedelta(minutes=1)} minutes later than now, {received_at.isoformat()}"
        return _rejected(f"{name}.{time} is {row[time].isoformat()!r}: it is {ahead}", _FUTURE, time)

    def _once(self, found: list[Found]) -> list[Found]:
        """What was found, where a row whose key an earlier valid one has is a duplicate of it, or rejected."""
        if self._key is None:
            return found
        firsts: dict[Any, dict[str, Any]] = {}
        for index, row in enumerate(found):
            if isinstance(row, dict) and (first := firsts.setdefault(self._key(row), row)) is not row:
                found[index] = DUPLICATE if says_the_same(first, row) else key_taken(self.contract)
        return found


def _rejected(reason: str, rule: str, column: str = "") -> Verdict:
    return Verdict("rejected", reason, rule, column)


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(value: Any) -> str | None:
    """A value as JSON has it, as the text a column is cast from."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # to JSON, 1.0 is a whole number
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
