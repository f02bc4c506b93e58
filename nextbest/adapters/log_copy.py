"""The home's copy of a log that is elsewhere: the file of `SqliteLog`, and how far it has come in its source.

Belongs here: taking in what the source holds, once, in one transaction with the place up to which it was read; and
forgetting whom an entry says to forget, which the source does not. Does not belong here: where records come from
(`nextbest.adapters.kafka_mirror`).
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nextbest.adapters.sqlite import PATIENCE_S
from nextbest.adapters.sqlite_log import LOG_ID, SqliteLog, entries, filed, insert, positions, replace, row_of
from nextbest.envelope import Envelope
from nextbest.erasure import ERASURE, without
from nextbest.identity import names_in

_READ_TO = "SELECT partition, next_offset FROM sources WHERE topic = ?"
_READ_ON = """
INSERT INTO sources (topic, partition, next_offset) VALUES (?, ?, ?)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""
_TIED = """
SELECT json_extract(envelope, '$.partition_key') FROM records
WHERE contract IN ('identities', '') AND json_valid(envelope)
  AND (json_extract(envelope, '$.properties.customer_id') IN (SELECT value FROM json_each(:names))
       OR json_extract(envelope, '$.properties.other_id') IN (SELECT value FROM json_each(:names)))
"""
_ERASURES = """
SELECT position, envelope, event_id, contract, day FROM records
WHERE event_id >= 'erasure/' AND event_id < 'erasure0' AND +position > ? ORDER BY position
"""
Erasures = defaultdict[str, list[Envelope]]
"""By name the entries that say to forget it."""


class LogCopy(SqliteLog):
    """The file at `path`; what is read from it is what `take_in` has brought."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        super().__init__(path, patience_s)
        self._erasures = Erasures(list)
        self._erasures_of = "", 0
        """Of which copy they are, and up to which position it was looked through for them."""

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
            here = connection.execute(LOG_ID).fetchone()[0]
            if log_id and here != log_id:
                raise sqlite3.OperationalError("the copy was made anew")
            self._look_for_erasures(connection, here)
            erasures = self._erasures, Erasures(list)
            for records in messages:
                insert(connection, [row_of(record) for record in records], together=True)
                for record in records:
                    _forget(connection, record, erasures)
            connection.executemany(_READ_ON, places)

        await self._write(run)
        if any(record.type == ERASURE for records in messages for record in records):
            await self._empty_write_ahead_log()

    def _look_for_erasures(self, connection: sqlite3.Connection, log_id: str) -> None:
        """Read those that have come since: what a transaction begins with is there to stay."""
        of, position = self._erasures_of
        if of != log_id:
            self._erasures, position = Erasures(list), 0
        found = entries(connection.execute(_ERASURES, (position,)))
        for _, entry in found:
            _add(self._erasures, entry)
        self._erasures_of = log_id, found[-1][0] if found else position


def _add(erasures: Erasures, entry: Envelope) -> None:
    for name in names_in(entry) if entry.type == ERASURE else ():
        erasures[name].append(entry)


def _forget(connection: sqlite3.Connection, record: Envelope, erasures: tuple[Erasures, Erasures]) -> None:
    """Strip what `record` says is to be forgotten, or `record` itself where an earlier one has said so of it.

    Whoever erases a customer strips the copy by themselves (`serving.customers`); a copy that is made anew gets the
    entries as they were. Those under a customer's id are in one partition, and so before the erasure or after it; of
    those under other names the time has to say it.

    Args:
        connection: Of the open transaction.
        record: What it has just taken in.
        erasures: Those that were there before it, and those that it has brought.

    """
    if record.type == ERASURE:
        _add(erasures[1], record)
        _strip(connection, record, _around(connection, names_in(record)))
        return
    names = {record.partition_key, *names_in(record)}
    for word in [word for each in erasures for name in names for word in each.get(name, ())]:
        if record.partition_key != word.partition_key and record.received_at <= word.received_at:
            own = [each for each in filed(connection, record.partition_key) if each[1].event_id == record.event_id]
            _strip(connection, word, own)


def _around(connection: sqlite3.Connection, names: Sequence[str]) -> list[tuple[int, Envelope]]:
    """What is filed under names, and under those that entries tie to them."""
    found = [each for name in names for each in filed(connection, name)]
    near = {end for _, entry in found for end in names_in(entry)}
    near.update(key for (key,) in connection.execute(_TIED, {"names": json.dumps(names)}))
    return found + [each for name in near.difference(names) for each in filed(connection, name)]


def _strip(connection: sqlite3.Connection, word: Envelope, found: Sequence[tuple[int, Envelope]]) -> None:
    """Leave of what came before an erasure so much as adds up."""
    names = names_in(word)
    before = (
        (position, entry)
        for position, entry in found
        if entry.partition_key == word.partition_key or entry.received_at <= word.received_at
    )
    left = ((position, entry, without(entry, names)) for position, entry in before)
    replace(connection, [(position, new) for position, entry, new in left if new is not entry])
