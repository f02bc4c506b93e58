"""Events from a topic of Kafka that somebody else fills: each message is a row of a contract, and goes through intake.

Belongs here: reading, and saying to Kafka how far this has come, once what was read is durable. Does not belong here:
what becomes of a row (`serving.intake`), and of what is none (`nextbest.adapters.kafka_dead_letters`).
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from nextbest.adapters.kafka_dead_letters import DeadLetters
from nextbest.adapters.kafka_topic import BrokerError, Topic, end
from nextbest.adapters.quarantine import QuarantineUnavailableError
from nextbest.errors import NextbestError
from nextbest.log import LogUnavailableError
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError
from nextbest.wire import EVENTS_LIMIT, EventRow
from serving.bodies import is_deep
from serving.door import opened
from serving.intake import Intake

_log = logging.getLogger(__name__)

_LOOK_MS = 500
"""How long an order to end may wait for a message."""
_PATIENCE_S = 10.0
_RETRY_S = 1.0
_MOST_S = 300.0
"""How long a batch may wait for log or State before its partitions are another consumer's."""
_ENVELOPE = frozenset(EventRow.__struct_fields__)


class ConsumeError(NextbestError):
    """There is nothing to consume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is consumed, and as what.

    Attributes:
        topic: where messages come from.
        contract: of a message that does not name one.
        group: who consumes; consumers of one group share the topic's partitions.
        session_s: seconds of silence after which a consumer's partitions are another's.

    """

    topic: Topic
    contract: str
    group: str
    session_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """Brings a source's messages through intake, at least once each; the log makes it once, by the row's key."""

    source: Source
    intake: Intake
    dead: DeadLetters
    said: Callable[[Mapping[str, int]], None]
    """Told after each batch how many rows were accepted, duplicates and rejected, and how many letters are dead."""
    count: Counter[str] = field(default_factory=Counter)

    async def run(self, ending: asyncio.Event) -> None:
        """Consume until `ending`; a log or a broker that goes away meanwhile is waited for.

        Raises:
            ConsumeError: the broker does not answer at first, or has no such topic.

        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.source.topic.servers,
            group_id=self.source.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=round(self.source.session_s * 1_000),
            heartbeat_interval_ms=round(self.source.session_s * 1_000 / 3),
            max_poll_interval_ms=round(max(self.source.session_s, _MOST_S) * 1_000),
        )
        try:
            await self._start(consumer)
            while not ending.is_set():
                found = await consumer.getmany(timeout_ms=_LOOK_MS, max_records=EVENTS_LIMIT)
                if found and await self._take(found, ending):
                    await self._commit(consumer, found)
        finally:
            await end(consumer)

    async def _start(self, consumer: AIOKafkaConsumer) -> None:
        topic = self.source.topic
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await consumer.start()
                known = await consumer.topics()
        except (KafkaError, OSError) as error:
            raise ConsumeError(f"no broker of Kafka answers at {topic.servers}: --from names another") from error
        if topic.name not in known:
            there_is = ", ".join(sorted(known)) or "none"
            raise ConsumeError(f"there is no topic {topic.name} at {topic.servers}: it has {there_is}")
        consumer.subscribe([topic.name])

    async def _take(self, found: Mapping[TopicPartition, Sequence[Any]], ending: asyncio.Event) -> bool:
        """Whether all of it is durable now: in the log, in quarantine, or a dead letter; not, if it is to end before.

        Rows that wait are tried again from the first: what is in the log already is a duplicate there. Of dead letters
        nothing would know that they are there already, so each is put there once.
        """
        unread = deque(message for batch in found.values() for message in batch)
        rows: list[EventRow] = []
        while not ending.is_set():
            try:
                while unread:
                    if row := await self._row(unread[0]):
                        rows.append(row)
                    unread.popleft()
                if rows:
                    taken = await self.intake.take(rows, sender=f"kafka:{self.source.topic.name}")
                    count = {"accepted": taken.accepted, "duplicates": taken.duplicates, "rejected": taken.rejected}
                    self.count.update(count)
            except (BrokerError, LogUnavailableError, QuarantineUnavailableError, StateUnavailableError) as error:
                _log.warning("%s waits: %s", self.source.topic.name, error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(ending.wait(), _RETRY_S)
                continue
            self.said(self.count)
            return True
        return False

    async def _row(self, message: Any) -> EventRow | None:
        """The row that a message is; none where it is a dead letter.

        Raises:
            BrokerError: it could not be kept.

        """
        try:
            return row_of(message.value, self.source.contract)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            await self.dead.put(message, f"it is no row: {error}")
            self.count["dead"] += 1
            return None

    async def _commit(self, consumer: AIOKafkaConsumer, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Say how far this has come. What Kafka does not hear of is read again: here, or by who has the partition."""
        read = {place: batch[-1].offset + 1 for place, batch in found.items() if place in consumer.assignment()}
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await consumer.commit(read)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            _log.warning("%s: what was taken in may come again, and counts once: %r", self.source.topic.name, error)


def row_of(value: bytes | None, contract: str) -> EventRow:
    """The row in a message: bare, of `contract`; or with its contract around it, as the API takes it.

    What is wrong with a value is for its contract to say.

    Raises:
        msgspec.DecodeError: it is neither; the message says why.

    """
    said = msgspec.json.decode(value or b"")
    is_wrapped = isinstance(said, dict) and {"contract", "properties"} <= said.keys() <= _ENVELOPE
    wrapped = said if is_wrapped else {"contract": contract, "properties": said}
    row = msgspec.convert(wrapped | {"properties": {}}, EventRow)
    properties = msgspec.convert(wrapped["properties"], dict[str, Any])
    if is_deep(properties):
        raise msgspec.ValidationError("it nests too deep")
    return msgspec.structs.replace(row, properties=properties)


async def run(
    settings: Settings, source: Source, ending: asyncio.Event, said: Callable[[Mapping[str, int]], None]
) -> Counter[str]:
    """Consume `source` into the log of the home until `ending`; returns what became of the messages.

    Raises:
        ConsumeError: there is nothing to consume.

    """
    with opened(settings) as intake, closing(DeadLetters(source.topic, _PATIENCE_S)) as dead:
        consumption = Consumption(source=source, intake=intake, dead=dead, said=said)
        await consumption.run(ending)
        return consumption.count
