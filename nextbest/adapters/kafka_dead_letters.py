"""Dead letters: messages of which nothing can be made, kept in a topic of their own, where somebody can look.

Belongs here: the topic beside, and what a dead letter says of itself. Does not belong here: what is wrong with a
message.
"""

import logging
from typing import Any

from nextbest.adapters.kafka_topic import Message, Sender, Topic

_log = logging.getLogger(__name__)


class DeadLetters:
    """The topic `….dead` beside a topic: each message as it came, with headers that say why and where from."""

    def __init__(self, topic: Topic, patience_s: float) -> None:
        self._sender = Sender(topic.dead, patience_s)

    @property
    def topic(self) -> Topic:
        """Where they are kept."""
        return self._sender.topic

    async def put(self, message: Any, why: str) -> None:
        """Return once `message`, a record that a consumer of aiokafka got, is kept.

        Raises:
            BrokerError: it may not be.

        """
        said = {"reason": why, "topic": message.topic, "partition": message.partition, "offset": message.offset}
        headers = [*message.headers, *((f"dead.{name}", str(value).encode()) for name, value in said.items())]
        await self._sender.send([Message(message.key, message.value or b"", headers)])
        _log.warning("%s/%s of %s: %s; kept in %s", *list(said.values())[2:], message.topic, why, self.topic.name)

    def close(self) -> None:
        """Let go of connections."""
        self._sender.close()
