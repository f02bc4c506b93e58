"""What Python makes of what State on Redis read, and what it then writes: plans, which do nothing by themselves.

Belongs here: the forms of what is kept there, and turning replies into what is known and steps into writes. Does not
belong here: asking the server (`nextbest.adapters.redis_state`), its scripts (`nextbest.adapters.redis_scripts`),
counting under caps (`nextbest.reservations`), or what becomes of a contact (`nextbest.ledger`).
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, cast

import msgspec

from nextbest import ledger
from nextbest.adapters.redis_messages import Ask, Contacts, Known, Latest, Reply, Writes
from nextbest.adapters.state_effects import Others, Ties, signal_name, steps
from nextbest.identity import NamesTied, Node, Tie
from nextbest.ledger import Change, Entries, Entry
from nextbest.messages import Grant, Proposal
from nextbest.moments import from_microseconds, to_microseconds
from nextbest.records import Arm, Contact, Signal, Usage
from nextbest.reservations import Budgets, reserve
from nextbest.signals import rank
from nextbest.state import (
    ActionSeen,
    ActionSwitched,
    ConsentChanged,
    CustomerErased,
    CustomerInteracted,
    DecisionMade,
    Effect,
    SignalSaid,
    SnapshotScope,
)
from nextbest.unions import Status, earliest, strictest

_EFFECTS_AT_ONCE = 250  # the server does nothing else meanwhile
_encode = msgspec.json.encode
_entry_of = msgspec.json.Decoder(Entry).decode
_arm_of = msgspec.json.Decoder(Arm).decode
_signal_of = msgspec.json.Decoder(Signal).decode
_tie_of = msgspec.json.Decoder(Tie).decode


class Found(NamedTuple):
    """What a reservation rests on."""

    contacts: tuple[Contact, ...]
    """Those of the customer that may count under its caps."""
    arms: tuple[Arm, ...]
    usage: dict[str, Usage]
    versions: list[tuple[str, str]]
    tries: list[Known]
    """The decision's own contacts."""


class Seen(NamedTuple):
    """What a snapshot asked for, and what it found."""

    scope: SnapshotScope
    found: Found


def found_of(reply: Reply, names: Iterable[str], since: datetime) -> Found:
    """What was read; `names` are those of the counters in the order they were asked for."""
    return Found(
        contacts=ledger.counting(kept(reply.contacts), since),
        arms=arms_of(reply),
        usage=usage_of(reply, names),
        versions=versions_of(reply),
        tries=reply.decisions[0] if reply.decisions else [],
    )


def is_enough(seen: Seen, decision_id: str, since: datetime, names: Iterable[str]) -> bool:
    """Whether a snapshot holds all that the decision's reservation rests on.

    What is older than `since` does no harm: no cap counts it. Of the decision's earlier tries it may miss some.
    """
    scope, found = seen
    is_first = all(contact.decision_id != decision_id for contact in found.contacts)
    return is_first and scope.contacts_since <= since and {*scope.counters}.issuperset(names)


def is_short(proposal: Proposal, now: datetime, found: Found) -> bool:
    """Whether some limit, or something that is held still, has run out by `now`."""
    budgets = Budgets(found.usage, now)
    limited = [option.limits for placement in proposal.placements for option in placement.order if option.limits]
    ends = [contact.expires_at for contact in found.contacts if contact.impressed_at is None]
    return any(ledger.EPOCH < end <= now for end in ends) or any(map(budgets.full, limited))


def parts_of(changes: Sequence[Effect]) -> Iterator[Ties | CustomerErased | Others]:
    """Changes by what can be written in one step."""
    for step in steps(changes):
        if isinstance(step, Others):
            for begin in range(0, len(step.effects), _EFFECTS_AT_ONCE):
                yield Others(step.effects[begin : begin + _EFFECTS_AT_ONCE])
        else:
            yield step


def reservation(proposal: Proposal, now: datetime, found: Found, log_id: str = "") -> tuple[Grant, Writes | None]:
    """What is granted, and what must be written for it; nothing where it holds nothing new."""
    record = proposal.record
    earlier = entries_of(found.tries)
    held = ledger.holds(earlier)
    usage = ledger.without(found.usage, held)
    grant, new = reserve(proposal, found.contacts, now, usage)
    arms = _new_arms(proposal, found.arms)
    if not new and not arms:
        return grant, None  # all of it was read in one step
    writes = Writes(
        log_id=log_id,
        versions=found.versions,
        decisions={record.decision_id: found.tries},
        room=[
            (counter, held.get(counter, 0), least, most)
            for counter, (least, most) in ledger.room(proposal, new, usage, now).items()
        ],
        first=[(each.key, each.name, each.text) for each in arms],
    )
    write_change(writes, earlier, ledger.reserved(earlier, new, record.customer_id))
    return grant, writes


def _new_arms(proposal: Proposal, kept: Iterable[Arm]) -> list[Latest]:
    record = proposal.record
    if record.customer_id is None or not proposal.reserves or record.mode != "live":
        return []
    known = {each.experiment for each in kept}
    return _said_arms(
        record.customer_id, [arm for arm in record.arms if arm.experiment not in known], record.occurred_at
    )


def applied(changes: Sequence[Effect], base: Writes, ask: Ask, found: Reply) -> Writes:
    """What effects come to, beside what `base` says of the part of the log they are."""
    known = dict(zip(ask.decisions, found.decisions, strict=True))
    writes = Writes(part=base.part, decisions=known)
    before: dict[str, Entries] = {decision_id: entries_of(each) for decision_id, each in known.items()}
    after = dict(before)
    forgotten = from_microseconds(int(found.forgotten or 0))
    for effect in changes:
        match effect:
            case DecisionMade():
                after[effect.decision_id] = ledger.made(after[effect.decision_id], effect, forgotten)
                if effect.customer_id is not None:
                    writes.latest.extend(_said_arms(effect.customer_id, effect.arms, effect.at))
            case ActionSeen():
                seen = ledger.seen(after[effect.decision_id], effect)
                writes.overruns += ledger.overruns(after[effect.decision_id], seen)
                after[effect.decision_id] = seen
            case CustomerInteracted(interaction=done):
                at = to_microseconds(done.at)
                writes.interactions.append((effect.event_id, effect.customer_id, at, _encode(done).decode()))
            case ConsentChanged() | ActionSwitched() | SignalSaid():
                writes.latest.append(_said(effect))
            case NamesTied() | CustomerErased():
                raise AssertionError("what changes who is one is a step by itself")
    for decision_id, entries in after.items():
        write_change(writes, before[decision_id], entries)
    return writes


def _said(effect: ConsentChanged | ActionSwitched | SignalSaid) -> Latest:
    match effect:
        case ConsentChanged(customer_id=customer_id, purpose=purpose, status=status):
            return _latest(f"consents:{customer_id}", purpose, effect.at, status, rank=status == "withdrawn")
        case ActionSwitched(action=action, is_paused=is_paused):
            return _latest("pauses", action, effect.at, str(int(is_paused)), rank=is_paused)
        case SignalSaid(signal=said, occurred_at=occurred_at):
            text = f"{rank(said, occurred_at)} {_encode(said).decode()}"
            latest = _latest("signals", signal_name((said.signal, said.key)), said.at, text, rank=False)
            return msgspec.structs.replace(latest, is_by_text=True)


def _latest(key: str, name: str, at: datetime, value: str, *, rank: bool) -> Latest:
    moment = to_microseconds(at)
    return Latest(key, name, moment, int(rank), f"{moment} {int(rank)} {value}")


def _said_arms(customer_id: str, arms: Iterable[Arm], at: datetime) -> list[Latest]:
    """The earliest holds: moments count down."""
    moment = -to_microseconds(at)
    return [
        Latest(f"arms:{customer_id}", arm.experiment, moment, 0, f"{moment} 0 {_encode(arm).decode()}") for arm in arms
    ]


def write_change(writes: Writes, before: Entries, after: Entries) -> None:
    """Add to `writes` what makes the one set of entries of the other."""
    write_down(writes, ledger.change(before, after))


def write_down(writes: Writes, change: Change) -> None:
    """Add a change to `writes`."""
    for key, entry in change.written.items():
        expiry = to_microseconds(entry.contact.expires_at) if entry.is_held else 0
        latest = to_microseconds(entry.latest)
        text = _encode(entry).decode()
        writes.put.append((_id(key), text, entry.contact.decision_id, entry.customer_id, latest, expiry))
    for key, entry in change.dropped.items():
        writes.drop.append((_id(key), entry.contact.decision_id, entry.customer_id))
    writes.usage.extend((counter, use.seen, use.held) for counter, use in change.usage.items())


def is_lapsed(text: str, until: datetime) -> bool:
    """Whether the entry of a contact counts under no cap after a moment."""
    return _entry_of(text).latest <= until


def lapsed(decisions: Sequence[str], until: datetime, found: Reply) -> tuple[None, Writes]:
    """What is written so that contacts of decisions are forgotten that count under no cap after a moment."""
    writes = Writes(decisions=dict(zip(decisions, found.decisions, strict=True)))
    for known in found.decisions:
        write_down(writes, ledger.lapsed(entries_of(known), until))
    return None, writes


def entries_of(known: Iterable[Known]) -> dict[ledger.Key, Entry]:
    """The entries of a decision, as they are now."""
    entries = [_entry(text, is_held=bool(is_held)) for _, text, is_held in known]
    return {entry.key: entry for entry in entries}


def kept(contacts: Contacts) -> list[Entry]:
    """The entries of a customer, as they are now."""
    held = {*contacts.held}
    return [_entry(text, is_held=id_ in held) for id_, text in zip(contacts.ids, contacts.texts, strict=True)]


def _entry(text: str, *, is_held: bool) -> Entry:
    """One that is held no more has expired, whatever its text says."""
    entry = _entry_of(text)
    return entry if is_held or entry.is_seen else ledger.given_back(entry)


def usage_of(found: Reply, names: Iterable[str]) -> dict[str, Usage]:
    """By counter what is used of it; `names` in the order they were asked for."""
    rows = zip(names, found.seen, found.held, strict=True)
    usage = {name: Usage(int(seen or 0), int(held or 0)) for name, seen, held in rows}
    return {name: each for name, each in usage.items() if each != Usage()}


def arms_of(found: Reply) -> tuple[Arm, ...]:
    """The arms that are kept, of all names of the customer."""
    return earliest((-_moment_of(text), _arm_of(value_of(text))) for arms in found.arms for text in arms[1::2])


def consents_of(found: Reply) -> dict[str, Status]:
    """What was said, of all names of the customer."""
    said = [each for consents in found.consents for each in values_of(consents).items()]
    return strictest(cast("list[tuple[str, Status]]", said))


def versions_of(found: Reply) -> list[tuple[str, str]]:
    """By name of the customer's how often it was changed."""
    return [(name, version or "0") for name, version in zip(found.names, found.versions, strict=True)]


def node_of(ties: Sequence[str], group: Sequence[str]) -> Node:
    """What is kept of a name."""
    said = zip(ties[::2], ties[1::2], strict=True)
    return Node(ties={end: _tie_of(text) for end, text in said}, group=tuple(group))


def tie_of(text: str | None) -> Tie:
    """What is kept of a tie."""
    return Tie() if text is None else _tie_of(text)


def tied(said: Iterable[tuple[NamesTied, Tie]], base: Writes) -> Writes:
    """What is to be written of ties beside what `base` says; by each one what was said of it before."""
    written = [(each.one, each.other, _encode(kept | each.tie).decode()) for each, kept in said]
    ties = [row for one, other, tie in written for row in ((one, other, tie), (other, one, tie))]
    return msgspec.structs.replace(base, ties=ties)


def signals_of(found: Reply) -> tuple[Signal, ...]:
    """The signals that were asked for and are there, by name and key."""
    said = [_signal_of(value_of(text).partition(" ")[2]) for text in found.signals if text is not None]
    return tuple(sorted(said, key=lambda each: (each.signal, each.key)))


def values_of(flat: Sequence[str]) -> dict[str, str]:
    """What a hash says by name, from its names and texts in turn."""
    return {name: value_of(text) for name, text in zip(flat[::2], flat[1::2], strict=True)}


def _moment_of(text: str) -> int:
    return int(text.split(" ", 1)[0])


def value_of(text: str) -> str:
    """What was said, without moment and rank."""
    return text.split(" ", 2)[2]


def _id(key: ledger.Key) -> str:
    return _encode(key).decode()


def decision_of(id_: str) -> str:
    """The decision of a contact, from the contact's id."""
    return str(msgspec.json.decode(id_)[0])


def later_than(moment: datetime) -> str:
    """The bound of a range that begins after `moment`."""
    return f"({to_microseconds(moment)}"
