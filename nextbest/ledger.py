"""The ledger of contacts: what State keeps of each, and what reservations, decisions and impressions write in it.

Belongs here: pure steps over the entries of one decision, and what such a step does to the counters over all customers.
Every State adapter runs them inside its own atomic step, so that all keep the same. Does not belong here: whether there
is room (`nextbest.reservations`), what a record of the log means (`nextbest.state`), or storage (`nextbest.adapters`).

An entry is held (unseen, with time left), given back (unseen, `expires_at` at the epoch) or seen. What a contact takes
of the counters is in `Usage.held`, in neither, or in `Usage.seen` accordingly: the counters follow from the entries.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate

import msgspec

from nextbest.messages import Proposal
from nextbest.records import Contact, Usage
from nextbest.state import ActionSeen, DecisionMade

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""When what was given back has expired: before any clock, so that none that is set back brings it to life."""
NOBODY = ""
"""The customer of contacts that count for no customer, only for what they take of counters over all."""
_WIDEST = 2**53

Key = tuple[str, int, str, str, str, str]
"""What makes two contacts one: decision, slot, action, group, channel and customer; tries of a decision may differ."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A contact, whose it is, the impression that it was seen by, and whether its decision did not take place."""

    contact: Contact
    customer_id: str
    impression_id: str = ""
    is_released: bool = False

    @property
    def key(self) -> Key:
        contact = self.contact
        return (contact.decision_id, contact.slot, contact.action, contact.group, contact.channel, self.customer_id)

    @property
    def is_seen(self) -> bool:
        return self.contact.impressed_at is not None

    @property
    def is_held(self) -> bool:
        return not self.is_seen and self.contact.expires_at > EPOCH

    @property
    def is_given_back(self) -> bool:
        return not self.is_seen and not self.is_held

    @property
    def latest(self) -> datetime:
        """The moment up to which it may count under a cap without a window."""
        return max(self.contact.expires_at, self.contact.decided_at, self.contact.impressed_at or EPOCH)


Entries = Mapping[Key, Entry]
"""The entries of one decision; several tries of it may have left some."""


class Change(msgspec.Struct, frozen=True):
    """What is to be written so that one set of entries becomes another."""

    written: dict[Key, Entry]
    dropped: dict[Key, Entry]
    usage: dict[str, Usage]
    """By counter, what is to be added; less than 0 where it is given back."""


def change(before: Entries, after: Entries) -> Change:
    """The difference of two states of the same decision's entries."""
    written = {key: entry for key, entry in after.items() if before.get(key) != entry}
    dropped = {key: entry for key, entry in before.items() if key not in after}
    usage: defaultdict[str, Usage] = defaultdict(Usage)
    for key in written.keys() | dropped.keys():
        _count(usage, before.get(key), -1)
        _count(usage, after.get(key), 1)
    return Change(written, dropped, {counter: each for counter, each in usage.items() if each != Usage()})


def overruns(before: Entries, after: Entries) -> int:
    """How many were seen after they had been given back."""
    return sum(entry.is_seen and key in before and before[key].is_given_back for key, entry in after.items())


def reserved(entries: Entries, contacts: Sequence[Contact], customer_id: str | None) -> Entries:
    """One more try of the decision holds `contacts`; what earlier tries hold stays, until it is known which it was."""
    return {**entries, **{key: _again(entries.get(key), new) for key, new in _new(contacts, customer_id).items()}}


def made(entries: Entries, decision: DecisionMade, forgotten: datetime = EPOCH) -> Entries:
    """The decision took place: what it holds is its contacts, and what was seen of its other tries.

    A contact that has expired stays so; one that was released, or that is not known, is held. Of what was decided up to
    the moment `forgotten`, one that is not known has lapsed: what it took is counted, and not twice.
    """
    recorded = _new(decision.contacts, decision.customer_id)
    if decision.at <= forgotten:
        recorded = {key: new for key, new in recorded.items() if key in entries}
    seen = {key: entry for key, entry in entries.items() if entry.is_seen}
    return {key: _as_recorded(entries.get(key), new) for key, new in recorded.items()} | seen


def seen(entries: Entries, impression: ActionSeen) -> Entries:
    """One contact was seen: of the slot named, the action's first; or the first that holds the action.

    It is one that is unseen, if there is any; else the earliest impression is the one that counts, in whatever order
    they come. Nothing is seen before it was decided: a channel's clock that is behind must not take a contact out of
    its window.
    """
    if any(entry.impression_id == impression.event_id for entry in entries.values()):
        return entries
    by_slot, action = impression.slot is not None, impression.action
    meant = [
        (entry.is_seen, entry.contact.slot, entry.contact.action != action, not entry.is_held, key)
        for key, entry in entries.items()
        if (entry.contact.slot == impression.slot if by_slot else entry.contact.action == action)
    ]
    if not meant:
        return entries
    key = min(meant)[-1]
    entry, contact = entries[key], entries[key].contact
    at = max(impression.at, contact.decided_at)
    if contact.impressed_at and contact.impressed_at <= at:
        return entries
    contact = msgspec.structs.replace(contact, impressed_at=at, expires_at=at)
    return {**entries, key: msgspec.structs.replace(entry, contact=contact, impression_id=impression.event_id)}


def released(entries: Entries, slot: int) -> Entries:
    """Whatever is unseen in the slot is given back, and counts no more."""
    return {
        key: msgspec.structs.replace(given_back(entry), is_released=True)
        if entry.contact.slot == slot and not entry.is_seen
        else entry
        for key, entry in entries.items()
    }


def given_back(entry: Entry) -> Entry:
    """The entry of a contact that nobody saw in time."""
    return msgspec.structs.replace(entry, contact=msgspec.structs.replace(entry.contact, expires_at=EPOCH))


def forgotten(entries: Entries) -> Entries:
    """The entries of a customer who is forgotten: nobody's, for what they took stays taken, or may be seen yet."""
    nobodys = (msgspec.structs.replace(entry, customer_id=NOBODY) for entry in entries.values())
    return {entry.key: entry for entry in nobodys if entry.contact.takes}


def lapsed(entries: Entries, until: datetime) -> Change:
    """What is to be written so that contacts are forgotten that count under no cap after `until`.

    What they took of counters, where they were seen, stays taken; what was held still is given back.
    """
    gone = {key: entry for key, entry in entries.items() if entry.latest <= until}
    over = {key: given_back(entry) if entry.is_held else entry for key, entry in gone.items()}
    return Change({}, gone, change(gone, over).usage)


def counting(entries: Iterable[Entry], since: datetime) -> tuple[Contact, ...]:
    """The contacts that may count under a cap after `since`, in the order decided."""
    contacts = [entry.contact for entry in entries if entry.latest > since and (entry.is_seen or not entry.is_released)]
    return tuple(sorted(contacts, key=lambda each: (each.decided_at, each.decision_id, each.slot, each.action)))


def holds(entries: Entries) -> dict[str, int]:
    """By counter, what the decision holds."""
    usage: defaultdict[str, Usage] = defaultdict(Usage)
    for entry in entries.values():
        _count(usage, entry, 1)
    return {counter: each.held for counter, each in usage.items() if each.held}


def without(usage: Mapping[str, Usage], held: Mapping[str, int]) -> dict[str, Usage]:
    """The usage of others than a decision that holds `held`: it takes no room from itself."""
    return {counter: Usage(each.seen, each.held - held.get(counter, 0)) for counter, each in usage.items()}


def room(
    proposal: Proposal, contacts: Sequence[Contact], usage: Mapping[str, Usage], now: datetime
) -> dict[str, tuple[int, int]]:
    """By limited counter, the least and the most that may be used of it for the very same grant.

    A grant asks of a limit only whether there is room for an amount beside what earlier slots took. So it stands as
    long as what others use crosses none of these thresholds, however hot the counter is.

    Args:
        proposal: What was proposed.
        contacts: What was granted, in order.
        usage: What others used when it was granted.
        now: The time of the reservation.

    """
    options = [option for placement in proposal.placements for option in placement.order]
    limits = {(limit.counter(now), limit) for option in options for limit in option.limits}
    thresholds: defaultdict[str, set[int]] = defaultdict(set)
    for counter, limit in limits:
        if limit.most is not None:
            taken = accumulate((contact.takes.get(counter, 0) for contact in contacts), initial=0)
            thresholds[counter].update(limit.most - limit.amount - each for each in taken)
    return {counter: _between(each, usage.get(counter, Usage())) for counter, each in thresholds.items()}


def _between(thresholds: Iterable[int], usage: Usage) -> tuple[int, int]:
    used = usage.seen + usage.held
    above = min((each for each in thresholds if used <= each), default=_WIDEST)
    return max((each + 1 for each in thresholds if used > each), default=-_WIDEST), above


def _new(contacts: Iterable[Contact], customer_id: str | None) -> dict[Key, Entry]:
    """Entries of `contacts`; nobody's count under no cap, so those that take nothing are not kept."""
    entries = [Entry(contact=contact, customer_id=customer_id or NOBODY) for contact in contacts]
    return {entry.key: entry for entry in entries if entry.customer_id != NOBODY or entry.contact.takes}


def _again(old: Entry | None, new: Entry) -> Entry:
    """The same contact of another try: whichever of them took place, it holds no less."""
    if old is None or old.is_seen:
        return old or new
    was, now = old.contact, new.contact
    takes = {name: max(each.takes.get(name, 0) for each in (was, now)) for name in {**was.takes, **now.takes}}
    contact = msgspec.structs.replace(
        now,
        decided_at=max(was.decided_at, now.decided_at),
        expires_at=max(was.expires_at, now.expires_at),
        takes=takes if old.is_held else now.takes,
    )
    return msgspec.structs.replace(new, contact=contact)


def _as_recorded(old: Entry | None, new: Entry) -> Entry:
    has_expired = old is not None and old.is_given_back and not old.is_released
    return given_back(new) if has_expired else new


def _count(usage: defaultdict[str, Usage], entry: Entry | None, sign: int) -> None:
    if entry is None:
        return
    for counter, amount in entry.contact.takes.items():
        used = usage[counter]
        if entry.is_seen:
            usage[counter] = Usage(used.seen + sign * amount, used.held)
        elif entry.is_held:
            usage[counter] = Usage(used.seen, used.held + sign * amount)
