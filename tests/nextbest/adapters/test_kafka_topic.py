"""A topic's address, and sending to it."""

import asyncio
from contextlib import closing

import pytest

from nextbest.adapters.kafka_topic import BrokerError, Message, Sender, Topic
from nextbest.adapters.supervisor import free_ports


@pytest.mark.parametrize(
    ("url", "topic"),
    [
        ("kafka://h:1/t", Topic("h:1", "t", 1)),
        ("kafka://h:1,[::1]:2/a.b-c?partitions=12", Topic("h:1,[::1]:2", "a.b-c", 12)),
    ],
)
def test_an_address_names_brokers_topic_and_partitions(url: str, topic: Topic) -> None:
    """The dead letters of a topic are beside it."""
    assert Topic.of(url) == topic
    assert topic.dead == Topic(topic.servers, f"{topic.name}.dead")
    assert Topic.of(topic.url) == topic._replace(partitions=1)


def test_a_topic_is_made_once(topic: Topic) -> None:
    """With the partitions of whoever came first."""
    assert asyncio.run(topic.make(5.0)) == [0, 1, 2]
    assert asyncio.run(topic._replace(partitions=7).make(5.0)) == [0, 1, 2]


def test_where_nobody_listens_it_is_said_at_once() -> None:
    """Both of the topic and of what is sent to it."""
    [port] = free_ports("127.0.0.1", 1)
    nowhere = Topic(f"127.0.0.1:{port}", "t")
    with pytest.raises(BrokerError, match=f"kafka://127.0.0.1:{port}/t"):
        asyncio.run(nowhere.make(5.0))
    with closing(Sender(nowhere, 5.0)) as sender, pytest.raises(BrokerError, match="Unable to bootstrap"):
        asyncio.run(sender.send([Message(b"k", b"v")]))


def test_a_message_that_is_too_large_is_refused_and_the_next_is_not(topic: Topic) -> None:
    """Whoever sends it is told, not kept waiting."""

    async def send(sender: Sender) -> None:
        with pytest.raises(BrokerError, match="bytes"):
            await sender.send([Message(b"k", bytes(2**25))])
        await sender.send([Message(b"k", b"v")])

    with closing(Sender(topic, 5.0)) as sender:
        asyncio.run(send(sender))
