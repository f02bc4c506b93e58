"""The envelope of the log: what is written is what is read."""

from datetime import UTC, datetime

import msgspec
import pytest

from nextbest.envelope import Envelope, Identifier, decode, encode, partition_key

AT = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)


def test_round_trip() -> None:
    """Every field comes back, times to the microsecond, numbers to the bit."""
    envelope = Envelope(
        event_id="e1",
        type="outcome",
        contract="outcomes",
        contract_version="1.0.0",
        source="simulated",
        occurred_at=AT,
        received_at=AT,
        sent_at=AT,
        identifiers=(Identifier("email", "ab" * 32),),
        partition_key="email:ab",
        decision_id="d1",
        slot=0,
        channel="web",
        action="beef",
        treatment="beef_home",
        value=0.1 + 0.2,
        currency="USD",
        learning=True,
        purpose="marketing",
        properties={"kind": "redemption", "value": None},
        pii_ciphertext="…",
        subject_key_id="k1",
    )
    assert decode(encode(envelope)) == envelope


def test_what_is_no_envelope_is_named() -> None:
    """An envelope without its key, or with a source that does not exist, is refused with the field's name."""
    with pytest.raises(msgspec.ValidationError, match="event_id"):
        decode(b'{"type": "event"}')
    with pytest.raises(msgspec.ValidationError, match=r"\$\.source"):
        decode(b'{"event_id": "e", "type": "t", "contract": "c", "contract_version": "1", "source": "rumour"}')


def test_partition_key_is_the_first_identifier() -> None:
    """A customer's events keep their order under one key."""
    both = (Identifier("user_id", "1"), Identifier("device", "2"))
    assert partition_key(both, "e1") == "user_id:1"
    assert partition_key((), "e1") == "e1"
