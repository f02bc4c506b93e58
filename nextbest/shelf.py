"""Shelves: values of a projection at hand while records are folded, as they were and as they become.

Belongs here: reading each once, and telling what changed. Does not belong here: what a value means
(`nextbest.contact_book`), or where it is kept (`nextbest.projection`).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

from nextbest.projection import Read

T = TypeVar("T")


class Shelf(Generic[T]):
    """Values of one kind, by a name that follows `prefix` in their key."""

    def __init__(self, read: Read, prefix: str, kind: Any) -> None:
        self._read = read
        self._prefix = prefix
        self._decoder = msgspec.json.Decoder(kind)
        self._texts: dict[str, str | None] = {}
        self._values: dict[str, T | None] = {}

    async def load(self, names: Iterable[str]) -> None:
        """Have these values at hand; only then may they be asked for."""
        missing = [name for name in dict.fromkeys(names) if name not in self._texts]
        found = await self._read([self._prefix + name for name in missing])
        for name in missing:
            self._texts[name] = found.get(self._prefix + name)
            self._values[name] = self.before(name)

    def before(self, name: str) -> T | None:
        """The value as it was read; a copy."""
        text = self._texts[name]
        return None if text is None else self._decoder.decode(text)

    def get(self, name: str) -> T | None:
        """The value as it has become."""
        return self._values[name]

    def put(self, name: str, value: T | None) -> None:
        """Have it become this, or nothing."""
        self._values[name] = value

    def present(self) -> list[tuple[str, T]]:
        """What is at hand and there."""
        return [(name, value) for name, value in self._values.items() if value is not None]

    def changed(self) -> Iterator[tuple[str, str | None]]:
        """The names of what is no longer as it was, and how it is to be kept."""
        for name, value in self._values.items():
            text = None if value is None else msgspec.json.encode(value, order="sorted").decode()
            if text != self._texts[name]:
                yield name, text

    def values(self) -> dict[str, str | None]:
        """What is to be written, by key."""
        return {self._prefix + name: text for name, text in self.changed()}
