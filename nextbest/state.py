"""State: what the next decision must know of what happened, kept online and rebuilt from the log when lost.

Belongs here: what any State promises, and what a record of the log does to it (`effects`: pure, and the same for every
adapter). Does not belong here: storage (`nextbest.adapters`), or counting under caps (`nextbest.reservations`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal, Protocol

import msgspec

from nextbest import records
from nextbest.envelope import Envelope, Identifier, is_landed
from nextbest.errors import NextbestError
from nextbest.identity import LINK, UNLINK, NamesTied, Tie
from nextbest.messages import Grant, Proposal
from nextbest.moments import to_microseconds
from nextbest.projection import ProjectionStore
from nextbest.records import Arm, Contact, Interaction, Signal, Snapshot


class StateUnavailableError(NextbestError):
    """State could not be read or changed; nothing of the call took effect that repeating it would not repeat."""


class StateBehindError(StateUnavailableError):
    """State has not caught up with the log yet: it is new, was lost, or is being rebuilt, and knows less than was said.

    Whoever decided by it would forget opt-outs, pauses and caps.
    """

    def __init__(self) -> None:
        super().__init__("State is being rebuilt from the event log; `nextbest log status` says how far it is")


class SnapshotScope(msgspec.Struct, frozen=True):
    """What a snapshot is to hold: contacts and interactions that count after a moment, and the usage of counters."""

    contacts_since: datetime
    interactions_since: datetime
    counters: tuple[str, ...] = ()
    now: datetime | None = None
    """The moment of the decision it is for: what has expired by then may be given back already."""
    signals: tuple[tuple[str, str], ...] = ()
    """External signals by name and key, each once."""


class State(ProjectionStore, Protocol):
    """Every call is idempotent and atomic, whatever the number of processes.

    Offsets are of one log, and so are kept by its id (`nextbest.log`). A call given a `log_id` to rest on raises
    `StateBehindError` where State has never caught up with that log.
    """

    async def customer_of(self, identifiers: Sequence[Identifier]) -> str | None:
        """The customer that the first known one of `identifiers` belongs to; where none is, the first is a new one."""
        ...

    async def members(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """By each of `names`, all names of its customer (`nextbest.identity`), the customer's own first."""
        ...

    async def neighbours(self, names: Sequence[str]) -> set[str]:
        """Every name that one of these was ever said to be one with, or not to be."""
        ...

    async def snapshot(self, customer_id: str | None, scope: SnapshotScope, log_id: str = "") -> Snapshot:
        """What is known of the customer of this name, as far as `scope` asks; for nobody only pauses and usage.

        One round trip. It is the union of what is known under each of the customer's names: the stricter consent and
        the earliest arm hold. All that is under one name is of one moment; what a cap rests on is read again when it is
        reserved.
        """
        ...

    async def reserve(self, proposal: Proposal, now: datetime, log_id: str = "") -> Grant:
        """Grant each slot the first candidate whose caps and limits all have room, counting what is granted at once.

        Whatever has expired by `now` is given back first, and for good: a clock that is set back cannot bring it to
        life beside what took its place. The customer's arms in the record are kept where there are none yet.

        The same decision reserved again is tested without what it holds, and holds that too until the log says which of
        its tries became the decision: so the same contact counts once, and nothing is exceeded whichever it was.
        """
        ...

    async def commit(self, decision_id: str, slot: int, event_id: str, impressed_at: datetime) -> None:
        """The contact was seen, not before it was decided.

        An impression after the reservation was given back counts too, and is an overrun.
        """
        ...

    async def release(self, decision_id: str, slot: int) -> None:
        """Give an unseen contact back before it expires: the decision did not take place."""
        ...

    async def apply(
        self,
        records: Sequence[Envelope],
        offset: int | None,
        log_id: str = "",
        *,
        after: int | None = None,
        is_end: bool = False,
    ) -> None:
        """Bring the effects of `records` into State, together with `offset`, the position after them in the log.

        What is not above the offset kept is ignored. With `offset` none the effects come ahead of the log's tail, so
        that they bind at once; applying the records again in their turn changes nothing.

        Args:
            records: In the log's order.
            offset: Of the last of them.
            log_id: The log's.
            after: The offset they were read after: where State is not that far, since it was emptied meanwhile, all of
                the call is ignored.
            is_end: They were the last of the log: from now on State has caught up with it.

        """
        ...

    async def overruns(self) -> int:
        """How many impressions came after their reservation had been given back."""
        ...

    async def forget_before(self, contacts: datetime, interactions: datetime) -> None:
        """Forget contacts that count under no cap after the one moment, and interactions up to the other.

        What contacts took of counters over all customers stays taken, also when the log is applied once more. It is
        done in small steps, between which others come in; where it is interrupted, the next time finishes it.
        """
        ...

    async def rewind(self, log_id: str = "") -> None:
        """Forget how far the log was applied, for it is an older copy; what is applied twice changes nothing."""
        ...

    async def applied_offset(self, log_id: str = "") -> int:
        """The log's position up to which records are in State; 0 at first."""
        ...

    async def is_caught_up(self, log_id: str = "") -> bool:
        """Whether State has once been brought to the log's end, and not been emptied since."""
        ...

    async def clear(self) -> None:
        """Forget in one step all that a log says, and how far it was applied, so that it can be applied from nothing.

        The policy, the model set and the count of overruns stay: they are not in the log.
        """
        ...

    async def publish_policy(self, policy_hash: str) -> None: ...

    async def current_policy(self) -> str | None: ...

    async def publish_model_set(self, model_set_id: str) -> None: ...

    async def current_model_set(self) -> str | None: ...


class DecisionMade(msgspec.Struct, frozen=True, kw_only=True):
    """The decision took place: its contacts count, and nothing else that was reserved for it and not seen."""

    decision_id: str
    customer_id: str | None
    at: datetime
    contacts: tuple[Contact, ...]
    arms: tuple[Arm, ...]
    """The sides of experiments the customer was on; of two in one experiment the earlier holds."""


class ConsentChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The customer said yes or no; the latest word holds, and of two at the same moment the stricter."""

    customer_id: str
    purpose: str
    status: Literal["granted", "withdrawn"]
    at: datetime


class ActionSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An impression: of the slot named, or of the decision's first unseen slot that holds the action."""

    decision_id: str
    event_id: str
    slot: int | None
    action: str | None
    at: datetime


class CustomerInteracted(msgspec.Struct, frozen=True, kw_only=True):
    """The customer did something that contact rules may count, be it about an action or not."""

    event_id: str
    customer_id: str
    interaction: Interaction


class ActionSwitched(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch of an action was used; the latest use holds."""

    action: str
    is_paused: bool
    at: datetime


class CustomerErased(msgspec.Struct, frozen=True, kw_only=True):
    """The customer is forgotten: what was said before, by them or about them, holds no more.

    What their contacts took of volumes and budgets stays taken where they were seen, and held where they may be yet.
    """

    names: tuple[str, ...]
    """All that the customer went by."""


class SignalSaid(msgspec.Struct, frozen=True, kw_only=True):
    """Something of the world outside; the latest word holds, and of two at the same moment `signals.rank` decides."""

    signal: Signal
    occurred_at: datetime
    """By the clock of whoever said it, which may be ahead."""


Effect = (
    DecisionMade
    | ConsentChanged
    | NamesTied
    | ActionSeen
    | CustomerInteracted
    | ActionSwitched
    | SignalSaid
    | CustomerErased
)


def horizon(proposal: Proposal, now: datetime) -> datetime:
    """The moment before which no contact counts under any cap of `proposal`."""
    members = (bounds for placement in proposal.placements for bounds in placement.caps.values())
    windows = (bound.cap.window_seconds for bounds in members for bound in bounds)
    return now - timedelta(seconds=max(windows, default=0))


def effects(record: Envelope) -> tuple[Effect, ...]:
    """What `record` does to State; most records do nothing.

    Raises:
        msgspec.DecodeError: its properties are not what its type asks for; the message names the field.

    """
    effect_of = _EFFECTS.get(record.type)
    effect = effect_of(record) if effect_of else None
    return () if effect is None else (effect,)


class _Decision(msgspec.Struct):
    slot: int
    record: str


class _Consent(msgspec.Struct):
    customer_id: str
    purpose: str
    status: Literal["granted", "withdrawn"]


class _Identity(msgspec.Struct):
    kind: str
    identifier_hmac: str
    customer_id: str


class _Signal(msgspec.Struct):
    signal: str
    key: str
    value: float | None = None
    text: str | None = None
    expires_at: datetime | None = None


class _Interaction(msgspec.Struct):
    customer_id: str | None = None
    type: str | None = None
    kind: str | None = None


class _Link(msgspec.Struct):
    customer_id: str
    other_id: str


class _Erasure(msgspec.Struct):
    customer_id: str
    names: tuple[str, ...] = ()


class _Impression(msgspec.Struct):
    decision_id: str | None = None
    action: str | None = None


def _decision(record: Envelope) -> Effect | None:
    """A decision is logged by slot, each with the whole record: the first speaks for all."""
    row = msgspec.convert(record.properties, _Decision)
    if row.slot != 0:
        return None
    made = records.decode(row.record)
    return DecisionMade(
        decision_id=made.decision_id,
        customer_id=made.customer_id,
        at=made.occurred_at,
        contacts=records.contacts_of(made),
        arms=made.arms if made.mode == "live" else (),
    )


def _consent(record: Envelope) -> Effect:
    row = msgspec.convert(record.properties, _Consent)
    return ConsentChanged(customer_id=row.customer_id, purpose=row.purpose, status=row.status, at=record.moment)


def _identity(record: Envelope) -> Effect:
    row = msgspec.convert(record.properties, _Identity)
    moment = _microseconds(record)
    tie = Tie(landed=moment) if is_landed(record) else Tie(joined=moment)
    return NamesTied(one=f"{row.kind}:{row.identifier_hmac}", other=row.customer_id, tie=tie)


def _link(record: Envelope) -> Effect | None:
    row = msgspec.convert(record.properties, _Link)
    if row.customer_id == row.other_id:
        return None
    moment = _microseconds(record)
    tie = Tie(split=moment) if record.type == UNLINK else Tie(joined=moment)
    return NamesTied(one=row.customer_id, other=row.other_id, tie=tie)


def _signal(record: Envelope) -> Effect:
    row = msgspec.convert(record.properties, _Signal)
    said = Signal(**msgspec.structs.asdict(row), at=record.moment)
    return SignalSaid(signal=said, occurred_at=record.occurred_at)


def _impression(record: Envelope) -> Effect | None:
    row = msgspec.convert(record.properties, _Impression)
    decision_id = record.decision_id or row.decision_id
    if decision_id is None:
        return None
    return ActionSeen(
        decision_id=decision_id,
        event_id=record.event_id,
        slot=record.slot,
        action=record.action or row.action,
        at=record.occurred_at,
    )


def _interaction(record: Envelope) -> Effect | None:
    """An event has a type, an outcome a kind; what is about no customer counts for nobody."""
    row = msgspec.convert(record.properties, _Interaction)
    kind = row.type or row.kind
    if kind is None or row.customer_id is None:
        return None
    done = Interaction(kind=kind, at=record.moment, action=record.action, channel=record.channel)
    return CustomerInteracted(event_id=record.event_id, customer_id=row.customer_id, interaction=done)


def _switch(record: Envelope) -> Effect:
    if record.action is None:
        raise msgspec.ValidationError(f"a {record.type} names the action it is about")
    return ActionSwitched(action=record.action, is_paused=record.type == "pause", at=record.moment)


def _erasure(record: Envelope) -> Effect:
    row = msgspec.convert(record.properties, _Erasure)
    return CustomerErased(names=tuple(dict.fromkeys((row.customer_id, *row.names))))


def _microseconds(record: Envelope) -> int:
    """The moment of a tie: above 0, which is never."""
    return max(to_microseconds(record.moment), 1)


_EFFECTS = MappingProxyType(
    {
        "decision": _decision,
        "consent": _consent,
        "identity": _identity,
        LINK: _link,
        UNLINK: _link,
        "signal": _signal,
        "impression": _impression,
        "event": _interaction,
        "outcome": _interaction,
        "pause": _switch,
        "resume": _switch,
        "erasure": _erasure,
    }
)
