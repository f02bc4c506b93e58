"""Caps: counting contacts and granting the first available candidates of a proposal.

Belongs here: the arithmetic that every State adapter runs inside its own atomic step, so that all count alike. Does not
belong here: transactions and storage (`nextbest.state` and its adapters), or which caps apply (`nextbest.policy`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache

from nextbest.messages import Cap, Grant, Option, PlacementProposal, Proposal, SlotGrant
from nextbest.records import DO_NOTHING, Contact


def usage(cap: Cap, contacts: Iterable[Contact], now: datetime) -> int:
    """How many of `contacts` count under `cap` at `now`.

    A cap on decisions counts each from the moment it is made. A cap on impressions counts what was seen, and what may
    still be seen because its reservation has not expired.
    """
    since = now - timedelta(seconds=cap.window_seconds)
    return sum(
        1
        for contact in contacts
        if (cap.scope == "all" or getattr(contact, cap.scope) == cap.member)
        and _counts(contact, cap, since=since, now=now)
    )


def _counts(contact: Contact, cap: Cap, *, since: datetime, now: datetime) -> bool:
    if cap.count == "decision":
        return contact.decided_at > since
    if contact.impressed_at is not None:
        return contact.impressed_at > since
    return contact.expires_at > now


def reserve(proposal: Proposal, contacts: Sequence[Contact], now: datetime) -> tuple[Grant, tuple[Contact, ...]]:
    """Grant each slot the first available option in the order drawn.

    Args:
        proposal: What the engine proposes.
        contacts: Every contact of the customer inside the longest window, read in the same atomic step.
        now: The time of the reservation.

    Returns:
        The grant, and the new contacts that the same atomic step must store for it.

    """
    granted: dict[str, tuple[SlotGrant, ...]] = {}
    taken: set[str] = set()
    new: list[Contact] = []
    slot = 0
    for placement in proposal.placements:
        if not proposal.dedup:
            taken = set()
        slots: list[SlotGrant] = []
        while len(slots) < placement.slots:
            available = _available(placement.order, taken, [*contacts, *new], now)
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
        granted[placement.id] = tuple(slots)
    return Grant(granted), tuple(new) if proposal.reserves else ()


def _available(
    order: Sequence[Option], taken: set[str], contacts: Sequence[Contact], now: datetime
) -> tuple[bool, ...]:
    """Who may have one more contact: not taken by this decision already, and every cap has room."""
    has_room = cache(lambda cap: usage(cap, contacts, now) < cap.limit)
    return tuple(option.action not in taken and all(map(has_room, option.caps)) for option in order)


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
