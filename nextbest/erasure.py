"""Erasure: what is left of a customer in the log, so that it still adds up and nobody can be found in it.

Belongs here: the entry that says so, and what becomes of the customer's earlier entries. Does not belong here: finding
and replacing them (`nextbest.log`, adapters), or what it does to State (`nextbest.state`).
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from nextbest import records
from nextbest.envelope import Envelope
from nextbest.identity import name_of, names_in
from nextbest.intake import IMPRESSION

ERASURE, ERASED = "erasure", "erased"


def erasure(event_id: str, customer_id: str, now: datetime, names: Sequence[str] = ()) -> Envelope:
    """The log's entry: by it the batch plane, and a State that is rebuilt, know whom to forget.

    Args:
        event_id: Of the entry.
        customer_id: Whom.
        now: When.
        names: All that the customer goes by.

    """
    return Envelope(
        event_id=event_id,
        type=ERASURE,
        contract="",
        contract_version="",
        source="live",
        occurred_at=now,
        received_at=now,
        partition_key=customer_id,
        properties={"customer_id": customer_id, "names": [*names]},
    )


def without(entry: Envelope, names: Collection[str]) -> Envelope:
    """What is left of an entry without somebody of these names; the entry itself where it says nothing of them."""
    if entry.type == ERASURE:
        return entry
    is_about = not {entry.partition_key, *names_in(entry)}.isdisjoint(names)
    return without_customer(entry) if is_about else without_others(entry, names)


def without_customer(entry: Envelope) -> Envelope:
    """`entry` with nothing left of whom it was about.

    A decision and its impression still take of volumes and budgets over all customers; of anything else only the id
    is left, so that the same event sent again is not taken in again. No contract has rows of this kind.
    """
    if (record := _record_of(entry)) is not None:
        left = records.encode(_without_customer(record)).decode()
        return _bare(entry, {"slot": entry.properties.get("slot"), "record": left})
    if entry.type == IMPRESSION:
        return _bare(entry, {})
    bare = _bare(entry, {})
    return msgspec.structs.replace(bare, type=ERASED, decision_id=None, slot=None, channel=None, action=None)


def without_others(entry: Envelope, names: Collection[str]) -> Envelope:
    """`entry` about somebody else, with nothing left of `names`: of a decision for whom they were one with then.

    It stays the customer's, with what it took and showed; what it was made from is gone, and no model learns from it.
    """
    record = _record_of(entry)
    if record is None:
        return entry
    identifiers = tuple(each for each in record.identifiers if name_of(each) not in names)
    if identifiers == record.identifiers and not {*record.snapshot.members}.intersection(names):
        return entry
    left = msgspec.structs.replace(_without_knowledge(record), identifiers=identifiers)
    properties = entry.properties | {"record": records.encode(left).decode(), "learning": False}
    return msgspec.structs.replace(entry, learning=False, properties=properties)


def _record_of(entry: Envelope) -> records.DecisionRecord | None:
    """The record of a decision; none of another entry, nor of one that is not well formed: it must hold up nothing."""
    text = entry.properties.get("record")
    if entry.type == "decision" and isinstance(text, str):
        with suppress(msgspec.DecodeError):
            return records.decode(text)
    return None


def is_erased(record: records.DecisionRecord) -> bool:
    """Whether what the decision was made from is gone with its customer."""
    return record.trigger == ERASED


def is_bare(entry: Envelope) -> bool:
    """Whether of what was taken in only the id is left, so that nobody can say what it was."""
    return not entry.contract


def _bare(entry: Envelope, properties: dict[str, object]) -> Envelope:
    return msgspec.structs.replace(
        entry,
        contract="",
        contract_version="",
        sent_at=None,
        identifiers=(),
        partition_key=ERASED,
        treatment=None,
        value=None,
        currency=None,
        purpose=None,
        properties=properties,
        pii_ciphertext=None,
        subject_key_id=None,
    )


def _without_customer(record: records.DecisionRecord) -> records.DecisionRecord:
    return msgspec.structs.replace(
        _without_knowledge(record), customer_id=None, identifiers=(), request_id=record.decision_id, arms=()
    )


def _without_knowledge(record: records.DecisionRecord) -> records.DecisionRecord:
    return msgspec.structs.replace(
        record, trigger=ERASED, context={}, features={}, snapshot=records.Snapshot(), learning=False
    )
