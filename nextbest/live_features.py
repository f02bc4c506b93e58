"""Live features: what a customer's live state says at the moment of a decision, the same online and in training.

Belongs here: which features there are, their names, and computing those that are asked for. Does not belong here: what
a state holds (`nextbest.live`), or who asks for what (serving, `models`).

Sums run over whole numbers or are rounded once (`math.fsum`), so the same state gives the same bits wherever it is. An
event of the hour that runs counts in full, and then by half with every half-life since its hour ended.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from operator import mul
from types import MappingProxyType
from typing import Final, NamedTuple

from nextbest.contact_rules import zone_of
from nextbest.intake import IMPRESSION
from nextbest.live import CATEGORY, HOUR, HOURS, MINUTE, SECOND, LiveState
from nextbest.moments import to_microseconds
from nextbest.records import Attribute

PREFIX: Final = "live_"
"""How the names of live features begin, and of no others."""
ZONE: Final = "time_zone"
"""The attribute of the context that says where the customer is."""
HALF_LIVES: Final[Mapping[str, int]] = MappingProxyType({"1h": 1, "1d": 24, "7d": 168})
"""In hours."""
_COUNTED: Final = re.compile(
    r"live_(?P<what>[a-z][a-z0-9_]*?)_(?P<unit>count|value)_(?P<half>1h|1d|7d)(?:__(?P<category>[a-z0-9_]+))?"
)
_SINCE: Final = re.compile(r"live_hours_since__(?P<category>[a-z0-9_]+)")
_OF_CATEGORIES: Final = "category"

_PAGES: Final = ("page_view", "product_view")
_SPEED_MINUTES: Final = 5
_GAP_MINUTES: Final = 30
_BURST_SECONDS: Final = 10 * 60
_PACES: Final = ((1, 3.0), (10, 10.0))
"""By the seconds of a window, how much a quick person does in it."""
_CALM: Final = min(pace for _, pace in _PACES)
_UNITS: Final = MappingProxyType({"count": 1, "value": 2})
"""Where the amount is in a cell of hours."""
_AN_HOUR: Final = timedelta(hours=1)

_LEFT: Final[Mapping[int, tuple[float, ...]]] = MappingProxyType(
    {half: tuple(2.0 ** (-age / half) for age in range(HOURS + 1)) for half in HALF_LIVES.values()}
)
"""By half-life, what is left after so many hours."""


def customers_clock(context: Mapping[str, Attribute], now: datetime) -> datetime:
    """The moment by the customer's clock; by UTC's where nobody says where they are."""
    said = context.get(ZONE)
    zone = zone_of(said) if isinstance(said, str) else None
    return now.astimezone(zone or UTC)


class Seen:
    """A state as it is seen at a moment, by a customer's clock."""

    __slots__ = ("age", "hour", "newest", "now", "shift", "state")

    def __init__(self, state: LiveState, context: Mapping[str, Attribute], now: datetime) -> None:
        self.state = state
        self.now = to_microseconds(now)
        self.hour = self.now // HOUR
        self.newest = state.newest // HOUR
        self.age = (self.now - (self.newest + 1) * HOUR) / HOUR
        """Hours since the newest hour ended."""
        offset = customers_clock(context, now).utcoffset()
        self.shift = offset // _AN_HOUR if offset else 0
        """Hours that the customer's clock is ahead of UTC's."""

    def hours_since(self, at: int) -> float:
        """How long ago it was; 0 where it is yet to come."""
        return max(self.now - at, 0) / HOUR


Values = tuple[float | str | None, ...]


def _session(seen: Seen) -> Values:
    """Minutes since the session began, and what was done in it; none where it is over."""
    done: dict[int, int] = {}
    for cells in seen.state.minutes.values():
        for minute, count in zip(cells[0::2], cells[1::2], strict=True):
            done[minute] = done.get(minute, 0) + count
    first = now = seen.now // MINUTE
    events = 0
    for minute in sorted(done, reverse=True):
        if first - minute > _GAP_MINUTES:
            break
        first = min(first, minute)
        events += done[minute]
    return float(now - first), float(events)


def _page_speed(seen: Seen) -> Values:
    oldest = seen.now // MINUTE - _SPEED_MINUTES
    pages = 0
    for what in _PAGES:
        cells = seen.state.minutes.get(what, [])
        pages += sum(cells[2 * bisect_left(cells[0::2], oldest + 1) + 1 :: 2])
    return (pages / _SPEED_MINUTES,)


def _cart(seen: Seen) -> Values:
    """Items, their worth and the hours since the first of them was put in, after the last purchase."""
    cells = seen.state.cart
    first = 3 * bisect_right(cells[0::3], seen.state.purchased)
    if first == len(cells):
        return 0.0, 0.0, 0.0
    return float(sum(cells[first + 1 :: 3])), sum(cells[first + 2 :: 3]) / 100, seen.hours_since(cells[first])


def _purchase(seen: Seen) -> Values:
    return (seen.hours_since(seen.state.purchased) if seen.state.purchased else None,)


def _campaign(seen: Seen) -> Values:
    at, action = seen.state.campaign
    return (action, seen.hours_since(at)) if action else (None, None)


def _habit(seen: Seen) -> Values:
    """The shares of what was done that fell into this hour of the day, and on this day of the week.

    By the clock that the customer's zone has today. One is added to each hour and day: who has done nothing does it at
    any time alike.
    """
    now, shift = seen.hour, seen.shift
    today = (now + shift) // 24
    hours: list[int] = []
    counts: list[int] = []
    for what, cells in seen.state.hours.items():
        if what != IMPRESSION and not what.startswith(CATEGORY):
            hours += cells[0::3]
            counts += cells[1::3]
    total = sum(counts)
    in_hour = sum([count for hour, count in zip(hours, counts, strict=True) if not (now - hour) % 24])
    on_day = sum([n for hour, n in zip(hours, counts, strict=True) if not (today - (hour + shift) // 24) % 7])
    return (in_hour + 1) / (total + 24), (on_day + 1) / (total + 7)


def _burst(seen: Seen) -> Values:
    """How much more likely the most crowded seconds are if a machine is at work than with a quick person.

    The log of the likelihood ratio of n events in a window, as a Poisson count, at their own rate against that of a
    quick person: n ln(n / pace) - (n - pace), and 0 where n is no more than the pace. The larger of two windows counts.
    """
    cells = seen.state.seconds
    first = bisect_left(cells[0::2], seen.now // SECOND - _BURST_SECONDS + 1)
    seconds, counts = cells[2 * first :: 2], cells[2 * first + 1 :: 2]
    score = 0.0
    if sum(counts) > _CALM:
        for width, pace in _PACES:
            most = _most_within(seconds, counts, width)
            if most > pace:
                score = max(score, most * math.log(most / pace) - (most - pace))
    return (score,)


def _most_within(seconds: list[int], counts: list[int], width: int) -> int:
    """The most that was done within so many seconds on end."""
    most = running = first = 0
    for second, count in zip(seconds, counts, strict=True):
        running += count
        while seconds[first] <= second - width:
            running -= counts[first]
            first += 1
        most = max(most, running)
    return most


_TOGETHER: Final[tuple[tuple[tuple[str, ...], Callable[[Seen], Values]], ...]] = (
    (("live_session_minutes", "live_session_events"), _session),
    (("live_page_views_per_minute",), _page_speed),
    (("live_cart_items", "live_cart_value", "live_cart_age_hours"), _cart),
    (("live_hours_since_purchase",), _purchase),
    (("live_last_campaign", "live_hours_since_campaign"), _campaign),
    (("live_share_of_hour", "live_share_of_weekday"), _habit),
    (("live_burst_score",), _burst),
)
"""Features that there is one of, by what computes them."""
SINGLE: Final = frozenset(name for names, _ in _TOGETHER for name in names)
TEXTS: Final = frozenset({"live_last_campaign"})
"""Features that are no numbers."""
PER_CATEGORY: Final = frozenset(
    {"live_hours_since", *(f"live_category_{unit}_{half}" for unit in _UNITS for half in HALF_LIVES)}
)
"""Features that there is one of for every category; an action is named by its category."""


def subject_of(name: str) -> str | None:
    """What the feature counts, such as `page_view` or `outcome_click`; empty for one that counts nothing of that kind.

    None: there is no live feature of that name.
    """
    if name in SINGLE or _SINCE.fullmatch(name):
        return ""
    found = _COUNTED.fullmatch(name)
    if found is None or (found["what"] == _OF_CATEGORIES) != (found["category"] is not None):
        return None
    return "" if found["category"] else found["what"]


class _Counted(NamedTuple):
    """Features of what is counted under one name: by half-life, and by whether counts or cents are summed."""

    what: str
    sums: tuple[tuple[int, tuple[tuple[str, int], ...]], ...]


class Plan:
    """The live features among the names that somebody asks for, ready to be computed."""

    def __init__(self, names: Iterable[str]) -> None:
        asked = frozenset(name for name in names if name.startswith(PREFIX))
        self._together = tuple(
            (compute, tuple((name, place) for place, name in enumerate(members) if name in asked))
            for members, compute in _TOGETHER
            if not asked.isdisjoint(members)
        )
        since = ((name, _SINCE.fullmatch(name)) for name in sorted(asked))
        self._since = tuple((name, found["category"]) for name, found in since if found)
        self._counted = tuple(_grouped(asked))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not (self._together or self._since or self._counted)

    def features(self, state: LiveState, context: Mapping[str, Attribute], now: datetime) -> dict[str, float | str]:
        """What the state says at `now`; what it says nothing of is absent."""
        seen = Seen(state, context, now)
        found: dict[str, float | str] = {}
        for compute, members in self._together:
            values = compute(seen)
            for name, place in members:
                value = values[place]
                if value is not None:
                    found[name] = value
        for name, category in self._since:
            at = state.categories.get(category)
            if at is not None:
                found[name] = seen.hours_since(at)
        for counted in self._counted:
            _decay(seen, counted, found)
        return found


def _grouped(asked: frozenset[str]) -> Iterator[_Counted]:
    """The features that count, by what they count and then by half-life."""
    groups: dict[str, dict[int, list[tuple[str, int]]]] = {}
    for name in sorted(asked - SINGLE):
        found = _COUNTED.fullmatch(name)
        if found and subject_of(name) is not None:
            what = CATEGORY + found["category"] if found["category"] else found["what"]
            half = HALF_LIVES[found["half"]]
            groups.setdefault(what, {}).setdefault(half, []).append((name, _UNITS[found["unit"]]))
    for what, halves in groups.items():
        yield _Counted(what, tuple((half, tuple(sums)) for half, sums in halves.items()))


def _decay(seen: Seen, counted: _Counted, found: dict[str, float | str]) -> None:
    """Sum what was counted, each hour's by half with every half-life since it ended; cents become the currency's."""
    cells = seen.state.hours.get(counted.what, [])
    hours = cells[0::3]
    past = bisect_left(hours, seen.hour)
    ages = [seen.newest - hour for hour in hours[:past]]
    for half, sums in counted.sums:
        table = _LEFT[half]
        left = [table[age] for age in ages]
        since = 2.0 ** (-seen.age / half) if past else 0.0
        for name, unit in sums:
            amounts = cells[unit::3]
            total = math.fsum(map(mul, amounts, left)) * since + sum(amounts[past:])
            found[name] = total if unit == _UNITS["count"] else total / 100
