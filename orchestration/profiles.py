"""What a snapshot's last two deliveries looked like, for a replaced snapshot is gone when the next one is checked.

Belongs here: keeping rows and distributions as small JSON below `NEXTBEST_HOME`. Does not belong here: comparing them
(`nextbest.drift`, `nextbest.volume`).
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from nextbest.drift import Profile


class Delivered(msgspec.Struct, frozen=True):
    """A delivery: `version` names its batches; of a column that says nothing there is no profile."""

    version: str
    rows: int
    columns: Mapping[str, Profile]


class _History(msgspec.Struct, frozen=True):
    current: Delivered
    previous: Delivered | None = None


def last_different(path: Path, version: str, describe: Callable[[], Delivered]) -> Delivered | None:
    """The delivery before the one of this version, which is kept from now on; None before there are two.

    Asked again about the same delivery it says the same, so that a check may be repeated. `describe` is called for a
    delivery that is new.
    """
    history = msgspec.json.decode(path.read_bytes(), type=_History) if path.exists() else None
    if history and history.current.version == version:
        return history.previous
    previous = history.current if history else None
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(_History(describe(), previous)))
    draft.replace(path)
    return previous
