"""Caps: counting contacts and granting the first available candidates of a proposal.

Belongs here: the arithmetic that every State adapter runs inside its own atomic step, so that all count alike. Does not
belong here: transactions and storage (`nextbest.state` and its adapters), or which caps apply (`nextbest.policy`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from nextbest.messages import Cap, Grant, Option, PlacementProposal, Proposal, Scope, SlotGrant
from nextbest.records import DO_NOTHING, Contact


class Tally:
    """A customer's contacts, counted under caps as of `now`.

    A decision takes no room from itself: the contacts of `deciding`, made by an earlier try of it, do not count.
    """

    def __init__(self, contacts: Iterable[Contact], now: datetime, deciding: str | None = None) -> None:
        self._now = now
        self._members: defaultdict[tuple[Scope, str], list[Contact]] = defaultdict(list)
        self._usage: dict[Cap, int] = {}
        for contact in contacts:
            if contact.decision_id != deciding:
                self.add(contact)

    def add(self, contact: Contact) -> None:
        """Count one more contact."""
        self._usage.clear()
        self._members["action", contact.action].append(contact)
        self._members["group", contact.group].append(contact)
        self._members["channel", contact.channel].append(contact)
        self._members["all", ""].append(contact)

    def usage(self, cap: Cap) -> int:
        """How many contacts count under `cap`.

        A cap on decisions counts each from the moment it is made. A cap on impressions counts what was seen, and what
        may still be seen because its reservation has not expired.
        """
        used = self._usage.get(cap)
        if used is None:
            members = self._members.get((cap.scope, cap.member))
            used = self._usage[cap] = self._count(members, cap) if members else 0
        return used

    def has_room(self, cap: Cap) -> bool:
        """Whether one more contact stays within `cap`."""
        return self.usage(cap) < cap.limit

    def _count(self, contacts: Sequence[Contact], cap: Cap) -> int:
        since = self._now - timedelta(seconds=cap.window_seconds)
        if cap.count == "decision":
            return sum(contact.decided_at > since for contact in contacts)
        return sum(c.impressed_at > since if c.impressed_at else c.expires_at > self._now for c in contacts)


def reserve(proposal: Proposal, contacts: Sequence[Contact], now: datetime) -> tuple[Grant, tuple[Contact, ...]]:
    """Grant each slot the first available option in the order drawn.

    Args:
        proposal: What the engine proposes.
        contacts: Every contact of the customer inside the longest window, read in the same atomic step.
        now: The time of the reservation.

    Returns:
        The grant, and the new contacts that the same atomic step must store for it.

    """
    tally = Tally(contacts, now, proposal.record.decision_id)
    granted: dict[str, tuple[SlotGrant, ...]] = {}
    taken: set[str] = set()
    new: list[Contact] = []
    slot = 0
    for placement in proposal.placements:
        if not proposal.dedup:
            taken = set()
        slots: list[SlotGrant] = []
        while len(slots) < placement.slots:
            available = tuple(_available(option, taken, tally) for option in placement.order)
            option = next((o for o, free in zip(placement.order, available, strict=True) if free), None)
            if option is None:
                break
            contact = _contact(proposal, placement, option, slot, now)
            slots.append(_grant(option, contact, available, slot=slot, reserved=proposal.reserves))
            slot += 1
            if option.action == DO_NOTHING:
                break
            taken.add(option.action)
            new.append(contact)
            tally.add(contact)
        granted[placement.id] = tuple(slots)
    return Grant(granted), tuple(new) if proposal.reserves else ()


def _available(option: Option, taken: set[str], tally: Tally) -> bool:
    """Whether the decision has not taken the action already, and every cap has room for it."""
    return option.action not in taken and all(map(tally.has_room, option.caps))


def _contact(proposal: Proposal, placement: PlacementProposal, option: Option, slot: int, now: datetime) -> Contact:
    return Contact(
        decision_id=proposal.record.decision_id,
        slot=slot,
        action=option.action,
        group=option.group,
        channel=placement.channel,
        decided_at=now,
        expires_at=now + timedelta(seconds=proposal.ttl_seconds),
    )


def _grant(option: Option, contact: Contact, available: tuple[bool, ...], *, slot: int, reserved: bool) -> SlotGrant:
    held = reserved and option.action != DO_NOTHING
    return SlotGrant(
        slot=slot,
        key=option.key,
        available=available,
        reservation_id=f"{contact.decision_id}/{slot}" if held else None,
        expires_at=contact.expires_at if held else None,
    )
