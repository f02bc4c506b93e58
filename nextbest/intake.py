"""From rows to the log: checking what a channel sends, and wrapping a contract's row in the log's envelope.

Belongs here: what the writers of the log share: the API, whose rows count once by their key, and the batch plane, which
appends landed consents and identities (`landed`) and lands what the API took in. Does not belong here: HTTP, or the
log itself.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType, NoneType
from typing import Any

import msgspec
import pyarrow as pa

from nextbest.advice import expected
from nextbest.contracts import Contract
from nextbest.envelope import LANDED, Envelope, Identifier, partition_key
from nextbest.validation import ContractViolation, validate
from nextbest.wire import Verdict

TYPES = MappingProxyType(
    {
        "events": "event",
        "outcomes": "outcome",
        "consents": "consent",
        "identities": "identity",
        "decisions": "decision",
        "transactions": "transaction",
    }
)
"""The type of an envelope by the contract of its row; an event that is an impression has a type of its own."""
IMPRESSION = "impression"
RECEIVED_AT = "received_at"
"""Column that the server sets: when the row came."""
KEY = "key"
"""The rule by which a row is rejected whose key another row has."""
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
_CLOCK_AHEAD = timedelta(minutes=5)
"""How far a channel's clock may be ahead of ours."""


def check(
    contract: Contract, rows: Sequence[Mapping[str, Any]], received_at: datetime
) -> list[Verdict | dict[str, Any]]:
    """For each row its values in the contract's types, or why it is not one.

    An earlier row once more is a duplicate; another one under its key is rejected, and so is one that has yet to
    happen. What the contract does not name is left out. Unlike a file of text, JSON knows numbers from texts: what
    comes as another type than the contract's is rejected, though it could be read as one.
    """
    columns = {field.name: [row.get(field.name) for row in rows] for field in contract.fields}
    if mistyped := _mistyped(contract, columns):
        columns = {
            name: [value for index, value in enumerate(column) if index not in mistyped]
            for name, column in columns.items()
        }
    checked = iter(_check(contract, columns, received_at))
    return [mistyped.get(index) or next(checked) for index in range(len(rows))]


def _check(
    contract: Contract, columns: Mapping[str, list[Any]], received_at: datetime
) -> list[Verdict | dict[str, Any]]:
    table = pa.table({name: pa.array(_texts(column), pa.string()) for name, column in columns.items()})
    try:
        # How many rows a delivery must have is nothing that one row could break.
        validated = validate(msgspec.structs.replace(contract, min_rows=0), table)
    except ContractViolation as violation:
        return [Verdict("rejected", str(violation))] * table.num_rows
    rejected = {reject["row_number"] - 1: reject for reject in validated.rejected.to_pylist()}
    valid = iter(validated.valid.to_pylist())
    found = [
        _verdict(contract, rejected[index]) if index in rejected else _happened(contract, next(valid), received_at)
        for index in range(table.num_rows)
    ]
    repeated = {index for index, reject in rejected.items() if reject["rule"] == KEY}
    return _without_repeats(contract, table.to_pylist(), found, repeated) if repeated else found


def says_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows are the same, whenever each was received; a column that is null says nothing."""
    return bool(_said(one) == _said(other))


def key_taken(contract: Contract) -> Verdict:
    """The verdict on a row whose key another row has: it is told, since nothing of it will count."""
    key = ", ".join(contract.key)
    return Verdict("rejected", f"another row of {contract.name} has this {key}: send it under one of its own", KEY, key)


def envelope(
    contract: Contract, row: Mapping[str, Any], received_at: datetime, *, sent_at: datetime | None = None
) -> Envelope:
    """The log's envelope of a valid row; what identifies a person stays out of it."""
    identifiers = (Identifier(kind=row["kind"], hmac=row["identifier_hmac"]),) if contract.name == "identities" else ()
    return Envelope(
        event_id="/".join([contract.name, *(str(row[name]) for name in contract.key)]),
        type=IMPRESSION if row.get("type") == IMPRESSION else TYPES[contract.name],
        contract=contract.name,
        contract_version=contract.version,
        source=row["source"],
        occurred_at=row[_time_of(contract)],
        received_at=received_at,
        sent_at=sent_at,
        identifiers=identifiers,
        partition_key=partition_key(identifiers, row.get("customer_id") or row.get("decision_id") or ""),
        decision_id=row.get("decision_id"),
        slot=row.get("slot"),
        channel=row.get("channel"),
        action=row.get("action"),
        treatment=row.get("treatment"),
        value=row.get("value") if isinstance(row.get("value"), float) else None,
        currency=row.get("currency"),
        learning=row.get("learning"),
        purpose=row.get("purpose"),
        properties={field.name: row.get(field.name) for field in contract.fields if not field.is_pii},
    )


def landed(contract: Contract, row: Mapping[str, Any], received_at: datetime) -> Envelope:
    """The envelope of a row out of the landing, where a later delivery may correct an earlier one under its key.

    The same row has the same event id every time, a corrected one another: its id ends in a digest of what it says.
    """
    said = envelope(contract, row, received_at)
    digest = hashlib.blake2b(msgspec.json.encode(said.properties), digest_size=8).hexdigest()
    return msgspec.structs.replace(said, event_id=f"{LANDED}{said.event_id}/{digest}")


def _mistyped(contract: Contract, columns: Mapping[str, list[Any]]) -> dict[int, Verdict]:
    """By its number, the verdict on each row of which a value comes as another type than its field's."""
    verdicts: dict[int, Verdict] = {}
    for field in contract.fields:
        types, column = _TYPES_OF_JSON[field.type], columns[field.name]
        if types.issuperset(map(type, column)):
            continue
        for index, value in enumerate(column):
            if type(value) not in types:
                shown = repr(value) if isinstance(value, str) else _text(value)
                reason = f"{contract.name}.{field.name} is {shown}: {expected(contract, field.name, 'type')}"
                verdicts.setdefault(index, Verdict("rejected", reason, "type", field.name))
    return verdicts


def _time_of(contract: Contract) -> str:
    return contract.event_time or next(field.name for field in contract.fields if field.type == "timestamp")


def _verdict(contract: Contract, reject: Mapping[str, Any]) -> Verdict:
    rule, column, value = reject["rule"], reject["column"], reject["value"]
    said = "is missing" if value is None else f"is {value!r}"
    return Verdict(
        "rejected", f"{contract.name}.{column} {said}: {expected(contract, column, rule, value)}", rule, column
    )


def _happened(contract: Contract, row: dict[str, Any], received_at: datetime) -> Verdict | dict[str, Any]:
    """The row, unless it is of the future, where it would count under no window and be overruled by nothing."""
    column = contract.event_time
    if column is None or row[column] <= received_at + _CLOCK_AHEAD:
        return row
    ahead = f"more than {_CLOCK_AHEAD // timedelta(minutes=1)} minutes later than now, {received_at.isoformat()}"
    reason = f"{contract.name}.{column} is {row[column].isoformat()!r}: it is {ahead}"
    return Verdict("rejected", reason, "future", column)


def _without_repeats(
    contract: Contract,
    sent: Sequence[Mapping[str, Any]],
    found: Sequence[Verdict | dict[str, Any]],
    repeated: Iterable[int],
) -> list[Verdict | dict[str, Any]]:
    """What was found, where a row whose key an earlier valid one has is a duplicate of it, or rejected."""
    firsts: dict[tuple[Any, ...], int] = {}
    for index, each in enumerate(found):
        if isinstance(each, dict):
            firsts.setdefault(_key_of(contract, sent[index]), index)
    verdicts = list(found)
    for index in repeated:
        first = firsts.get(_key_of(contract, sent[index]))
        if first is not None and says_the_same(sent[first], sent[index]):
            verdicts[index] = Verdict("duplicate")
        else:
            verdicts[index] = key_taken(contract)
    return verdicts


def _key_of(contract: Contract, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in contract.key)


def _said(row: Mapping[str, Any]) -> Any:
    return msgspec.to_builtins(
        {name: value for name, value in row.items() if value is not None and name != RECEIVED_AT}
    )


def _texts(column: list[Any]) -> list[str | None]:
    return column if _TYPES_OF_JSON["string"].issuperset(map(type, column)) else [*map(_text, column)]


def _text(value: Any) -> str | None:
    """A value as JSON has it, as the text a column is cast from."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # to JSON, 1.0 is a whole number
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
