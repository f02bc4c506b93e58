"""The event log of a home: on SQLite or on Kafka, as `NEXTBEST_LOG` says.

Belongs here: the choice, whether what was chosen is there, and what any of them offers beside the protocol. Does not
belong here: either of them.
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from typing import Protocol

from nextbest.adapters.sqlite import PATIENCE_S
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope
from nextbest.log import Appended, Arrived, EventLog, LogUnavailableError
from nextbest.settings import Settings

_LOOK_S = 3.0


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
    if settings.log_url:
        from nextbest.adapters.kafka_log import KafkaLog  # noqa: PLC0415  SQLite need not load Kafka's client
        from nextbest.adapters.kafka_topic import Topic  # noqa: PLC0415

        return KafkaLog(Topic.of(settings.log_url), settings.event_log, patience_s)
    return SqliteLog(settings.event_log, patience_s)


async def mirror(settings: Settings) -> None:
    """Bring into the home what is appended to a log elsewhere, until cancelled; a log in the home needs nothing."""
    if settings.log_url:
        from nextbest.adapters.contract_files import load_contracts  # noqa: PLC0415  as above
        from nextbest.adapters.kafka_mirror import Mirror  # noqa: PLC0415
        from nextbest.adapters.kafka_topic import Topic  # noqa: PLC0415
        from nextbest.adapters.late_rejects import LateRejects  # noqa: PLC0415
        from nextbest.adapters.log_copy import LogCopy  # noqa: PLC0415
        from nextbest.adapters.quarantine import Quarantine  # noqa: PLC0415

        contracts = load_contracts(settings.folder("contracts"))
        quarantine = Quarantine(settings.rejected_events, contracts)
        with closing(LogCopy(settings.event_log)) as copy, closing(LateRejects(copy, quarantine, contracts)) as late:
            await Mirror(Topic.of(settings.log_url), copy, late).follow()


async def behind(settings: Settings) -> int | None:
    """How many messages of a topic that is the log have not come to the home yet; none where the log is in the home.

    Raises:
        LogUnavailableError: the broker does not say, or the copy in the home cannot be read.

    """
    if not settings.log_url:
        return None
    from nextbest.adapters import kafka_mirror  # noqa: PLC0415  as above
    from nextbest.adapters.kafka_topic import BrokerError, Topic  # noqa: PLC0415
    from nextbest.adapters.log_copy import LogCopy  # noqa: PLC0415

    try:
        with closing(LogCopy(settings.event_log)) as copy:
            return await kafka_mirror.behind(Topic.of(settings.log_url), copy)
    except BrokerError as error:
        raise LogUnavailableError(f"the topic of the event log cannot be used: {error}") from error


def check_log(settings: Settings) -> None:
    """See, before anything starts, that the broker of the log answers; on SQLite there is none.

    Raises:
        LogUnavailableError: it does not within seconds; the message names the setting.

    """
    if not settings.log_url:
        return
    from nextbest.adapters.kafka_topic import BrokerError, Topic  # noqa: PLC0415  as above

    try:
        asyncio.run(Topic.of(settings.log_url).make(_LOOK_S))
    except BrokerError as error:
        raise LogUnavailableError(
            f"nothing was started: NEXTBEST_LOG is {settings.log_url}, and that topic cannot be used ({error}). Start "
            "the broker, or set NEXTBEST_LOG to one that runs, or to nothing for an SQLite file"
        ) from error
