"""What is known of a customer who goes by several names: the union of what is known under each.

Belongs here: which of several words holds, whatever their order. Does not belong here: whose names they are
(`nextbest.identity`), contacts (`nextbest.ledger`: they only add), or reading any of it.
"""

from collections.abc import Iterable
from typing import Literal

from nextbest.identity import by_importance
from nextbest.records import Arm, Interaction

Status = Literal["granted", "withdrawn"]


def strictest(said: Iterable[tuple[str, Status]]) -> dict[str, Status]:
    """By purpose what holds of what was said under each name: a no, if there is one."""
    held: dict[str, Status] = {}
    for purpose, status in sorted(said):
        held[purpose] = "withdrawn" if "withdrawn" in {status, held.get(purpose)} else status
    return held


def earliest(kept: Iterable[tuple[int, Arm]]) -> tuple[Arm, ...]:
    """The arm of each experiment that the customer was put on first; with each the moment."""
    held: dict[str, Arm] = {}
    for _, arm in sorted(kept, key=lambda each: (each[0], each[1].arm)):
        held.setdefault(arm.experiment, arm)
    return tuple(held[experiment] for experiment in sorted(held))


def in_order(done: Iterable[Interaction]) -> tuple[Interaction, ...]:
    """Interactions as they happened; of those at one moment no order is known."""
    return tuple(sorted(done, key=lambda each: (each.at, each.kind, each.action or "", each.channel or "")))


def names_in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names of a customer, its own first."""
    return tuple(sorted(names, key=by_importance))
