"""The event log: the ordered, durable record of everything that happened, from which every online state can be rebuilt.

Belongs here: what any log promises, and the errors and results its callers see. Does not belong here: a store (those
are in `nextbest.adapters`), what an event means (`nextbest.envelope`) or does (`nextbest.state`).
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from nextbest.envelope import Envelope
from nextbest.errors import NextbestError


class LogUnavailableError(NextbestError):
    """The log could not take or give records; nothing of the call was acknowledged.

    What it could not take may have arrived all the same, or arrive yet.
    """


class Appended(msgspec.Struct, frozen=True):
    """What became of the records of one append.

    Attributes:
        offsets: one per record, in the records' order; a duplicate has the offset of the first record with its id, and
            what is new its own, or 0 where it can be read only a moment later.
        duplicates: ids that the log (or an earlier record of the same append) held already; their records are ignored.
            Where what was acknowledged can be read only a moment later, two tries within that moment may both be told
            that they were new, unless they were appended `together`; they count once.

    """

    offsets: tuple[int, ...]
    duplicates: frozenset[str]


class Arrived(msgspec.Struct, frozen=True):
    """What a log holds of a contract and a day of arrival (UTC): it changes with every record that comes or is emptied.

    Attributes:
        contract: its name.
        day: as `YYYY-MM-DD`.
        offset: that of the newest record; 0 where all have been emptied.
        emptied: how many records `replace` has taken out of the contract so far, or left less of.

    """

    contract: str
    day: str
    offset: int
    emptied: int


class EventLog(Protocol):
    """At-least-once in, made once by event id. An offset is a growing integer; 0 is before the first record."""

    @property
    def is_definite(self) -> bool:
        """Whether an append that fails or is cancelled leaves nothing; else its records may be there, or come to be."""
        ...

    async def append(self, records: Sequence[Envelope], *, together: bool = False, fresh: bool = False) -> Appended:
        """Return once `records` survive the death of any process.

        With `together` they stand or fall with the first: when that is a duplicate, all are. With `fresh` their ids
        were drawn at random for this append, so that a log to which looking for duplicates is work need not look.

        Raises:
            LogUnavailableError: they may not survive, or not all of them; appending them again is safe.

        """
        ...

    async def read(self, after: int, limit: int) -> list[tuple[int, Envelope]]:
        """The first `limit` records with an offset above `after`, in order; no record ever appears below a read one."""
        ...

    async def log_id(self) -> str:
        """The name of this log, drawn when it was made: offsets are of one log, and mean nothing in another."""
        ...

    async def last_offset(self) -> int:
        """The offset of the newest record; 0 when there is none."""
        ...

    async def filed_under(self, keys: Sequence[str]) -> list[tuple[int, Envelope]]:
        """Every record with one of these partition keys, in order; it may take its time."""
        ...

    async def replace(self, records: Sequence[tuple[int, Envelope]]) -> None:
        """Put records in the place of others at their offsets, all or none: for erasure, and nothing else.

        Raises:
            LogUnavailableError: they are as they were.

        """
        ...

    async def about_decision(self, decision_id: str) -> list[tuple[int, Envelope]]:
        """Every record that names `decision_id`, in order: its decision first, then what followed from it."""
        ...


async def decision_entries(log: EventLog, decision_id: str) -> list[Envelope]:
    """The entries of a decision, one per slot, each with the whole record; none where the log has no such decision.

    Raises:
        LogUnavailableError: the log cannot be read.

    """
    return [entry for _, entry in await log.about_decision(decision_id) if entry.type == "decision"]
