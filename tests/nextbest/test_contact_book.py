"""The book of contacts: bounded, and settled a part at a time where much is due at once."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from nextbest import agenda
from nextbest.contact_book import ContactBook
from nextbest.moments import to_microseconds
from nextbest.policy import Rewards
from nextbest.rewards import Said, Trial, Tried
from tests.contacts import ANSWERS, NOW

REWARDS = Rewards(
    worth=dict.fromkeys(ANSWERS, 1.0), default=0.0, delay=timedelta(days=2), last_touch=timedelta(hours=24)
)
DAY = timedelta(days=1)


class Kept:
    """What a projection keeps, over folds."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.asked = 0

    async def read(self, keys: Sequence[str]) -> dict[str, str]:
        self.asked += len(keys)
        return {key: self.values[key] for key in keys if key in self.values}

    def fold(self, day: float, *words: Said | Tried) -> None:
        """Take in what was said by this day."""

        async def fold() -> dict[str, str | None]:
            book = await ContactBook.opened(self.read, REWARDS)
            book.turn_to(to_microseconds(NOW + day * DAY))
            for word in words:
                book.hear(word)
            return await book.closed()

        changes = asyncio.run(fold())
        kept = {key: value for key, value in (self.values | changes).items() if value is not None}
        self.values = kept


def click(name: str, day: float, *, named: bool = True) -> Said:
    """Of a decision that is not known, or of none."""
    at = to_microseconds(NOW + day * DAY)
    return Said("click", at, name if named else None, "apples", "apples", name)


def pending(kept: Kept) -> set[str]:
    return {key for key in kept.values if key.startswith(("d/", "t/"))}


def test_what_nobody_hears_of_again_is_let_go() -> None:
    """A day after answers would count: answers to decisions that never came, and those that name none."""
    kept = Kept()
    kept.fold(0.0, click("d1", 0.0), click("c1", 0.0, named=False))
    kept.fold(1.0, click("d2", 1.0))
    kept.fold(2.9)
    assert pending(kept) == {"d/d1", "d/d2", "t/apples/c1"}
    kept.fold(3.1)
    assert pending(kept) == {"d/d2"}
    kept.fold(99.0)
    assert {*kept.values} == {"unlearned", "clock", "agenda"}
    assert kept.values["unlearned"] == '{"no_decision":2,"untouched":1}'


def test_much_that_is_due_at_once_is_settled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fold takes long because nothing came for a month; the next ones go on."""
    monkeypatch.setattr(agenda, "_AT_ONCE", 3)
    kept = Kept()
    for number in range(10):
        kept.fold(number / 100, click(f"d{number}", number / 100))
    left = []
    for _ in range(5):
        kept.fold(40.0)
        left.append(len(pending(kept)))
    assert left == [7, 4, 1, 0, 0]
    assert kept.values["unlearned"] == '{"no_decision":10}'


def test_what_comes_for_a_time_that_is_over_is_let_go_at_once() -> None:
    """It is no reason to look again at all that was settled."""
    kept = Kept()
    kept.fold(40.0, click("d1", 40.0))
    kept.fold(40.0, click("late", 0.0), click("later", 0.0, named=False))
    assert pending(kept) == {"d/d1"}
    assert kept.values["unlearned"] == '{"no_decision":2,"untouched":1}'


def tried(name: str, customer: str, day: float) -> Tried:
    at = to_microseconds(NOW + day * DAY)
    return Tried(name, customer, at, is_learned=True, trials=(Trial(0, "apples", (1.0,), 0.1),))


def seen(name: str, customer: str, day: float) -> Said:
    return Said("impression", to_microseconds(NOW + day * DAY), name, "0", "apples", customer)


def test_what_one_customer_does_does_not_slow_what_follows() -> None:
    """A probe asks every second: each value that one more contact reads or writes stays small."""
    kept = Kept()
    for hour in range(24):
        day = hour / 24
        many = [(f"d{hour}/{number}", day + number / 86_400) for number in range(100)]
        kept.fold(day, *(word(name, "c1", at) for name, at in many for word in (tried, seen)))
    before, asked = {**kept.values}, kept.asked
    kept.fold(1.0, tried("one", "c1", 1.0), seen("one", "c1", 1.0), click("c1", 1.0, named=False))
    assert kept.asked - asked < 20
    changed = [len(value) for key, value in kept.values.items() if before.get(key) != value]
    assert max(changed) < 20_000
