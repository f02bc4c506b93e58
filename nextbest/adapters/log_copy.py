"""The home's copy of a log that is elsewhere: the file of `SqliteLog`, and how far it has come in its source.

Belongs here: taking in what the source holds, once, in one transaction with the place up to which it was read; and
forgetting whom an entry says to forget, which the source does not. Does not belong here: where records come from
(`nextbest.adapters.kafka_mirror`).
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from nextbest.adapters.sqlite_log import LOG_ID, SqliteLog, filed, insert, positions, replace, row_of
from nextbest.envelope import Envelope
from nextbest.erasure import ERASURE, without_customer

_READ_TO = "SELECT partition, next_offset FROM sources WHERE topic = ?"
_READ_ON = """
INSERT INTO sources (topic, partition, next_offset) VALUES (?, ?, ?)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""
_IDENTIFIERS = """
SELECT json_extract(envelope, '$.partition_key') FROM records
WHERE contract = 'identities' AND json_valid(envelope) AND json_extract(envelope, '$.properties.customer_id') = ?
"""


class LogCopy(SqliteLog):
    """The file at `path`; what is read from it is what `take_in` has brought."""

    def held(self, event_ids: Iterable[str]) -> dict[str, int]:
        """The offset of each of these records that is there.

        Raises:
            LogUnavailableError: the file cannot be read.

        """
        return positions(self._rows, list(event_ids))

    def read_to(self, topic: str) -> dict[int, int]:
        """By partition, the offset that is to be read next; none for a partition of which nothing was read.

        A topic is named with its brokers: one of the same name elsewhere is another, and is read from its beginning.

        Raises:
            LogUnavailableError: the file cannot be read.

        """
        return dict(self._rows(_READ_TO, (topic,)))

    async def take_in(
        self, topic: str, messages: Sequence[Sequence[Envelope]], next_offsets: Mapping[int, int], log_id: str = ""
    ) -> None:
        """Insert what is new, in order, and go on from `next_offsets` (by partition); all of it or nothing.

        Each message is what one append logged together: it stands or falls with its first record.

        Args:
            topic: Its name, with its brokers.
            messages: What was read from it.
            next_offsets: By partition, what is to be read next.
            log_id: Of the copy that was read up to there; one that was made anew since has nothing of what came before.

        Raises:
            LogUnavailableError: nothing was taken in.

        """
        places = [(topic, partition, offset) for partition, offset in next_offsets.items()]

        def run(connection: sqlite3.Connection) -> None:
            if log_id and connection.execute(LOG_ID).fetchone()[0] != log_id:
                raise sqlite3.OperationalError("the copy was made anew")
            for records in messages:
                insert(connection, [row_of(record) for record in records], together=True)
                for record in records:
                    _forget(connection, record)
            connection.executemany(_READ_ON, places)

        await self._write(run)
        if any(record.type == ERASURE for records in messages for record in records):
            await self._empty_write_ahead_log()


def _forget(connection: sqlite3.Connection, record: Envelope) -> None:
    """Strip what `record` says is to be forgotten, or `record` itself where an earlier one has said so of it.

    Whoever erases a customer strips the copy by themselves (`serving.customers`); a copy that is made anew gets the
    entries as they were. Those under a customer's id are in one partition, and so before the erasure or after it; of
    identifiers the time has to say it.
    """
    if record.type == ERASURE:
        customer_id = _customer_of(record)
        keys = [customer_id, *(key for (key,) in connection.execute(_IDENTIFIERS, (customer_id,)))]
        found = [entry for key in keys for entry in filed(connection, key)]
        before = [
            (position, without_customer(entry))
            for position, entry in found
            if entry.type != ERASURE and (entry.partition_key == customer_id or entry.received_at <= record.received_at)
        ]
        replace(connection, before)
    elif record.type == "identity":
        erasures = [
            entry
            for _, entry in filed(connection, _customer_of(record))
            if entry.type == ERASURE and entry.received_at >= record.received_at
        ]
        if erasures:
            found = [each for each in filed(connection, record.partition_key) if each[1].event_id == record.event_id]
            replace(connection, [(position, without_customer(entry)) for position, entry in found])


def _customer_of(record: Envelope) -> str:
    return str(record.properties.get("customer_id", ""))
