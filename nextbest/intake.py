"""From rows to the log: wrapping a contract's row in the log's envelope, once.

Belongs here: what the writers of the log share: the API, whose rows count once by their key, and the batch plane, which
appends landed identities, consents and signals (`landed`) and lands what the API took in. Does not belong here: whether
a row is valid (`nextbest.row_check`), HTTP, or the log itself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from nextbest.contracts import Contract
from nextbest.envelope import LANDED, Envelope, Identifier, nameless, partition_key
from nextbest.wire import Verdict

TYPES = MappingProxyType(
    {
        "events": "event",
        "outcomes": "outcome",
        "consents": "consent",
        "identities": "identity",
        "decisions": "decision",
        "transactions": "transaction",
        "signals": "signal",
    }
)
"""The type of an envelope by the contract of its row; an event that is an impression has a type of its own."""
IMPRESSION = "impression"
_WORD = ("customer_id", "linked_at")
RECEIVED_AT = "received_at"
"""Column that the server sets: when the row came."""
KEY = "key"
"""The rule by which a row is rejected whose key another row has."""


def says_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows are the same, whenever each was received; a column that is null says nothing."""
    return bool(_said(one) == _said(other))


def key_taken(contract: Contract) -> Verdict:
    """The verdict on a row whose key another row has: it is told, since nothing of it will count."""
    key = ", ".join(contract.key)
    return Verdict("rejected", f"another row of {contract.name} has this {key}: send it under one of its own", KEY, key)


def at_the_door(contract: Contract) -> Contract:
    """A contract as the API has it: without what identifies a person, which a log never gives back.

    Of identities each word is a row of its own: that somebody else goes by an identifier takes nothing back.
    """
    key = {*contract.key, *(_WORD if contract.name == "identities" else ())}
    fields = (msgspec.structs.replace(each, key=each.name in key) for each in contract.fields if not each.is_pii)
    return msgspec.structs.replace(contract, fields=tuple(fields))


class Envelopes:
    """The log's envelopes of one contract's valid rows; what identifies a person stays out of them."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._name, self._version = contract.name, contract.version
        self._key = contract.key
        self._time = contract.event_time or next(f.name for f in contract.fields if f.type == "timestamp")
        self._type = TYPES[contract.name]
        self._logged = tuple(field.name for field in contract.fields if not field.is_pii)
        self._is_identity = contract.name == "identities"
        self._is_signal = contract.name == "signals"

    def of(self, row: Mapping[str, Any], received_at: datetime, sent_at: datetime | None = None) -> Envelope:
        """The envelope of one row."""
        get = row.get
        identifiers = (Identifier(kind=row["kind"], hmac=row["identifier_hmac"]),) if self._is_identity else ()
        key, value = _joined([row[name] for name in self._key]), get("value")
        return Envelope(
            event_id=f"{self._name}/{nameless(key) if self._is_identity else key}",
            type=IMPRESSION if get("type") == IMPRESSION else self._type,
            contract=self._name,
            contract_version=self._version,
            source=row["source"],
            occurred_at=row[self._time],
            received_at=received_at,
            sent_at=sent_at,
            identifiers=identifiers,
            partition_key=partition_key(identifiers, get("customer_id") or get("decision_id") or self._about(row)),
            decision_id=get("decision_id"),
            slot=get("slot"),
            channel=get("channel"),
            action=get("action"),
            treatment=get("treatment"),
            value=value if isinstance(value, float) else None,
            currency=get("currency"),
            learning=get("learning"),
            purpose=get("purpose"),
            properties={name: get(name) for name in self._logged},
        )

    def _about(self, row: Mapping[str, Any]) -> str:
        """What a row is about that is about no customer."""
        return f"{row['signal']}:{row['key']}" if self._is_signal else ""


def _joined(key: Sequence[object]) -> str:
    """A key as one text, which no other key comes to."""
    if len(key) == 1:
        return str(key[0])
    return "/".join([str(part).replace("%", "%25").replace("/", "%2F") for part in key])


def envelope(
    contract: Contract, row: Mapping[str, Any], received_at: datetime, *, sent_at: datetime | None = None
) -> Envelope:
    """The log's envelope of one valid row, for whoever has one only."""
    return Envelopes(contract).of(row, received_at, sent_at)


def landed(contract: Contract, row: Mapping[str, Any], received_at: datetime) -> Envelope:
    """The envelope of a row out of the landing, where a later delivery may correct an earlier one under its key.

    The same row has the same event id every time, a corrected one another: its id ends in a digest of what it says.
    """
    said = envelope(contract, row, received_at)
    digest = hashlib.blake2b(msgspec.json.encode(said.properties), digest_size=8).hexdigest()
    return msgspec.structs.replace(said, event_id=f"{LANDED}{said.event_id}/{digest}")


def _said(row: Mapping[str, Any]) -> Any:
    return msgspec.to_builtins(
        {name: value for name, value in row.items() if value is not None and name != RECEIVED_AT}
    )
