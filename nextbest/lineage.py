"""Lineage: who reads which column, from a field of a contract to the models and policies at the other end.

Belongs here: the graph of columns and the question who is hit when one changes. Does not belong here: finding out who
reads what (`orchestration.lineage`, from the SQL, the feature views, the models and the policies themselves).
"""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

Kind = Literal["contract", "dbt model", "event log", "feature view", "model", "policy"]


class Column(msgspec.Struct, frozen=True, order=True):
    """A column of something: a contract's field, a model's or view's column, an input of a model, a feature of rules.

    `name` is empty where a consumer reads the whole of what it names.
    """

    kind: Kind
    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.owner}.{self.name}" if self.name else f"{self.kind} {self.owner}"


class Lineage(msgspec.Struct, frozen=True):
    """For each column, the columns that are made of it, one step on."""

    readers: Mapping[Column, Collection[Column]] = {}

    def consumers(self, contract: str, field: str = "") -> tuple[Column, ...]:
        """All that depends on a contract's field, or on any of its fields, nearest first and each once."""
        starts = [
            column
            for column in sorted(self.readers)
            if column.kind == "contract" and column.owner == contract and field in {"", column.name}
        ]
        found: dict[Column, None] = {}
        waiting = deque(starts)
        while waiting:
            for reader in sorted(self.readers.get(waiting.popleft(), ())):
                if reader not in found:
                    found[reader] = None
                    waiting.append(reader)
        return tuple(found)
