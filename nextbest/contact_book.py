"""The book of contacts: those that may still be answered, and the sums of what all of them add.

Belongs here: what becomes of a projection's values when something is said. Does not belong here: what an answer is
or is worth (`nextbest.rewards`), to whom it falls (`nextbest.touches`), what a contact adds (`nextbest.evidence`), or
reading records (`nextbest.learning`).

A contact adds what follows from all that was said of it: whatever comes takes what it added before out of the sums, and
what it adds now in. It is over once the log is past the time in which answers count and a day more, in which they may
be on their way; then it only moves to the sums of contacts that are settled. Whether it is over is asked of every
record at its own place in the log, whenever what is over is settled: so it does not matter how the log is cut.

Keys: `d/DECISION` what is pending; `t/ACTION/CUSTOMER` last touches; `s/ACTION` sums by cohort; `delays`; `unlearned`;
`clock` how far the log is; and those of `nextbest.agenda`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import chain
from typing import Final

from nextbest.agenda import TICK, Agenda, Place
from nextbest.evidence import Additions, Table, counted, summed
from nextbest.policy import Rewards
from nextbest.projection import Read
from nextbest.rewards import Earliest, Pending, Said, Tried
from nextbest.shelf import Shelf
from nextbest.touches import Touches, contact_key, contact_of

DELAYS, UNLEARNED, CLOCK = "delays", "unlearned", "clock"
_PENDING, _TOUCHES, _TABLES = "d/", "t/", "s/"
_LATE: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_TAKEN_AT_ONCE: Final = 100
"""Words, before others get their turn."""


def table_key(action: str) -> str:
    """Where the sums of an action are kept."""
    return _TABLES + action


class ContactBook:
    """The values that one fold changes."""

    def __init__(self, read: Read, rewards: Rewards) -> None:
        self._rewards = rewards
        self._patience = (rewards.delay + _LATE) // _MICROSECOND
        self._window = rewards.last_touch // _MICROSECOND
        self._pending = Shelf[Pending](read, _PENDING, Pending)
        self._touches = Shelf[Touches](read, _TOUCHES, Touches)
        self._tables = Shelf[Table](read, _TABLES, Table)
        self._delays = Shelf[dict[str, list[int]]](read, "", dict[str, list[int]])
        self._unlearned = Shelf[dict[str, int]](read, "", dict[str, int])
        self._clocks = Shelf[int](read, "", int)
        self._agenda = Agenda(read)
        self._now = 0
        """The latest moment at which a record was received."""
        self._heard: list[tuple[int, Said | Tried]] = []
        """What is not taken in yet, and how far the log was."""
        self._fallen: dict[str, Earliest] = {}
        """By contact, what falls to it by last touch, where its decision does not have it yet."""
        self._settled: list[Pending] = []
        """Decisions of which nothing more is heard, as they were at last."""
        self._given_up = 0
        """Answers that fell to no contact, and never will."""

    @classmethod
    async def opened(cls, read: Read, rewards: Rewards) -> "ContactBook":
        """The book as it is kept."""
        book = cls(read, rewards)
        await book._clocks.load([CLOCK])
        book._now = book._clocks.get(CLOCK) or 0
        book._agenda = await Agenda.opened(read)
        return book

    def turn_to(self, moment: int) -> None:
        """The log is as far as this."""
        self._now = max(self._now, moment)

    def hear(self, word: Said | Tried) -> None:
        """Take in what was decided or said, at this place in the log."""
        self._heard.append((self._now, word))

    async def erase(self, customer_id: str) -> None:
        """Forget what is pending of a customer, as if it had never been; sums of many name nobody."""
        await self._take()
        await self._load(await self._agenda.of(customer_id))
        self._settle()
        for decision_id, pending in self._pending.present():
            if pending.customer == customer_id:
                self._pending.put(decision_id, None)
        for name, _ in self._touches.present():
            if _customer_of(name) == customer_id:
                self._touches.put(name, None)

    async def closed(self) -> dict[str, str | None]:
        """Settle what is over, and return what is to be kept."""
        await self._take()
        await self._load(await self._agenda.due(self._now // TICK))
        self._settle()
        await self._agenda.move(self._moved())
        await self._sum_up()
        self._clocks.put(CLOCK, self._now)
        sums = self._tables, self._delays, self._unlearned
        kept = self._pending, self._touches, self._agenda, self._clocks, *sums
        return dict(chain.from_iterable(each.values().items() for each in kept))

    async def _take(self) -> None:
        """Take in what was heard, each at its place in the log."""
        heard, self._heard = self._heard, []
        named = {word.decision_id for _, word in heard if word.decision_id is not None}
        await self._pending.load(named)
        await self._touches.load([*self._touch_names(named, heard)])
        for number, (now, word) in enumerate(heard):
            if number % _TAKEN_AT_ONCE == 0:
                await asyncio.sleep(0)
            if word.decision_id is not None:
                self._hear_of(word.decision_id, word, now)
            elif isinstance(word, Said):
                touches = self._touches_at(f"{word.action}/{word.customer_id}", now)
                self._fallen |= touches.hear(word.kind, word.at, self._window)
        await self._pending.load(contact_of(contact)[0] for contact in self._fallen)
        for decision_id in {contact_of(contact)[0] for contact in self._fallen}:
            if pending := self._pending.get(decision_id):
                self._let_fall(decision_id, pending)
        self._fallen = {}

    def _touch_names(self, named: Iterable[str], heard: Iterable[tuple[int, Said | Tried]]) -> Iterator[str]:
        """The last touches that what was heard may change."""
        tried = [(each.customer, each.trials) for name in named if (each := self._pending.get(name))]
        for _, word in heard:
            if isinstance(word, Tried):
                tried.append((word.customer, word.trials))
            elif word.decision_id is None:
                yield f"{word.action}/{word.customer_id}"
        yield from (f"{trial.action}/{customer}" for customer, trials in tried if customer for trial in trials)

    def _hear_of(self, decision_id: str, word: Said | Tried, now: int) -> None:
        pending = self._pending.get(decision_id)
        if pending and pending.last_moment <= self._until(now):
            self._close(decision_id, pending)
            pending = None
        pending = pending or Pending()
        before = pending.seen()
        pending.hear(word)
        self._pending.put(decision_id, pending)
        if not pending.customer:
            return
        actions = {trial.slot: trial.action for trial in pending.trials}
        for slot, at in pending.seen().items():
            earlier = before.get(slot)
            if at != earlier and (earlier is None or earlier > self._until(now)):  # else what fell to it is settled
                touches = self._touches_at(f"{actions[slot]}/{pending.customer}", now)
                self._fallen |= touches.see(contact_key(decision_id, slot), at, self._window)

    def _touches_at(self, name: str, now: int) -> Touches:
        """Last touches as they are when the log is so far."""
        touches = self._touches.get(name) or Touches()
        self._given_up += touches.expire(self._until(now), self._window)
        self._touches.put(name, touches)
        return touches

    def _let_fall(self, decision_id: str, pending: Pending) -> None:
        """Let a decision have what falls to its contacts."""
        for trial in pending.trials:
            words = self._fallen.pop(contact_key(decision_id, trial.slot), None)
            if words is not None:
                pending.touched.pop(str(trial.slot), None)
                if words:
                    pending.touched[str(trial.slot)] = words

    def _close(self, decision_id: str, pending: Pending) -> None:
        self._let_fall(decision_id, pending)
        self._settled.append(pending)
        self._pending.put(decision_id, None)

    def _settle(self) -> None:
        """Close what is at hand and over."""
        until = self._until(self._now)
        for decision_id, pending in self._pending.present():
            if pending.last_moment <= until:
                self._close(decision_id, pending)
        for name, touches in self._touches.present():
            self._given_up += touches.expire(until, self._window)
            if not touches.seen and not touches.answers:
                self._touches.put(name, None)

    async def _load(self, keys: Sequence[str]) -> None:
        if keys:
            await self._pending.load(key.removeprefix(_PENDING) for key in keys if key.startswith(_PENDING))
            await self._touches.load(key.removeprefix(_TOUCHES) for key in keys if key.startswith(_TOUCHES))

    def _tick(self, moment: int) -> int:
        """The one from which on what began at `moment` is over."""
        return (moment + self._patience) // TICK + 1

    def _until(self, now: int) -> int:
        """What began up to this moment is over: `_tick` the other way round."""
        return now // TICK * TICK - 1 - self._patience

    def _moved(self) -> Iterator[tuple[str, Place | None, Place | None]]:
        """Keys whose values have changed, with where they were listed and are to be."""
        for name, _ in self._pending.changed():
            both = self._pending.before(name), self._pending.get(name)
            before, after = (Place(each.customer, self._tick(each.last_moment)) if each else None for each in both)
            yield _PENDING + name, before, after
        for name, _ in self._touches.changed():
            held, customer = (self._touches.before(name), self._touches.get(name)), _customer_of(name)
            before, after = (Place(customer, self._tick(each.oldest)) if each else None for each in held)
            yield _TOUCHES + name, before, after

    async def _sum_up(self) -> None:
        """Bring what has changed into the sums."""
        added = Additions(self._rewards)
        for name, _ in self._pending.changed():
            for pending, sign in ((self._pending.before(name), -1), (self._pending.get(name), 1)):
                if pending:
                    added.add(pending, sign)
        for pending in self._settled:
            added.add(pending, 1, is_settled=True)
        added.unlearned["untouched"] += self._given_up
        for name, _ in self._touches.changed():
            for touches, sign in ((self._touches.before(name), -1), (self._touches.get(name), 1)):
                added.unlearned["untouched"] += sign * touches.untouched(self._window) if touches else 0
        await self._tables.load(added.tables)
        for action, table in added.tables.items():
            self._tables.put(action, summed(self._tables.get(action) or {}, table) or None)
        await self._delays.load([DELAYS])
        self._delays.put(DELAYS, counted(self._delays.get(DELAYS) or {}, added.delays) or None)
        await self._unlearned.load([UNLEARNED])
        counts = Counter(self._unlearned.get(UNLEARNED) or {})
        counts.update(added.unlearned)
        self._unlearned.put(UNLEARNED, {why: count for why, count in counts.items() if count} or None)


def _customer_of(touch_name: str) -> str:
    return touch_name.partition("/")[2]
