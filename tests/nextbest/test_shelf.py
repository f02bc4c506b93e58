"""Shelves: each value is read once, and only what changed is written."""

import asyncio
from collections.abc import Sequence

from nextbest.shelf import Shelf


def test_values_are_read_once_and_written_where_they_changed() -> None:
    """As they were, as they become, and nothing of what stayed as it was."""
    kept = {"d/a": "[1]", "d/b": "[2]"}
    asked: list[str] = []

    async def read(keys: Sequence[str]) -> dict[str, str]:
        asked.extend(keys)
        return {key: kept[key] for key in keys if key in kept}

    shelf = Shelf[list[int]](read, "d/", list[int])
    asyncio.run(shelf.load(["a", "b", "c", "a"]))
    asyncio.run(shelf.load(["a", "c"]))
    assert asked == ["d/a", "d/b", "d/c"]
    shelf.put("a", None)
    shelf.put("c", [3])
    shelf.put("b", [2])
    assert shelf.get("b") == [2]
    assert shelf.present() == [("b", [2]), ("c", [3])]
    assert [*shelf.changed()] == [("a", None), ("c", "[3]")]
    assert (shelf.before("a"), shelf.before("c")) == ([1], None)
    assert shelf.values() == {"d/a": None, "d/c": "[3]"}
