"""What the three calls of a decision hand to one another: request, profile, proposal, grant.

Belongs here: the types that cross between the engine, State and serving. Does not belong here: what is kept of them
afterwards (`nextbest.records`), or any computing (`nextbest.decision`, `nextbest.reservations`).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Literal

import msgspec

from nextbest.arbitration import Exploration
from nextbest.envelope import Identifier
from nextbest.records import Attribute, DecisionRecord, Mode, Options

Count = Literal["decision", "impression"]
Scope = Literal["action", "group", "channel", "all"]
Period = Literal["day", "week", "month", "total"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what. Identities are resolved before: `customer_id` is none for somebody nobody knows."""

    decision_id: str
    request_id: str
    customer_id: str | None
    placements: tuple[str, ...]
    identifiers: tuple[Identifier, ...] = ()
    context: dict[str, Attribute] = {}
    options: Options = Options()
    trigger: str = "request"
    mode: Mode = "live"
    shadow: str = ""
    """The shadow policy that is to decide, in mode `shadow`."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The customer's online features by name, as read; a missing or null one takes its declared default."""

    features: dict[str, Attribute | None] = {}
    unavailable: str = ""
    """Why there are none, where that is so: `unknown_customer`, `features_unavailable`, …"""
    is_live_only: bool = False
    """Whether nothing was copied from the warehouse, as of a visitor whom no batch has seen yet."""


class Cap(msgspec.Struct, frozen=True):
    """One counter a candidate must pass: fewer than `limit` contacts with `member` of `scope` in the sliding window.

    Scope `all` has no members: its `member` is empty. The member need not be the candidate's own: an action that
    another one excludes has a cap on that other one.
    """

    rule: str
    scope: Scope
    member: str
    count: str
    limit: int
    window_seconds: int


class Limit(msgspec.Struct, frozen=True):
    """One counter over all customers: what was seen and what is reserved, plus `amount`, stay within `most`.

    A volume counts contacts, a budget millionths of the policy's currency. A counter without `most` only counts.
    """

    name: str
    per: Period
    amount: int
    most: int | None
    is_money: bool = False

    def counter(self, now: datetime) -> str:
        """The name of the counter of the period that holds `now`, in UTC."""
        return f"{self.name}@{_period(self.per, now.toordinal())}"


@lru_cache(maxsize=64)  # writing a date takes ten times as long as looking it up
def _period(per: Period, day: int) -> str:
    """The name of the period that holds a day, given as its ordinal."""
    match per:
        case "day":
            return f"{date.fromordinal(day):%Y-%m-%d}"
        case "week":
            return f"{date.fromordinal(day):%G-W%V}"
        case "month":
            return f"{date.fromordinal(day):%Y-%m}"
        case "total":
            return "total"


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that may be chosen. `do_nothing` is bound by nothing: it is always available."""

    key: str
    action: str
    treatment: str
    group: str
    limits: tuple[Limit, ...] = ()


class Bound(msgspec.Struct, frozen=True):
    """A cap, and the keys of the options that must pass it."""

    cap: Cap
    keys: frozenset[str]


Caps = Mapping[tuple[Scope, str], Sequence[Bound]]
"""Caps by the member whose contacts they count: those without contacts need no look."""


class Again(msgspec.Struct, frozen=True):
    """How a slot is drawn once slots before it have taken actions: by the same rule, among what is left."""

    exploration: Exploration
    priorities: tuple[float, ...]
    """Along the order of the placement."""
    key: tuple[str | int, ...]
    """Of the hash that is the draw."""


class PlacementProposal(msgspec.Struct, frozen=True, kw_only=True):
    """For one placement the candidates in the order drawn, each with its mass in the pmf.

    The first `ahead` of them are mandatory: they come before the draw, and the pmf is that of the others.
    """

    id: str
    channel: str
    slots: int
    order: tuple[Option, ...]
    pmf: tuple[float, ...]
    ahead: int = 0
    caps: Caps = {}
    again: Again | None = None
    """None where the order holds for every slot: there is but one, or the strategy is Thompson's."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` proposes, to be tested against caps by `State.reserve` and turned into a decision by `settle`."""

    record: DecisionRecord
    placements: tuple[PlacementProposal, ...]
    dedup: bool
    reserves: bool
    """Whether granted slots count under caps: not in a dry run, in shadow, or when the request says so."""
    ttl_seconds: int
    """How long a reservation holds without an impression."""


class SlotGrant(msgspec.Struct, frozen=True, kw_only=True):
    """The option of a slot and, along the proposal's order, the mask of what was available when it was chosen."""

    slot: int
    key: str
    available: tuple[bool, ...]
    reservation_id: str | None = None
    expires_at: datetime | None = None
    takes: dict[str, int] = {}
    """By counter over all customers, what the contact takes of it."""


class Grant(msgspec.Struct, frozen=True):
    """What State granted: per placement id, its slots. A placement ends where `do_nothing` is drawn."""

    placements: dict[str, tuple[SlotGrant, ...]]
