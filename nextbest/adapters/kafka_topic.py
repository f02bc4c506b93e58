"""A topic of Kafka: where it is, that it is there, and messages that are acknowledged by every replica in step.

Belongs here: what the event log and the topics that events come from share. Does not belong here: what is in a message
(`nextbest.adapters.kafka_log`, `serving.consume`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

_SCHEME = "kafka://"
_DEAD = ".dead"
_REPLICAS = 3
_MESSAGE_BYTES = 16 * 2**20
"""More than what comes in through the API; whether it is too much is for the broker to say."""
_BATCH_BYTES = 2**20
"""As many as brokers take at a time unless they are told otherwise; with aiokafka's 16 kB half as many records pass."""
_LOOK_S = 0.05

# Of every try to connect it says that it failed; whoever uses it says so once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

Headers = Sequence[tuple[str, bytes]]


class BrokerError(Exception):
    """The broker cannot be used; the message says why."""


class Message(NamedTuple):
    """What is sent. Those with one key arrive in their order."""

    key: bytes | None
    value: bytes
    headers: Headers = ()


class Topic(NamedTuple):
    """A topic, and the brokers to ask for it: `host:port,host:port`."""

    servers: str
    name: str
    partitions: int = 1
    """How many it gets if it is made."""

    @classmethod
    def of(cls, url: str) -> "Topic":
        """The topic in `kafka://host:port,host:port/topic?partitions=N`, as the settings have checked it."""
        servers, _, rest = url.removeprefix(_SCHEME).partition("/")
        name, _, option = rest.partition("?")
        return cls(servers, name, int(option.partition("=")[2] or 1))

    @property
    def url(self) -> str:
        """The address, for people."""
        return f"{_SCHEME}{self.servers}/{self.name}"

    @property
    def dead(self) -> "Topic":
        """Where messages go of which nothing can be made."""
        return Topic(self.servers, f"{self.name}{_DEAD}")

    async def make(self, patience_s: float) -> list[int]:
        """Make the topic where it is not there yet, on three brokers if there are as many; returns its partitions.

        Raises:
            BrokerError: no broker answers within `patience_s` seconds, or they do not want to.

        """
        try:
            async with asyncio.timeout(patience_s), self._admin(patience_s) as admin:
                brokers = (await admin.describe_cluster())["brokers"]
                wanted = NewTopic(self.name, self.partitions, min(_REPLICAS, len(brokers)))
                answer = await admin.create_topics([wanted])
                while not (partitions := await self._led(admin)):
                    _refuse(*(code for _, code, *_ in answer.topic_errors))
                    await asyncio.sleep(_LOOK_S)
                return partitions
        except (KafkaError, OSError) as error:  # a timeout is an OSError
            raise BrokerError(f"{self.url}: {said(error)}") from error

    async def _led(self, admin: AIOKafkaAdminClient) -> list[int]:
        """The partitions; none before each has a broker that leads it."""
        (found,) = await admin.describe_topics([self.name])
        codes = {found["error_code"], *(each["error_code"] for each in found["partitions"])} - {0}
        if any(for_code(code).retriable for code in codes):
            return []
        _refuse(*codes)
        return sorted(each["partition"] for each in found["partitions"])

    @asynccontextmanager
    async def _admin(self, patience_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers, request_timeout_ms=round(patience_s * 1_000))
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


class Sender:
    """Sends messages to a topic: on a connection for each event loop, which ends with its loop or with `close`.

    What a failed or cancelled call sent may arrive all the same, or some of it.
    """

    def __init__(self, topic: Topic, patience_s: float) -> None:
        self.topic = topic
        self._patience_s = patience_s
        self._open: dict[asyncio.AbstractEventLoop, _Open] = {}

    async def send(self, messages: Sequence[Message]) -> None:
        """Return once every replica in step has all of `messages`; of none, once the brokers have answered.

        Raises:
            BrokerError: they did not say so within the patience.

        """
        sent: list[asyncio.Future[object]] = []
        try:
            async with asyncio.timeout(self._patience_s):
                producer = await self._producer()
                if not messages and not await producer.client.force_metadata_update():
                    raise BrokerError(f"{self.topic.url}: no broker answers")
                for message in messages:
                    handed = producer.send(
                        self.topic.name, message.value, key=message.key, headers=list(message.headers)
                    )
                    sent.append(await handed)
                await asyncio.gather(*sent)
        except (KafkaError, OSError) as error:
            raise BrokerError(f"{self.topic.url}: {said(error)}") from error
        finally:
            for each in sent:
                each.cancel()  # those that nobody waits for any more

    def close(self) -> None:
        """End every connection; it takes no event loop, and they end once theirs goes on."""
        for loop, opened in self._open.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(opened.keeping.cancel)
        self._open.clear()

    async def _producer(self) -> AIOKafkaProducer:
        loop = asyncio.get_running_loop()
        opened = self._open.get(loop)
        if opened is None or opened.keeping.done():
            for ended in [each for each in self._open if each.is_closed()]:
                del self._open[ended]
            producer: asyncio.Future[AIOKafkaProducer] = loop.create_future()
            opened = self._open[loop] = _Open(producer, loop.create_task(self._keep(producer)))
        return await asyncio.shield(opened.producer)

    async def _keep(self, opened: "asyncio.Future[AIOKafkaProducer]") -> None:
        """Open a producer, and close it when this is cancelled: by `close`, or by the end of the loop."""
        try:
            await self.topic.make(self._patience_s)
            producer = AIOKafkaProducer(
                bootstrap_servers=self.topic.servers,
                acks="all",
                max_batch_size=_BATCH_BYTES,
                max_request_size=_MESSAGE_BYTES,
                request_timeout_ms=round(self._patience_s * 1_000),
            )
            try:
                await producer.start()
                opened.set_result(producer)
                await asyncio.wait([producer._sender.sender_task])  # noqa: SLF001  one that trips sends no more
            finally:
                await _end(producer)
        except (BrokerError, KafkaError, OSError) as error:
            if not opened.done():
                opened.set_exception(error)
                opened.exception()  # whoever waits for it has it
        finally:
            opened.cancel()


class _Open(NamedTuple):
    producer: "asyncio.Future[AIOKafkaProducer]"
    keeping: "asyncio.Task[None]"


async def _end(producer: AIOKafkaProducer) -> None:
    """Let go of a producer; its own `stop` would first send what nobody waits for any more."""
    producer._closed = True  # noqa: SLF001  it would call itself forgotten
    await asyncio.gather(producer._sender.close(), return_exceptions=True)  # noqa: SLF001
    await producer.client.close()


async def end(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, also while no broker answers: then aiokafka trips over a request of its own."""
    ended = await asyncio.gather(consumer.stop(), return_exceptions=True)
    if ended[0] is not None:
        await consumer._client.close()  # noqa: SLF001  what it had yet to do


def _refuse(*codes: int) -> None:
    """Raise what the codes of brokers' answers stand for, unless it is nothing or that something is there already."""
    for code in codes:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)


def said(error: BaseException) -> str:
    """What went wrong with a broker, for people."""
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
