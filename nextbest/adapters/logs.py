"""The event log of a home: on SQLite or on Kafka, as `NEXTBEST_LOG` says.

Belongs here: the choice, and what any of them offers beside the protocol. Does not belong here: either of them.
"""

from collections.abc import Sequence
from typing import Protocol

from nextbest.adapters.sqlite import PATIENCE_S
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope
from nextbest.log import Appended, Arrived, EventLog
from nextbest.settings import Settings


class OpenLog(EventLog, Protocol):
    """An event log that somebody has to close; the `_sync` methods are for callers without an event loop."""

    def append_sync(self, records: Sequence[Envelope]) -> Appended: ...

    def read_sync(self, after: int, limit: int) -> list[tuple[int, Envelope]]: ...

    def arrived_sync(self, contract: str) -> list[Arrived]:
        """The days on which something arrived under a contract, in order; it costs time by their number alone.

        What came out of the landing has not arrived under its contract, but under `landing/` and its name.
        """
        ...

    def of_day_sync(self, arrived: Arrived, after: int, limit: int) -> list[tuple[int, Envelope]]:
        """Of a contract and a day, the first `limit` records after an offset and not beyond that of `arrived`."""
        ...

    def remove_sync(self, arrived: Arrived, gone: Sequence[int], left: Sequence[tuple[int, Envelope]] = ()) -> None:
        """Take records of a contract and a day out of the log at their offsets, and put `left` in the place of others.

        Unlike what is replaced for an erasure, a day of which nothing is left is a day on which nothing arrived.

        Raises:
            LogUnavailableError: they are as they were.

        """
        ...

    def close(self) -> None:
        """Let go of threads, files and connections; it takes no event loop."""
        ...


def open_log(settings: Settings, patience_s: float = PATIENCE_S) -> OpenLog:
    """The event log of the home; it is connected to when it is first used.

    Args:
        settings: Of the home.
        patience_s: Seconds after which a call that has not succeeded fails.

    """
    return SqliteLog(settings.event_log, patience_s)
