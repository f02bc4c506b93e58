"""The mirror: brings what is in the log's topic into the home's copy, soon, in order and once.

Belongs here: reading the topic, how far the copy is behind it, and what becomes of it when the broker, the topic or the
copy is not as it was. Does not belong here: what the copy does with records (`nextbest.adapters.log_copy`), or
appending (`kafka_log`).
"""

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from nextbest.adapters.kafka_dead_letters import DeadLetters
from nextbest.adapters.kafka_gaps import Gaps
from nextbest.adapters.kafka_log import records_of
from nextbest.adapters.kafka_topic import BrokerError, Topic, end, said
from nextbest.adapters.late_rejects import LateRejects
from nextbest.adapters.log_copy import LogCopy
from nextbest.adapters.quarantine import QuarantineUnavailableError
from nextbest.envelope import NOT_ENVELOPES, Envelope
from nextbest.log import LogUnavailableError

_log = logging.getLogger(__name__)

_BATCH_RECORDS = 500
_PATIENCE_S = 3.0
_METADATA_MS = 10_000
"""How old what is known of partitions and their brokers may be."""
_LOOK_S = 1.0
_RETRY_S = 0.5
_AGAIN_S = 0.01
"""How soon what was missing between two messages is looked for again."""
_FETCH_WAIT_MS = 20
"""How long a broker may hold an empty answer back: not all of them send it at once when something comes."""


class Mirror:
    """Follows `topic` into `copy`. One per home is enough; two do the same work twice, and no harm."""

    def __init__(self, topic: Topic, copy: LogCopy, late: LateRejects, patience_s: float = _PATIENCE_S) -> None:
        self._topic = topic
        self._copy = copy
        self._late = late
        self._patience_s = patience_s
        self._dead = DeadLetters(topic, patience_s)
        self._gaps = Gaps()
        self._next: dict[int, int] = {}
        """By partition, what is to be read next: as in the copy."""
        self._log_id = ""
        """The copy's."""
        self._told: dict[int, int] = {}
        """As Kafka has been told."""

    async def follow(self) -> None:
        """Bring in what comes, until cancelled; a broker or a copy that cannot be used is tried again."""
        try:
            while True:
                try:
                    await self._follow()
                except (
                    BrokerError,
                    KafkaError,
                    LogUnavailableError,
                    QuarantineUnavailableError,
                    OSError,
                ) as error:
                    _log.warning("the copy of the event log waits: %s", error)
                await asyncio.sleep(_RETRY_S)
        finally:
            self._dead.close()

    async def _follow(self) -> None:
        partitions = await self._topic.make(self._patience_s)
        self._log_id = await self._copy.log_id()
        known = self._copy.read_to(self._topic.url)
        self._next = {partition: known.get(partition, 0) for partition in partitions}
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._topic.servers,
            group_id=f"nextbest-{self._log_id}",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            metadata_max_age_ms=_METADATA_MS,
            request_timeout_ms=round(self._patience_s * 1_000),
        )
        try:
            await consumer.start()
            consumer.assign([TopicPartition(self._topic.name, partition) for partition in partitions])
            for place in consumer.assignment():
                consumer.seek(place, self._next[place.partition])
            await self._follow_with(consumer)
        finally:
            await end(consumer)

    async def _follow_with(self, consumer: AIOKafkaConsumer) -> None:
        """Return when the topic has other partitions than before."""
        looked = 0.0
        while consumer.partitions_for_topic(self._topic.name) in (None, set(self._next)):
            if time.monotonic() - looked > _LOOK_S:
                await self._look(consumer)
                looked = time.monotonic()
            try:
                found = await consumer.getmany(timeout_ms=round(_LOOK_S * 1_000), max_records=_BATCH_RECORDS)
            except OffsetOutOfRangeError as error:
                await self._begin_again(consumer, list(error.args[0]))
            else:
                await self._take_in(await self._without_gaps(consumer, found))

    async def _without_gaps(
        self, consumer: AIOKafkaConsumer, found: Mapping[TopicPartition, Sequence[Any]]
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """What of `found` comes before a gap that may yet be filled; what comes after it is read again."""
        sure = {}
        for place, batch in found.items():
            offsets = [message.offset for message in batch]
            expected, ends = self._next[place.partition], int(consumer.highwater(place) or 0)
            count = self._gaps.sure(place.partition, expected, offsets, ends, time.monotonic())
            if count < len(batch):
                consumer.seek(place, offsets[count - 1] + 1 if count else expected)
            if count:
                sure[place] = batch[:count]
        if not sure and found:
            await asyncio.sleep(_AGAIN_S)
        return sure

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """See that copy and topic still are what they were, and say how far this is, for Kafka's own tools."""
        if await self._copy.log_id() != self._log_id:
            raise LogUnavailableError("it was made anew, and is filled from the topic's beginning")
        places = list(consumer.assignment())
        begins = await consumer.beginning_offsets(places)
        lost = [place for place in places if not begins[place] <= self._next[place.partition] <= _end(consumer, place)]
        if lost:
            await self._begin_again(consumer, lost)
        if self._told != self._next:
            with suppress(KafkaError, TimeoutError):  # the copy knows by itself, and aiokafka would try for ever
                async with asyncio.timeout(_LOOK_S):
                    await consumer.commit({place: self._next[place.partition] for place in places})
                    self._told = dict(self._next)

    async def _begin_again(self, consumer: AIOKafkaConsumer, lost: Sequence[TopicPartition]) -> None:
        for place, first in (await consumer.beginning_offsets(lost)).items():
            _log.warning(
                "%s/%s has not what comes at %s, as far as it was read: it is read from %s; what the copy has already "
                "counts once, and what the topic no longer has is lost to it",
                *(place.topic, place.partition, self._next[place.partition], first),
            )
            self._next[place.partition] = first
            consumer.seek(place, first)

    async def _take_in(self, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """One transaction for all that has come; where a message cannot be taken in, one for each."""
        if not found:
            return
        messages = [message for batch in found.values() for message in batch]
        records = [each for message in messages if (each := await self._records_of(message))]
        read = {place.partition: batch[-1].offset + 1 for place, batch in found.items()}
        await self._late.keep([record for each in records for record in each])
        try:
            await self._copy.take_in(self._topic.url, records, read, self._log_id)
        except LogUnavailableError:
            raise
        except Exception:  # noqa: BLE001  whatever it is, the one that it belongs to is a dead letter
            for message in messages:
                await self._take_in_alone(message)
        self._next |= read

    async def _take_in_alone(self, message: Any) -> None:
        read = {message.partition: message.offset + 1}
        try:
            await self._copy.take_in(self._topic.url, [records_of(message.value)], read, self._log_id)
        except LogUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  as above
            await self._dead.put(message, f"it cannot be taken in: {error!r}")
            await self._copy.take_in(self._topic.url, [], read, self._log_id)

    async def _records_of(self, message: Any) -> Sequence[Envelope]:
        """The records of a message; of a dead letter none."""
        try:
            return records_of(message.value)
        except NOT_ENVELOPES as error:
            await self._dead.put(message, f"it is no envelope: {error}")
            return ()


async def behind(topic: Topic, copy: LogCopy, patience_s: float = _PATIENCE_S) -> int:
    """How many messages of the topic the copy has not taken in.

    Raises:
        BrokerError: no broker says so within `patience_s` seconds.
        LogUnavailableError: the copy cannot be read.

    """
    known = copy.read_to(topic.url)
    consumer = AIOKafkaConsumer(bootstrap_servers=topic.servers, auto_offset_reset="none", enable_auto_commit=False)
    try:
        async with asyncio.timeout(patience_s):
            places = [TopicPartition(topic.name, partition) for partition in await topic.make(patience_s)]
            await consumer.start()
            consumer.assign(places)
            begins = await consumer.beginning_offsets(places)
            next_offsets = {place: max(known.get(place.partition, 0), begins[place]) for place in places}
            for place, offset in next_offsets.items():
                consumer.seek(place, offset)
            while any(consumer.highwater(place) is None for place in places):
                await consumer.getmany(timeout_ms=_FETCH_WAIT_MS, max_records=1)
            return sum(max(int(consumer.highwater(place)) - next_offsets[place], 0) for place in places)
    except (KafkaError, OSError) as error:  # a timeout is an OSError
        raise BrokerError(f"{topic.url}: {said(error)}") from error
    finally:
        await end(consumer)


def _end(consumer: AIOKafkaConsumer, place: TopicPartition) -> float:
    """Where a partition ended when it was last read: not every broker says it when it is asked."""
    last = consumer.highwater(place)
    return math.inf if last is None else int(last)
