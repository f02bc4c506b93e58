"""Events from somebody else's topic: each row is in the log once, whatever happens to who brings it there."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from click.testing import CliRunner

from nextbest.adapters.kafka_dead_letters import DeadLetters
from nextbest.adapters.kafka_topic import Message, Sender, Topic
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.contracts import Contract
from nextbest.log import LogUnavailableError
from nextbest.settings import Settings
from nextbest.wire import EventRow, EventsResponse
from serving import consume as consuming
from serving.commands import consume
from serving.consume import ConsumeError, Consumption, Source, row_of
from tests.serving.server import eventually

_GROUP = "tests"


def _click(event_id: str, **fields: Any) -> dict[str, Any]:
    row = {"event_id": event_id, "customer_id": "c1", "type": "click", "channel": "web", "action": "beef"}
    return {**row, "occurred_at": "2026-03-02T12:00:00Z", **fields}


@pytest.mark.parametrize(
    ("value", "row"),
    [
        (b'{"a": 1}', EventRow("events", {"a": 1})),
        (b'{"contract": "x"}', EventRow("events", {"contract": "x"})),
        (b'{"contract": "outcomes", "properties": {"a": [1]}}', EventRow("outcomes", {"a": [1]})),
    ],
)
def test_a_message_is_a_row_bare_or_with_its_contract(value: bytes, row: EventRow) -> None:
    """As producers have it already, or as they would send it to the API."""
    assert row_of(value, "events") == row


@pytest.mark.parametrize("properties", [{"name": "x" * 10_001}, {"name": [[[1]]]}, {"n" * 300: None}])
def test_a_row_with_a_value_that_no_contract_has_is_one(properties: dict[str, Any]) -> None:
    """Its contract rejects it, as over HTTP: it belongs in quarantine, where it can be mended."""
    assert row_of(json.dumps(properties).encode(), "events") == EventRow("events", properties)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"1",
        b'"a"',
        b'{"contract": "products", "properties": {}}',
        b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}",
    ],
)
def test_what_is_no_row_is_told(value: bytes | None) -> None:
    """Whatever it is, the message is to be a dead letter."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        row_of(value, "events")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clicks"], "say where the topic is"),
        (["a/b", "--from", "kafka://h:1"], "say where the topic is"),
        (["log", "--from", "kafka://h:1"], "log is the event log itself"),
    ],
)
def test_a_topic_that_cannot_be_is_refused(words: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log above all: what is in it would go into it, for ever."""
    monkeypatch.setenv("NEXTBEST_LOG", "kafka://h:1/log?partitions=2" if "log" in words else "")
    result = CliRunner().invoke(consume, words)
    assert result.exit_code == click.UsageError.exit_code
    assert message in result.stderr


@pytest.fixture
def topic(broker: Any) -> Topic:
    return Topic(broker.address, f"clicks-{uuid.uuid4().hex}", 2)


async def _committed(topic: Topic) -> int:
    """How many messages the group has said that it has read."""
    consumer = AIOKafkaConsumer(bootstrap_servers=topic.servers, group_id=_GROUP, enable_auto_commit=False)
    await consumer.start()
    try:
        return sum([await consumer.committed(TopicPartition(topic.name, number)) or 0 for number in range(2)])
    finally:
        await consumer.stop()


async def _kept(topic: Topic) -> set[bytes]:
    """The messages of a topic."""
    consumer = AIOKafkaConsumer(topic.name, bootstrap_servers=topic.servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        found = await consumer.getmany(timeout_ms=5_000)
        return {message.value for batch in found.values() for message in batch}
    finally:
        await consumer.stop()


async def _send(topic: Topic, values: Sequence[bytes]) -> None:
    with closing(Sender(topic, 5.0)) as sender:
        await sender.send([Message(str(number).encode(), value) for number, value in enumerate(values)])


def test_nothing_is_consumed_from_a_topic_that_is_not_there(topic: Topic) -> None:
    """The message says which there are; none is made."""
    asyncio.run(topic.make(5.0))
    other = Source(topic=topic.dead, contract="events", group=_GROUP, session_s=1.0)

    unasked: Any = None

    async def run() -> None:
        with closing(DeadLetters(topic, 1.0)) as dead:
            consumption = Consumption(source=other, intake=unasked, dead=dead, said=lambda _: None)
            await consumption.run(asyncio.Event())

    with pytest.raises(ConsumeError, match=rf"no topic {topic.name}.dead at .*{topic.name}"):
        asyncio.run(run())


class _Refusing:
    """Stands in for an intake whose log cannot be used the first times."""

    def __init__(self, times: int, topic: Topic) -> None:
        self._times = times
        self._topic = topic
        self.committed: list[int] = []
        self.taken: list[EventRow] = []

    async def take(self, rows: Sequence[EventRow], *, sender: str) -> EventsResponse:
        assert sender.startswith("kafka:")
        self.committed.append(await _committed(self._topic))
        if len(self.committed) <= self._times:
            raise LogUnavailableError("away")
        self.taken += rows
        return EventsResponse(accepted=len(rows), duplicates=0, rejected=0, results=())


def test_nothing_counts_as_read_before_it_is_durable(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log is away, Kafka is told of nothing; then of all. A dead letter is put aside once meanwhile."""
    monkeypatch.setattr(consuming, "_RETRY_S", 0.01)
    intake: Any = _Refusing(3, topic)

    async def run() -> dict[str, int]:
        ending = asyncio.Event()
        await _send(topic, [b'{"n": 1}', b"not JSON", b'{"n": 2}'])
        with closing(DeadLetters(topic, 1.0)) as dead:
            source = Source(topic=topic, contract="events", group=_GROUP, session_s=1.0)

            def on(count: Any) -> None:
                if count["accepted"] == 2 and count["dead"]:
                    ending.set()

            consumption = Consumption(source=source, intake=intake, dead=dead, said=on)
            await consumption.run(ending)
            return dict(consumption.count)

    count = asyncio.run(run())
    assert (count["accepted"], count["dead"]) == (2, 1)
    assert set(intake.committed[:4]) == {0}
    assert sorted(row.properties["n"] for row in intake.taken) == [1, 2]
    assert asyncio.run(_committed(topic)) == 3


@pytest.mark.integration
def test_a_consumer_that_is_killed_loses_and_doubles_nothing(
    topic: Topic, tmp_path: Path, contracts: dict[str, Contract]
) -> None:
    """`kill -9` in the middle, and again: every valid row is in the log once, and what is no row is kept aside."""
    rows = [json.dumps(_click(f"e{number}")).encode() for number in range(3_000)]
    asyncio.run(
        _send(topic, [*rows[:1_500], b"not JSON", json.dumps(_click("x", channel="pigeon")).encode(), *rows[1_500:]])
    )
    settings = Settings(home=tmp_path)
    words = ["consume", topic.name, "--from", f"kafka://{topic.servers}", "--group", _GROUP, "--session", "1"]

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "nextbest", *words]
        return subprocess.Popen(command, env=os.environ | settings.environment(), stdout=subprocess.PIPE, text=True)

    with closing(SqliteLog(settings.event_log)) as log:
        first = start()
        assert eventually(lambda: asyncio.run(log.last_offset()) > 0)
        first.kill()
        first.communicate()
        assert asyncio.run(log.last_offset()) < len(rows)
        second = start()
        assert eventually(lambda: asyncio.run(_committed(topic)) == len(rows) + 2)
        second.send_signal(signal.SIGTERM)
        out, _ = second.communicate(timeout=10)
        ids = [entry.event_id for _, entry in log.read_sync(0, len(rows) + 1)]
    assert second.returncode == 0
    assert out.startswith(f"{topic.name}: ")
    assert sorted(ids) == sorted(f"events/e{number}" for number in range(len(rows)))
    with closing(Quarantine(settings.rejected_events, contracts)) as quarantine:
        assert [row.row["event_id"] for row in quarantine.rows()] == ["x"]
    assert asyncio.run(_kept(topic.dead)) == {b"not JSON"}
