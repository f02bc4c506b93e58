"""The agenda: every key is found when it is due, and with its customer, wherever it was before."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest import agenda as module
from nextbest.agenda import Agenda, Place

places = st.none() | st.builds(Place, st.sampled_from(["", "a", "a/1", "b"]), st.integers(1, 20_000))
changes = st.lists(st.dictionaries(st.sampled_from(["d/1", "d/2", "t/3", "t/4"]), places), max_size=6)


class Kept:
    """What a projection keeps, over folds."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def read(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: self.values[key] for key in keys if key in self.values}

    def close(self, agenda: Agenda) -> None:
        self.values = {key: value for key, value in (self.values | agenda.values()).items() if value is not None}


@given(changes)
def test_keys_are_where_they_were_moved_last(changes: list[dict[str, Place | None]]) -> None:
    """And no list is left of those that went."""
    kept, listed = Kept(), dict[str, Place]()

    async def follow() -> None:
        for moves in changes:
            agenda = await Agenda.opened(kept.read)
            await agenda.move((key, listed.get(key), after) for key, after in moves.items())
            kept.close(agenda)
            for key, after in moves.items():
                listed.pop(key, None)
                listed.update({key: after} if after else {})
        agenda = await Agenda.opened(kept.read)
        for customer in ("a", "a/1", "b"):
            mine = [key for key, place in listed.items() if place.customer == customer]
            assert sorted(await agenda.of(customer)) == sorted(mine)
        due = await agenda.due(10_000)
        assert sorted(due) == sorted(key for key, place in listed.items() if place.tick <= 10_000)
        assert await agenda.due(10_000) == []
        await agenda.move((key, place, None) for key, place in listed.items())
        kept.close(agenda)

    asyncio.run(follow())
    assert {*kept.values} <= {"agenda"}


def test_much_is_worked_off_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ticks of it, in order."""
    monkeypatch.setattr(module, "_AT_ONCE", 2)

    async def follow() -> None:
        agenda = await Agenda.opened(Kept().read)
        ticks = {"a": 5, "b": 6, "c": 6, "d": 4_000, "e": 9_000}
        await agenda.move((key, None, Place("", tick)) for key, tick in ticks.items())
        assert [await agenda.due(8_000) for _ in range(3)] == [["a", "b", "c"], ["d"], []]

    asyncio.run(follow())
