"""The book of contacts: those that may still be answered, and the sums of what all of them add.

Belongs here: what becomes of a projection's values when something is said. Does not belong here: what an answer is
or is worth (`nextbest.rewards`), what a contact adds (`nextbest.evidence`), or reading records (`nextbest.learning`).

A contact adds what follows from all that was said of it: whatever comes takes what it added before out of the sums, and
what it adds now in. It is settled once the log is past the time in which answers count and a day more, in which they
may be on their way; then it only moves to the sums of contacts that are settled.

Keys: `d/DECISION` what is pending; `t/ACTION/CUSTOMER` last touches; `c/CUSTOMER` the keys of these that are a
customer's; `due/SECOND` those that are due then; `s/ACTION` sums by cohort; `delays`, `unlearned`, `clock`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import chain
from typing import Final

import msgspec

from nextbest.evidence import Additions, Table, counted, summed
from nextbest.moments import to_microseconds
from nextbest.policy import Rewards
from nextbest.projection import Read
from nextbest.records import DecisionRecord
from nextbest.rewards import Pending, Said, Touches, Trial, contact_key, contact_of
from nextbest.shelf import Shelf

DELAYS, UNLEARNED, _CLOCK = "delays", "unlearned", "clock"
_PENDING, _TOUCHES, _CUSTOMERS, _DUE, _TABLES = "d/", "t/", "c/", "due/", "s/"
_LATE: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = 1_000_000
_HOUR_S: Final = 3_600
_SETTLED_AT_ONCE: Final = 2_000
_Place = tuple[str, int]
"""The customer and the second under which a key is kept; empty and 0 where it is under none."""
_NOWHERE: Final[_Place] = ("", 0)


def table_key(action: str) -> str:
    """Where the sums of an action are kept."""
    return _TABLES + action


class _Clock(msgspec.Struct, omit_defaults=True):
    """How far the log is, the second up to which all is settled that was due, and by hour how many more will be."""

    now: int = 0
    settled: int = 0
    hours: dict[str, int] = {}


class ContactBook:
    """The values that one fold changes."""

    def __init__(self, read: Read, rewards: Rewards) -> None:
        self._rewards = rewards
        self._patience = (rewards.delay + _LATE) // _MICROSECOND
        self._pending = Shelf[Pending](read, _PENDING, Pending)
        self._touches = Shelf[Touches](read, _TOUCHES, Touches)
        self._customers = Shelf[list[str]](read, _CUSTOMERS, list[str])
        self._due = Shelf[list[str]](read, _DUE, list[str])
        self._tables = Shelf[Table](read, _TABLES, Table)
        self._delays = Shelf[dict[str, list[int]]](read, "", dict[str, list[int]])
        self._unlearned = Shelf[dict[str, int]](read, "", dict[str, int])
        self._clocks = Shelf[_Clock](read, "", _Clock)
        self._clock = _Clock()
        self._settled: dict[str, Pending] = {}
        """Decisions of which nothing more is heard, as they were at last."""
        self._given_up = 0
        """Answers that fell to no contact, and never will."""

    @classmethod
    async def opened(cls, read: Read, rewards: Rewards) -> "ContactBook":
        """The book as it is kept."""
        book = cls(read, rewards)
        await book._clocks.load([_CLOCK])
        book._clock = book._clocks.get(_CLOCK) or _Clock()
        book._clocks.put(_CLOCK, book._clock)
        return book

    def turn_to(self, moment: int) -> None:
        """The log is as far as this."""
        self._clock.now = max(self._clock.now, moment)

    async def take(
        self, words: Sequence[Said | DecisionRecord], trials: Callable[[DecisionRecord], Iterable[Trial]]
    ) -> None:
        """Take in what was decided and said.

        Args:
            words: In any order.
            trials: Of a decision, its slots.

        """
        named = {word.decision_id for word in words if word.decision_id is not None}
        await self._pending.load(named)
        for word in words:
            if isinstance(word, DecisionRecord):
                if tried := tuple(trials(word)):  # of a decision that proposed nothing, nothing can be said
                    self._pending.put(word.decision_id, self._decided(word, tried))
            elif word.decision_id is not None:
                pending = self._pending.get(word.decision_id) or Pending()
                pending.hear(word)
                self._pending.put(word.decision_id, pending)
        answers = [word for word in words if isinstance(word, Said) and word.decision_id is None]
        await self._touch(named, answers)

    def _decided(self, record: DecisionRecord, trials: tuple[Trial, ...]) -> Pending:
        pending = self._pending.get(record.decision_id) or Pending()
        pending.customer, pending.decided = record.customer_id or "", to_microseconds(record.occurred_at)
        pending.trials, pending.is_learned = trials, record.learning and record.mode == "live"
        return pending

    async def _touch(self, named: Iterable[str], answers: Sequence[Said]) -> None:
        """Let answers that name no decision fall to the contacts that were seen last before them."""
        seen: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for decision_id in named:
            pending = self._pending.get(decision_id)
            if pending and pending.customer:
                actions = {trial.slot: trial.action for trial in pending.trials}
                for slot, at in pending.seen().items():
                    seen[f"{actions[slot]}/{pending.customer}"][contact_key(decision_id, slot)] = at
        names = dict.fromkeys([*seen, *map(_touch_name, answers)])
        await self._touches.load(names)
        held = {name: self._touches.get(name) or Touches() for name in names}
        for word in answers:
            held[_touch_name(word)].hear(word)
        for name, touches in held.items():
            touches.seen |= seen.get(name, {})
            self._touches.put(name, touches)
        await self._pending.load(contact_of(contact)[0] for each in held.values() for contact in each.seen)
        for touches in held.values():
            assigned = touches.assigned(self._rewards)
            for contact in touches.seen:
                decision_id, slot = contact_of(contact)
                if pending := self._pending.get(decision_id):
                    pending.touched.pop(str(slot), None)
                    if contact in assigned:
                        pending.touched[str(slot)] = assigned[contact]

    async def erase(self, customer_id: str) -> None:
        """Forget what is pending of a customer, as if it had never been; sums of many name nobody."""
        await self._customers.load([customer_id])
        await self._load(self._customers.get(customer_id) or [])
        for decision_id, pending in self._pending.present():
            if pending.customer == customer_id:
                self._pending.put(decision_id, None)
        for name, _ in self._touches.present():
            if _customer_of(name) == customer_id:
                self._touches.put(name, None)

    async def closed(self) -> dict[str, str | None]:
        """Settle what is over, and return what is to be kept."""
        await self._settle()
        await self._index()
        await self._sum_up()
        shelves = (
            *(self._pending, self._touches, self._customers, self._due),
            *(self._tables, self._delays, self._unlearned, self._clocks),
        )
        return dict(chain.from_iterable(shelf.values().items() for shelf in shelves))

    async def _settle(self) -> None:
        now_s = self._clock.now // _SECOND
        settled = await self._load_due(now_s)
        for _, pending in self._pending.present():
            pending.due = self._second(pending.last_moment)
        over = {name: pending for name, pending in self._pending.present() if pending.due <= now_s}
        await self._touches.load(f"{trial.action}/{each.customer}" for each in over.values() for trial in each.trials)
        for decision_id, pending in over.items():
            self._settled[decision_id] = pending
            self._pending.put(decision_id, None)
            for trial in pending.trials:
                if touches := self._touches.get(f"{trial.action}/{pending.customer}"):
                    touches.forget(contact_key(decision_id, trial.slot), self._rewards)
        for name, touches in self._touches.present():
            self._given_up += touches.give_up((now_s * _SECOND) - 1 - self._patience, self._rewards)
            untouched = touches.untouched(self._rewards)
            touches.due = self._second(untouched[0]) if untouched else 0
            if not touches.seen and not touches.answers:
                self._touches.put(name, None)
        self._clock.settled = settled

    async def _load_due(self, now_s: int) -> int:
        """Have at hand what is due, or of much of it a part; returns the second up to which that is all."""
        found = 0
        for hour in sorted(map(int, self._clock.hours)):
            begin = max(hour * _HOUR_S, self._clock.settled + 1)
            seconds = range(begin, min((hour + 1) * _HOUR_S, now_s + 1))
            await self._due.load(map(str, seconds))
            for second in seconds:
                names = self._due.get(str(second)) or []
                await self._load(names)
                found += len(names)
                if found >= _SETTLED_AT_ONCE:
                    return second
        return max(now_s, self._clock.settled)

    async def _load(self, keys: Sequence[str]) -> None:
        if keys:
            await self._pending.load(key.removeprefix(_PENDING) for key in keys if key.startswith(_PENDING))
            await self._touches.load(key.removeprefix(_TOUCHES) for key in keys if key.startswith(_TOUCHES))

    def _second(self, moment: int) -> int:
        """The one from which on what began at `moment` is over; none that is settled already."""
        return max((moment + self._patience) // _SECOND + 1, self._clock.settled + 1)

    async def _index(self) -> None:
        """Keep under customers and seconds the keys of what is pending there."""
        moved = [*self._moved()]
        await self._customers.load({customer for _, places in moved for customer, _ in places if customer})
        await self._due.load({str(second) for _, places in moved for _, second in places if second})
        for key, (before, after) in moved:
            _list(self._customers, key, before[0], after[0])
            _list(self._due, key, *(str(second or "") for _, second in (before, after)))
        hours = Counter(self._clock.hours)
        for _, places in moved:
            for (_, second), sign in zip(places, (-1, 1), strict=True):
                hours[str(second // _HOUR_S)] += sign if second else 0
        self._clock.hours = {hour: count for hour, count in hours.items() if count}

    def _moved(self) -> Iterator[tuple[str, tuple[_Place, _Place]]]:
        """Keys whose values have changed, with their customers and seconds before and after."""
        for name, _ in self._pending.changed():
            both = self._pending.before(name), self._pending.get(name)
            before, after = ((each.customer, each.due) if each else _NOWHERE for each in both)
            yield _PENDING + name, (before, after)
        for name, _ in self._touches.changed():
            held = self._touches.before(name), self._touches.get(name)
            before, after = ((_customer_of(name), each.due) if each else _NOWHERE for each in held)
            yield _TOUCHES + name, (before, after)

    async def _sum_up(self) -> None:
        """Bring what has changed into the sums."""
        added = Additions(self._rewards)
        for name in {name for name, _ in self._pending.changed()} | {*self._settled}:
            for pending, sign in ((self._pending.before(name), -1), (self._pending.get(name), 1)):
                if pending:
                    added.add(pending, sign)
        for pending in self._settled.values():
            added.add(pending, 1, is_settled=True)
        added.unlearned["untouched"] += self._given_up
        for name, _ in self._touches.changed():
            for touches, sign in ((self._touches.before(name), -1), (self._touches.get(name), 1)):
                added.unlearned["untouched"] += sign * len(touches.untouched(self._rewards)) if touches else 0
        await self._tables.load(added.tables)
        for action, table in added.tables.items():
            self._tables.put(action, summed(self._tables.get(action) or {}, table) or None)
        await self._delays.load([DELAYS])
        self._delays.put(DELAYS, counted(self._delays.get(DELAYS) or {}, added.delays) or None)
        await self._unlearned.load([UNLEARNED])
        counts = Counter(self._unlearned.get(UNLEARNED) or {})
        counts.update(added.unlearned)
        self._unlearned.put(UNLEARNED, {why: count for why, count in counts.items() if count} or None)


def _touch_name(word: Said) -> str:
    return f"{word.action}/{word.customer_id}"


def _customer_of(touch_name: str) -> str:
    return touch_name.partition("/")[2]


def _list(shelf: Shelf[list[str]], key: str, before: str, after: str) -> None:
    """Take a key from where it was to where it is; nowhere is the empty name."""
    if before != after:
        if before:
            shelf.put(before, sorted({*(shelf.get(before) or ())} - {key}) or None)
        if after:
            shelf.put(after, sorted({*(shelf.get(after) or ()), key}))
