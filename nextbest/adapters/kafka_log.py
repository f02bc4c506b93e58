"""The event log on Kafka: a topic is what is durable, and the home's file is a copy of it, which serves every read.

Belongs here: appending. Does not belong here: the connection (`nextbest.adapters.kafka_topic`), or bringing what others
have appended into the copy (`nextbest.adapters.kafka_mirror`), which one process of the home does for all.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from nextbest.adapters.kafka_topic import BrokerError, Message, Sender, Topic
from nextbest.adapters.log_copy import LogCopy
from nextbest.adapters.sqlite import PATIENCE_S
from nextbest.envelope import Envelope, decode, encode
from nextbest.erasure import ERASURE
from nextbest.log import Appended, LogUnavailableError

_LOOK_S = 0.002
_encode = msgspec.json.encode
_decode_all = msgspec.json.Decoder(tuple[Envelope, ...]).decode


class KafkaLog(LogCopy):
    """An `EventLog` in `topic`, with its copy at `path`; an append that nobody has acknowledged by then fails."""

    def __init__(self, topic: Topic, path: Path, patience_s: float = PATIENCE_S) -> None:
        super().__init__(path, patience_s)
        self._sender = Sender(topic, patience_s)
        self._patience_s = patience_s

    @property
    def is_definite(self) -> bool:
        return False  # what a broker has not acknowledged it may have, or get

    async def append(self, records: Sequence[Envelope], *, together: bool = False, fresh: bool = False) -> Appended:
        """Append to the topic; a decision whose id may be another's is waited for until the copy has it, or the other.

        Of two tries within the moment that the copy is behind, the first in the topic is the one: only the copy can
        tell. Any other record counts once too, though both of its tries may be told that it was new.
        """
        held = {} if fresh else self.held(record.event_id for record in records)
        first = records[0] if together and records else None
        if first and first.event_id in held:
            return _stands_with(held[first.event_id], records)
        news, repeated = _news(records, held)
        awaited = {record.event_id for record in news if record.type == ERASURE} | repeated
        if first and not fresh:
            awaited.add(first.event_id)
        ends = asyncio.get_running_loop().time() + self._patience_s
        try:
            await self._sender.send(_messages(records if first else news, together=together))
            async with asyncio.timeout_at(ends):
                copied = await self._copied(awaited)
        except BrokerError as error:
            raise LogUnavailableError(f"the event log cannot be used: {error}") from error
        except TimeoutError as error:
            said = f"what is appended to {self._sender.topic.url} does not arrive in the home in time"
            raise LogUnavailableError(f"the event log cannot be used: {said}") from error
        if first and first.event_id in copied and await self._is_another(copied[first.event_id], first):
            return _stands_with(copied[first.event_id], records)
        found = held | copied
        return Appended(tuple(found.get(record.event_id, 0) for record in records), frozenset(held) | repeated)

    def append_sync(self, records: Sequence[Envelope]) -> Appended:
        return asyncio.run(self.append(records))

    def close(self) -> None:
        self._sender.close()
        super().close()

    async def _copied(self, event_ids: set[str]) -> dict[str, int]:
        """Their offsets, once the copy holds them all."""
        found: dict[str, int] = {}
        while len(found) < len(event_ids):
            await asyncio.sleep(_LOOK_S)
            found = self.held(event_ids)
        return found

    async def _is_another(self, offset: int, record: Envelope) -> bool:
        ((_, held),) = await self.read(offset - 1, 1)
        return held != decode(encode(record))


def records_of(value: bytes | None) -> Sequence[Envelope]:
    """The records of a message, which one append logged.

    Raises:
        msgspec.DecodeError: it is no envelope, nor a list of some; the message says why.

    """
    if not value:
        raise msgspec.DecodeError("it is empty")
    if not value.lstrip().startswith(b"["):
        return (decode(value),)
    if records := _decode_all(value):
        return records
    raise msgspec.DecodeError("it is an empty list")


def _messages(records: Sequence[Envelope], *, together: bool) -> list[Message]:
    """One message for each record, or one for all that are to stand or fall together."""
    if together and records:
        return [Message(records[0].partition_key.encode(), _encode(records))]
    return [Message(record.partition_key.encode(), encode(record)) for record in records]


def _stands_with(offset: int, records: Sequence[Envelope]) -> Appended:
    """Another one was first: all of `records` are duplicates of it."""
    return Appended((offset,) * len(records), frozenset(record.event_id for record in records))


def _news(records: Sequence[Envelope], held: Mapping[str, int]) -> tuple[list[Envelope], set[str]]:
    """The first record of each id that is not held, and which of their ids come again."""
    news: dict[str, Envelope] = {}
    repeated = set()
    for record in records:
        if record.event_id in news:
            repeated.add(record.event_id)
        elif record.event_id not in held:
            news[record.event_id] = record
    return list(news.values()), repeated
