"""Records that could not be brought into State, for a person to look at: the last hundred, and how many there were.

Belongs here: the file. Does not belong here: passing over them (`nextbest.following`).
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from nextbest.adapters.files import write_whole
from nextbest.envelope import Envelope

_KEPT = 100


class SkippedRecord(msgspec.Struct, frozen=True):
    """A record of the log, and the kind of error that applying it raised; its message might quote the record."""

    log_id: str
    offset: int
    event_id: str
    type: str
    error: str
    skipped_at: datetime


class Skipped(msgspec.Struct, frozen=True):
    """How many there were, and the last of them."""

    count: int = 0
    last: tuple[SkippedRecord, ...] = ()


class SkippedRecords:
    """Those of one home, in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, log_id: str, offset: int, record: Envelope, error: Exception, now: datetime) -> None:
        """Keep one more; the same again, when the log is applied anew, is not counted again.

        A disk that is full is no reason to stop: it is in the server's log too.
        """
        found = self.read()
        if any((each.log_id, each.offset) == (log_id, offset) for each in found.last):
            return
        new = SkippedRecord(log_id, offset, record.event_id, record.type, type(error).__name__, now)
        content = Skipped(found.count + 1, (*found.last, new)[-_KEPT:])
        with suppress(OSError):
            write_whole(self._path, msgspec.json.encode(content))

    def read(self) -> Skipped:
        """What is kept; nothing where there is no file."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Skipped)
        except (OSError, msgspec.DecodeError):
            return Skipped()
