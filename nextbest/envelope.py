"""The one envelope of everything in the event log: events, decisions, impressions, outcomes, consents, signals, pauses.

Belongs here: the envelope's fields and its JSON form. Does not belong here: what a `type` means (the event processor),
the columns of `properties` (the contract it names), or where envelopes are kept (`nextbest.log`).
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Source = Literal["live", "import", "simulated"]


class Identifier(msgspec.Struct, frozen=True, order=True):
    """One name a customer goes by, pseudonymous: `hmac` is the keyed hash of the real one."""

    kind: str
    hmac: str


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the event log. `event_id` makes it count once; order holds per `partition_key`."""

    event_id: str
    type: str
    contract: str
    contract_version: str
    source: Source
    occurred_at: datetime
    received_at: datetime
    sent_at: datetime | None = None
    identifiers: tuple[Identifier, ...] = ()
    partition_key: str
    decision_id: str | None = None
    slot: int | None = None
    channel: str | None = None
    action: str | None = None
    treatment: str | None = None
    value: float | None = None
    currency: str | None = None
    learning: bool | None = None
    purpose: str | None = None
    properties: dict[str, Any] = {}
    pii_ciphertext: str | None = None
    subject_key_id: str | None = None

    @property
    def moment(self) -> datetime:
        """When what it says holds from: never later than it came, or nothing said after could overrule it."""
        return min(self.occurred_at, self.received_at)


LANDED = "landing/"
"""How the id of a record begins that came out of the landing."""

UNREADABLE = "unreadable"
"""The type of what stands in the place of a record that cannot be decoded."""
NOT_ENVELOPES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `decode` raises: bytes may be no JSON, no UTF-8, or nest without end."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """The envelope as JSON; times are ISO 8601 in UTC."""
    return _encoder.encode(envelope)


def decode(data: bytes | str) -> Envelope:
    """The envelope in `data`.

    Raises:
        NOT_ENVELOPES: not an envelope; the message of a `msgspec.ValidationError` names the field.

    """
    return _decoder.decode(data)


def unreadable(event_id: str, contract: str, day: str) -> Envelope:
    """What stands for a record that cannot be decoded, so that those after it can be read; it says nothing."""
    arrived = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return Envelope(
        event_id=event_id,
        type=UNREADABLE,
        contract=contract,
        contract_version="",
        source="live",
        occurred_at=arrived,
        received_at=arrived,
        partition_key="",
    )


def partition_key(identifiers: Sequence[Identifier], otherwise: str) -> str:
    """The key that keeps a customer's events in order: the first identifier, or `otherwise` where there is none."""
    return f"{identifiers[0].kind}:{identifiers[0].hmac}" if identifiers else otherwise


def nameless(key: str) -> str:
    """What stands in an event id for a key that names customers, since the id outlasts their erasure."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def is_landed(record: Envelope) -> bool:
    """Whether a record came out of the landing, and so must not go there again."""
    return record.event_id.startswith(LANDED)
