"""Caps and limits: counting what happened and granting the first available candidates of a proposal.

Belongs here: the arithmetic that every State adapter runs inside its own atomic step, so that all count alike. Does not
belong here: transactions and storage (`nextbest.state` and its adapters), or which caps apply (`nextbest.policy`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from nextbest.messages import Bound, Cap, Caps, Grant, Limit, Option, PlacementProposal, Proposal, Scope, SlotGrant
from nextbest.records import DO_NOTHING, Contact, Usage
from nextbest.slates import slot_draw


class Tally:
    """A customer's contacts, counted under caps as of `now`.

    A decision takes no room from itself: the contacts of `deciding`, made by an earlier try of it and not seen, do not
    count.
    """

    def __init__(self, contacts: Iterable[Contact], now: datetime, deciding: str | None = None) -> None:
        self._now = now
        self._since: dict[int, datetime] = {}
        self._members: defaultdict[tuple[Scope, str], list[Contact]] = defaultdict(list)
        for contact in contacts:
            if contact.decision_id != deciding or contact.impressed_at is not None:
                self.add(contact)

    def add(self, contact: Contact) -> None:
        """Count one more contact."""
        self._members["action", contact.action].append(contact)
        self._members["group", contact.group].append(contact)
        self._members["channel", contact.channel].append(contact)
        self._members["all", ""].append(contact)

    def usage(self, cap: Cap) -> int:
        """How many contacts count under `cap`.

        A cap on decisions counts each from the moment it is made. A cap on impressions counts what was seen, and what
        may still be seen because its reservation has not expired.
        """
        members = self._members.get((cap.scope, cap.member))
        return self._count(members, cap) if members else 0

    def full(self, caps: Caps) -> Iterator[Bound]:
        """Those of `caps` that have no room for one more contact."""
        for member in self._members:
            for bound in caps.get(member, ()):
                if self.usage(bound.cap) >= bound.cap.limit:
                    yield bound

    def _count(self, contacts: Sequence[Contact], cap: Cap) -> int:
        since = self._since.get(cap.window_seconds)
        if since is None:
            since = self._since[cap.window_seconds] = self._now - timedelta(seconds=cap.window_seconds)
        if cap.count == "decision":
            return sum([contact.decided_at > since for contact in contacts])
        return sum([c.impressed_at > since if c.impressed_at else c.expires_at > self._now for c in contacts])


class Budgets:
    """What is used of the counters over all customers, as of `now`."""

    def __init__(self, usage: Mapping[str, Usage], now: datetime) -> None:
        self._used = {counter: used.seen + used.held for counter, used in usage.items()}
        self._now = now

    def full(self, limits: Iterable[Limit]) -> Limit | None:
        """The first of `limits` that has no room for what one more contact takes."""
        for limit in limits:
            if limit.most is not None and self._used.get(limit.counter(self._now), 0) + limit.amount > limit.most:
                return limit
        return None

    def take(self, takes: Mapping[str, int]) -> None:
        """Use up what one contact takes, by counter."""
        for counter, amount in takes.items():
            self._used[counter] = self._used.get(counter, 0) + amount


def counters(proposal: Proposal, now: datetime) -> list[str]:
    """The counters over all customers whose usage `reserve` must know."""
    options = (option for placement in proposal.placements for option in placement.order)
    return list(dict.fromkeys(limit.counter(now) for option in options for limit in option.limits))


def reserve(
    proposal: Proposal, contacts: Sequence[Contact], now: datetime, usage: Mapping[str, Usage] | None = None
) -> tuple[Grant, tuple[Contact, ...]]:
    """Grant each slot the first available option in the order drawn for it.

    Args:
        proposal: What the engine proposes.
        contacts: Every contact of the customer inside the longest window, read in the same atomic step.
        now: The time of the reservation.
        usage: What is used of `counters(proposal, now)`, read in the same atomic step, without what the decision itself
            holds from an earlier try.

    Returns:
        The grant, and the new contacts that the same atomic step must store for it.

    """
    tally = Tally(contacts, now, proposal.record.decision_id)
    budgets = Budgets(usage or {}, now)
    granted: dict[str, tuple[SlotGrant, ...]] = {}
    taken: set[str] = set()
    new: list[Contact] = []
    slot = 0
    for placement in proposal.placements:
        if not proposal.dedup:
            taken = set()
        slots: list[SlotGrant] = []
        while len(slots) < placement.slots:
            order = placement.order
            barred = {key for bound in tally.full(placement.caps) for key in bound.keys}
            barred.update([option.key for option in order if option.limits and budgets.full(option.limits)])
            if taken:
                barred.update([option.key for option in order if option.action in taken])
            available = tuple([option.key not in barred for option in order]) if barred else (True,) * len(order)
            draw, _ = slot_draw(placement, taken, len(slots))
            chosen = next((position for position in draw if available[position]), None)
            if chosen is None:
                break
            option = order[chosen]
            contact = _contact(proposal, placement, option, slot, now)
            slots.append(_grant(option, contact, available, reserved=proposal.reserves))
            slot += 1
            if option.action == DO_NOTHING:
                break
            taken.add(option.action)
            new.append(contact)
            tally.add(contact)
            budgets.take(contact.takes)
        granted[placement.id] = tuple(slots)
    return Grant(granted), tuple(new) if proposal.reserves else ()


def _contact(proposal: Proposal, placement: PlacementProposal, option: Option, slot: int, now: datetime) -> Contact:
    return Contact(
        decision_id=proposal.record.decision_id,
        slot=slot,
        action=option.action,
        group=option.group,
        channel=placement.channel,
        decided_at=now,
        expires_at=now + timedelta(seconds=proposal.ttl_seconds),
        takes={limit.counter(now): limit.amount for limit in option.limits},
    )


def _grant(option: Option, contact: Contact, available: tuple[bool, ...], *, reserved: bool) -> SlotGrant:
    held = reserved and option.action != DO_NOTHING
    return SlotGrant(
        slot=contact.slot,
        key=option.key,
        available=available,
        reservation_id=f"{contact.decision_id}/{contact.slot}" if held else None,
        expires_at=contact.expires_at if held else None,
        takes=contact.takes if held else {},
    )
