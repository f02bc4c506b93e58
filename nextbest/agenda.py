"""The agenda of a projection: which of its keys are due in which tick of ten seconds, and which are a customer's.

Belongs here: the lists of keys, and how far they are worked off. Does not belong here: what is due, or when
(`nextbest.contact_book`).

Keys: `due/TICK` the keys that are due then; `c/HOUR/CUSTOMER` those of a customer that are due in that hour, so that
no list grows with all that a customer does; `agenda` the hours in which anything is due.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from nextbest.projection import Read
from nextbest.shelf import Shelf

_KEY: Final = "agenda"
TICK: Final = 10_000_000
"""In microseconds. A finer one would have to look through more lists in which there is nothing."""
_HOUR: Final = 360
"""In ticks."""
_AT_ONCE: Final = 2_000
"""Keys, or little more: what is due after months of silence is worked off over several folds."""


class Place(NamedTuple):
    """Where a key is listed: under a customer, empty where there is none, and the tick in which it is due."""

    customer: str
    tick: int

    @property
    def hour(self) -> str:
        """In which it is due."""
        return str(self.tick // _HOUR)


class _Standing(msgspec.Struct, omit_defaults=True):
    """The tick up to which all that was due is worked off, and by hour how many keys will be due."""

    done: int = 0
    hours: dict[str, int] = {}


class Agenda:
    """The lists that one fold changes."""

    def __init__(self, read: Read) -> None:
        self._due = Shelf[list[str]](read, "due/", list[str])
        self._customers = Shelf[list[str]](read, "c/", list[str])
        self._shelf = Shelf[_Standing](read, "", _Standing)
        self._standing = _Standing()

    @classmethod
    async def opened(cls, read: Read) -> "Agenda":
        """As it is kept."""
        agenda = cls(read)
        await agenda._shelf.load([_KEY])
        agenda._standing = agenda._shelf.get(_KEY) or _Standing()
        return agenda

    async def of(self, customer: str) -> list[str]:
        """The keys of a customer, before anything was moved."""
        names = [f"{hour}/{customer}" for hour in self._standing.hours]
        await self._customers.load(names)
        return [key for name in names for key in self._customers.get(name) or ()]

    async def due(self, now: int) -> list[str]:
        """The keys that are due by this tick, or of many a part; they count as worked off."""
        keys: list[str] = []
        for hour in sorted(map(int, self._standing.hours)):
            begin = max(hour * _HOUR, self._standing.done + 1)
            ticks = range(begin, min((hour + 1) * _HOUR, now + 1))
            await self._due.load(map(str, ticks))
            await asyncio.sleep(0)  # after months of silence there are many hours
            for tick in ticks:
                keys += self._due.get(str(tick)) or ()
                if len(keys) >= _AT_ONCE:
                    self._standing.done = tick
                    return keys
        self._standing.done = max(now, self._standing.done)
        return keys

    async def move(self, moved: Iterable[tuple[str, Place | None, Place | None]]) -> None:
        """Take keys from where they were listed to where they are; none is nowhere."""
        moves = [(key, before, after) for key, before, after in moved if before != after]
        hours = Counter(self._standing.hours)
        hours.subtract(before.hour for _, before, _ in moves if before)
        hours.update(after.hour for _, _, after in moves if after)
        self._standing.hours = {hour: count for hour, count in hours.items() if count}
        await _list(self._due, [(key, _tick(before), _tick(after)) for key, before, after in moves])
        await _list(self._customers, [(key, _customer(before), _customer(after)) for key, before, after in moves])

    def values(self) -> dict[str, str | None]:
        """What is to be written, by key."""
        self._shelf.put(_KEY, self._standing)
        return self._due.values() | self._customers.values() | self._shelf.values()


def _tick(place: Place | None) -> str:
    return str(place.tick) if place else ""


def _customer(place: Place | None) -> str:
    return f"{place.hour}/{place.customer}" if place and place.customer else ""


async def _list(shelf: Shelf[list[str]], moves: Sequence[tuple[str, str, str]]) -> None:
    """Take each key from one list to another; the empty name is none. A list is written once, whatever moves."""
    lists: defaultdict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for key, before, after in moves:
        if before != after:
            lists[before][0].add(key)
            lists[after][1].add(key)
    lists.pop("", None)
    await shelf.load(lists)
    for name, (gone, come) in lists.items():
        shelf.put(name, sorted({*(shelf.get(name) or ())} - gone | come) or None)
