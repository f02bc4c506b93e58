"""From rows to the log: checking what a channel sends, and wrapping a contract's row in the log's envelope.

Belongs here: what the writers of the log share: the API, whose rows count once by their key, and the batch plane, which
appends landed consents and identities (`landed`). Does not belong here: HTTP, or the log itself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import pyarrow as pa

from nextbest.contracts import Contract
from nextbest.envelope import Envelope, Identifier, partition_key
from nextbest.validation import ContractViolation, validate

TYPES = MappingProxyType(
    {
        "events": "event",
        "outcomes": "outcome",
        "consents": "consent",
        "identities": "identity",
        "decisions": "decision",
    }
)
"""The type of an envelope by the contract of its row."""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one row: `rule` and `column` say what it breaks where it is rejected."""

    status: Literal["accepted", "duplicate", "rejected"]
    reason: str = ""
    rule: str = ""
    column: str = ""


def check(contract: Contract, rows: Sequence[Mapping[str, Any]]) -> list[Verdict | dict[str, Any]]:
    """For each row its values in the contract's types, or why it is not one.

    A row whose key an earlier one has is a duplicate. What the contract does not name is left out.
    """
    table = pa.table(
        {field.name: pa.array([_text(row.get(field.name)) for row in rows], pa.string()) for field in contract.fields}
    )
    try:
        validated = validate(contract, table)
    except ContractViolation as violation:
        return [Verdict("rejected", str(violation))] * len(rows)
    verdicts = {reject["row_number"] - 1: _verdict(contract, reject) for reject in validated.rejected.to_pylist()}
    valid = iter(validated.valid.to_pylist())
    return [verdicts[index] if index in verdicts else next(valid) for index in range(len(rows))]


def envelope(contract: Contract, row: Mapping[str, Any], received_at: datetime) -> Envelope:
    """The log's envelope of a valid row; what identifies a person stays out of it."""
    identifiers = (Identifier(kind=row["kind"], hmac=row["identifier_hmac"]),) if contract.name == "identities" else ()
    return Envelope(
        event_id="/".join([contract.name, *(str(row[name]) for name in contract.key)]),
        type=TYPES[contract.name],
        contract=contract.name,
        contract_version=contract.version,
        source=row["source"],
        occurred_at=row[_time_of(contract)],
        received_at=received_at,
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
    return msgspec.structs.replace(said, event_id=f"{said.event_id}/{digest}")


def _time_of(contract: Contract) -> str:
    return contract.event_time or next(field.name for field in contract.fields if field.type == "timestamp")


def _verdict(contract: Contract, reject: Mapping[str, Any]) -> Verdict:
    rule, column, value = reject["rule"], reject["column"], reject["value"]
    if rule == "key":
        return Verdict("duplicate")
    said = "is missing" if value is None else f"is {value!r}"
    return Verdict("rejected", f"{contract.name}.{column} {said}: {_expectation(contract, column, rule)}", rule, column)


def _expectation(contract: Contract, column: str, rule: str) -> str:
    field = contract.field(column)
    if rule == "type":
        return f"it takes a {field.type}"
    argument = next((each.argument for each in field.rules if each.kind == rule), None)
    said = ", ".join(argument) if isinstance(argument, tuple) else argument
    return f"rule {rule}" if said is None else f"rule {rule} ({said})"


def _text(value: Any) -> str | None:
    """A value as JSON has it, as the text a column is cast from."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
