"""Orders to the running server of a home: another number of replicas, or fresh ones; and what became of each.

Belongs here: the files through which a command asks and the server answers, and the number of replicas a server starts
with. Does not belong here: carrying an order out (`serving.fleet`).
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import msgspec

from nextbest.adapters.files import write_whole
from nextbest.settings import Settings


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: `replicas` (None: as many as there are), all of them `fresh` or not."""

    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    replicas: int | None = None
    fresh: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What became of an order: done, where there is no `error`."""

    error: str = ""


class Size(msgspec.Struct, frozen=True):
    """How many replicas somebody asked for, and what NEXTBEST_REPLICAS was when they did."""

    replicas: int
    configured: int


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders of one home, each a file, the oldest first."""

    settings: Settings

    def give(self, order: Order) -> None:
        _write(self._order(order), order)

    def first(self) -> Order | None:
        """The order that has waited longest."""
        waiting = self._waiting()
        return waiting[0] if waiting else None

    def close(self, order: Order, error: str = "") -> None:
        """Say what became of `order`."""
        _write(self._outcome(order), Outcome(error))
        self._order(order).unlink(missing_ok=True)

    def close_all(self, error: str) -> None:
        """Say the same of every order that waits."""
        for order in self._waiting():
            self.close(order, error)

    def outcome(self, order: Order) -> Outcome | None:
        """What became of `order`; None while nothing has."""
        try:
            return msgspec.json.decode(self._outcome(order).read_bytes(), type=Outcome)
        except FileNotFoundError:
            return None

    def forget(self, order: Order) -> None:
        """Take `order` back, or away what became of it."""
        self._order(order).unlink(missing_ok=True)
        self._outcome(order).unlink(missing_ok=True)

    def keep_size(self, replicas: int) -> None:
        """Let later servers of this home start with `replicas`."""
        _write(self._size, Size(replicas, self.settings.replicas))

    def size(self) -> int:
        """How many replicas a server starts with: the number said last, by an order or in NEXTBEST_REPLICAS."""
        try:
            kept = msgspec.json.decode(self._size.read_bytes(), type=Size)
        except FileNotFoundError:
            return self.settings.replicas
        return kept.replicas if kept.configured == self.settings.replicas else self.settings.replicas

    def _waiting(self) -> list[Order]:
        found = []
        for file in self._folder.glob("*.order.json"):
            with suppress(FileNotFoundError):  # taken back this moment
                found.append((file.stat().st_mtime_ns, msgspec.json.decode(file.read_bytes(), type=Order)))
        return [order for _, order in sorted(found, key=itemgetter(0))]

    @property
    def _folder(self) -> Path:
        return self.settings.run / "orders"

    @property
    def _size(self) -> Path:
        return self._folder / "size.json"

    def _order(self, order: Order) -> Path:
        return self._folder / f"{order.id}.order.json"

    def _outcome(self, order: Order) -> Path:
        return self._folder / f"{order.id}.outcome.json"


def _write(path: Path, content: msgspec.Struct) -> None:
    write_whole(path, msgspec.json.encode(content))
