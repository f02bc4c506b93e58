"""Contact rules beyond caps on contacts: what the customer's own doing stops, and for how long.

Belongs here: counting interactions, suppressions, sequences and quiet hours. Does not belong here: contacts under caps
(`nextbest.reservations`, whose arithmetic State shares), or which rules bind an action (`nextbest.policy`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from nextbest.messages import Bound, Cap, Caps, Scope
from nextbest.policy import Follow, Placement, Policy, Suppression
from nextbest.records import Interaction, Snapshot
from nextbest.situation import Situation

Member = tuple[Scope, str]


class History:
    """What one customer did and was shown, as rules that look back see it."""

    def __init__(self, policy: Policy, snapshot: Snapshot, now: datetime) -> None:
        self._now = now
        self._snapshot = snapshot
        self._interactions: defaultdict[tuple[Scope, str, str], list[datetime]] = defaultdict(list)
        for interaction in snapshot.interactions:
            for scope, member in _members(policy, interaction):
                self._interactions[scope, member, interaction.kind].append(interaction.at)
        self.suppressed: Mapping[Member, str] = dict(self._suppressed(policy.suppressions))
        """By what is paused, the reason."""

    def full(self, caps: Caps) -> Iterator[Bound]:
        """Those of `caps`, on interactions, that have no room."""
        for scope, member in {(scope, member) for scope, member, _ in self._interactions}:
            for bound in caps.get((scope, member), ()):
                if self.usage(bound.cap) >= bound.cap.limit:
                    yield bound

    def usage(self, cap: Cap) -> int:
        since = self._now - timedelta(seconds=cap.window_seconds)
        return sum(at > since for at in self._interactions.get((cap.scope, cap.member, cap.count), ()))

    def has(self, follow: Follow) -> bool:
        """Whether what an action follows has happened."""
        since = self._now - timedelta(seconds=follow.window_seconds)
        contacts = (contact for contact in self._snapshot.contacts if contact.action == follow.action)
        match follow.event:
            case "decision":
                return any(contact.decided_at > since for contact in contacts)
            case "impression":
                return any(contact.impressed_at is not None and contact.impressed_at > since for contact in contacts)
            case _:
                moments = self._interactions.get(("action", follow.action, follow.event), ())
                return any(at > since for at in moments)

    def _suppressed(self, suppressions: Iterable[Suppression]) -> Iterator[tuple[Member, str]]:
        for suppression in suppressions:
            for (scope, member, kind), moments in self._interactions.items():
                concerns = scope == suppression.scope and (not suppression.only or member in suppression.only)
                if concerns and kind == suppression.kind and (until := _paused_until(suppression, moments)) > self._now:
                    yield (scope, member), f"{suppression.id}: until {until:%Y-%m-%d %H:%M} UTC"


def _members(policy: Policy, interaction: Interaction) -> Iterator[Member]:
    """What an interaction counts under; its group is the one its action has today."""
    yield "all", ""
    if interaction.channel:
        yield "channel", interaction.channel
    if interaction.action:
        yield "action", interaction.action
        action = policy.actions.get(interaction.action)
        if action:
            yield "group", action.group


def _paused_until(suppression: Suppression, moments: Iterable[datetime]) -> datetime:
    """The end of the latest pause that `count` interactions in a window cause; the earliest moment where none does."""
    ordered = sorted(moments)
    last = suppression.count - 1
    ends = (
        ordered[i] + suppression.pause
        for i in range(last, len(ordered))
        if ordered[i] - ordered[i - last] <= suppression.window
    )
    return max(ends, default=datetime.min.replace(tzinfo=ordered[0].tzinfo))


def quiet(placement: Placement, situation: Situation) -> str:
    """Why the placement's channel leaves the customer alone now; empty when it does not."""
    hours, zone = placement.quiet_hours, situation.policy.time_zone
    if hours is None:
        return ""
    said = None
    if zone.feature:
        said = situation.context.get(zone.feature) or situation.features.get(zone.feature)
    known = zone_of(said) if isinstance(said, str) else None
    local = situation.now.astimezone(known or ZoneInfo(zone.default))
    if local.time() not in hours:
        return ""
    span = f"{hours.start:%H:%M} to {hours.end:%H:%M}"
    return f"quiet hours of {placement.channel}: {span}, it is {local:%H:%M} in {known or zone.default}"


@lru_cache(maxsize=1_024)
def zone_of(name: str) -> ZoneInfo | None:
    """The zone of that name; none where there is none, for a customer's word is no rule."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found; a folder of the zones; a path
        return None
