"""The mirror brings the topic into the home's copy: all of it, once, whatever happens on the way."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from nextbest.adapters import kafka_mirror
from nextbest.adapters.kafka_log import KafkaLog
from nextbest.adapters.kafka_mirror import Mirror, behind
from nextbest.adapters.kafka_topic import BrokerError, Message, Sender, Topic
from nextbest.adapters.log_copy import LogCopy
from nextbest.envelope import Envelope, encode
from nextbest.erasure import erasure
from tests.nextbest.adapters.conftest import late_rejects

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
MakeRecord = Callable[..., Envelope]


class _KilledError(BaseException):
    """Stands for the end of the process."""


class _Dying(LogCopy):
    """A copy whose process is killed at a transaction of its own: just before it or just after."""

    def __init__(self, path: Path, *, after: bool) -> None:
        super().__init__(path)
        self._after = after

    async def take_in(
        self, topic: str, messages: Sequence[Sequence[Envelope]], next_offsets: Mapping[int, int], log_id: str = ""
    ) -> None:
        if self._after:
            await super().take_in(topic, messages, next_offsets, log_id)
        raise _KilledError


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_mirror_that_is_killed_loses_and_doubles_nothing(
    mirrored: Any, record: MakeRecord, eventually: Any, moment: str
) -> None:
    """Before it has written what it read, or before it could say to Kafka that it has."""
    sent = [record(f"e{n}", partition_key=f"c{n % 7}") for n in range(50)]
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        log.append_sync(sent[:25])
        with closing(_Dying(mirrored.path, after=moment == "after")) as dying, closing(LogCopy(mirrored.path)) as copy:
            late = late_rejects(copy, mirrored.path)
            with closing(late), pytest.raises(_KilledError):
                asyncio.run(Mirror(mirrored.topic, dying, late).follow())
        log.append_sync(sent[25:])
    mirrored.follow()
    eventually(lambda: len(mirrored.entries()) >= len(sent))
    assert sorted(mirrored.entries(), key=lambda entry: int(entry.event_id[1:])) == sent


def test_what_is_no_envelope_is_kept_aside(mirrored: Any, record: MakeRecord, eventually: Any) -> None:
    """With why, and from where; what comes before and after it arrives."""
    bad = [b"not JSON", b"", b"[]", b'{"event_id": 1}', b"\xff", b"[" * 100_000]
    values = [encode(record("a")), *bad, encode(record("b"))]
    with closing(Sender(mirrored.topic, 5.0)) as sender:
        asyncio.run(sender.send([Message(b"k", value, [("h", b"v")]) for value in values]))
    mirrored.follow()
    eventually(lambda: len(mirrored.entries()) == 2)
    assert mirrored.entries() == [record("a"), record("b")]
    letters = asyncio.run(_read(mirrored.topic.dead, len(bad)))
    assert [letter.value for letter in letters] == bad
    for number, letter in enumerate(letters, start=1):
        headers = dict(letter.headers)
        assert letter.key == b"k"
        assert headers["h"] == b"v"
        assert headers["dead.topic"].decode() == mirrored.topic.name
        assert headers["dead.offset"] == str(number).encode()
        assert headers["dead.reason"].startswith(b"it is no envelope: ")


async def _read(topic: Topic, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(topic.name, bootstrap_servers=topic.servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [await asyncio.wait_for(consumer.getone(), 5.0) for _ in range(count)]
    finally:
        await consumer.stop()


def test_one_that_cannot_be_taken_in_holds_up_nobody(mirrored: Any, record: MakeRecord, eventually: Any) -> None:
    """A time beyond the calendar of UTC passes for an envelope, and no day can be made of it."""
    beyond = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        log.append_sync([record("a"), record("b", received_at=beyond), record("c")])
        mirrored.follow()
        eventually(lambda: len(mirrored.entries()) == 2)
    assert mirrored.entries() == [record("a"), record("c")]
    [letter] = asyncio.run(_read(mirrored.topic.dead, 1))
    assert dict(letter.headers)["dead.reason"].startswith(b"it cannot be taken in: OverflowError")


def test_a_copy_made_anew_forgets_whom_it_was_told_to(mirrored: Any, record: MakeRecord, eventually: Any) -> None:
    """The topic holds what was erased; no copy does, whatever partition it comes from and name it was filed under.

    What the customer does afterwards is of somebody new.
    """

    def identity(number: int, received_at: datetime) -> Envelope:
        said = {"customer_id": "jane", "kind": "email", "identifier_hmac": f"secret{number}"}
        kind = {"type": "identity", "contract": "identities", "properties": said, "received_at": received_at}
        return record(f"identity{number}", partition_key=f"email:secret{number}", **kind)

    before = [record(f"e{n}", partition_key="jane", properties={"said": "secret"}) for n in range(3)]
    known = [identity(number, AT) for number in range(10)]
    other = record("other", partition_key="joe", properties={"said": "hello"})
    word = erasure("erasure/1", "jane", AT + timedelta(minutes=1))
    after = record("after", partition_key="jane", properties={"said": "hello"})
    again = identity(99, AT + timedelta(minutes=2))
    with closing(Sender(mirrored.topic, 5.0)) as sender:
        sent = [*before, *known, other, word, after, again]
        asyncio.run(sender.send([Message(each.partition_key.encode(), encode(each)) for each in sent]))
    mirror = mirrored.follow()
    eventually(lambda: len(mirrored.entries()) == len(sent))
    mirror.end()
    found = {entry.event_id: entry for entry in mirrored.entries()}
    assert [found[each.event_id].type for each in [*before, *known]] == ["erased"] * 13
    assert [found[each.event_id] for each in (other, word, after, again)] == [other, word, after, again]
    files = b"".join(each.read_bytes() for each in mirrored.path.parent.iterdir())
    assert b"secret99" in files
    assert b"secret" not in files.replace(b"secret99", b"")


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_copy_that_is_lost_is_filled_again(
    mirrored: Any, record: MakeRecord, eventually: Any, *, is_busy: bool
) -> None:
    """From the topic's beginning, by the mirror that runs, whether or not something new comes."""
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        mirrored.follow()
        log.append_sync([record("a"), record("b")])
        eventually(lambda: len(log.read_sync(0, 10)) == 2)
        for path in mirrored.path.parent.glob(f"{mirrored.path.name}*"):
            path.unlink()
        if is_busy:
            log.append_sync([record("c")])
        eventually(lambda: len(log.read_sync(0, 10)) == 2 + is_busy)
    assert mirrored.entries() == [record("a"), record("b"), record("c")][: 2 + is_busy]


def test_a_copy_that_somebody_holds_is_waited_for(mirrored: Any, record: MakeRecord, eventually: Any) -> None:
    """What comes meanwhile is in the topic, and arrives afterwards."""
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        mirrored.follow()
        log.append_sync([record("a")])
        eventually(lambda: len(mirrored.entries()) == 1)
        with closing(sqlite3.connect(mirrored.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            log.append_sync([record("b")])
            other.execute("COMMIT")
        eventually(lambda: len(mirrored.entries()) == 2)


def test_a_topic_that_lost_its_data_is_read_from_its_beginning(
    broker: Any, mirrored: Any, record: MakeRecord, eventually: Any
) -> None:
    """The copy keeps what the broker has lost, and what was said to it again counts once."""
    own = type(broker)()
    own.start()
    try:
        mirrored.topic = Topic(own.address, "events")
        with closing(KafkaLog(mirrored.topic, mirrored.path, 1.0)) as log:
            mirrored.follow()
            log.append_sync([record(f"e{n}") for n in range(5)])
            eventually(lambda: len(mirrored.entries()) == 5)
            own.kill()
            own.start()
            with closing(Sender(mirrored.topic, 5.0)) as sender:
                asyncio.run(sender.send([Message(b"c1", encode(record(each))) for each in ("e4", "new")]))
            eventually(lambda: len(mirrored.entries()) == 6)
            assert [entry.event_id for entry in mirrored.entries()] == ["e0", "e1", "e2", "e3", "e4", "new"]
    finally:
        own.kill()


def test_a_topic_whose_broker_says_that_it_lost_data_is_read_from_its_beginning(
    mirrored: Any, record: MakeRecord, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kafka does, where Tansu is silent; nobody has to look."""
    place = TopicPartition(mirrored.topic.name, 0)
    mirrored.topic = mirrored.topic._replace(partitions=1)
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        log.append_sync([record("a"), record("b")])
        asyncio.run(log.take_in(mirrored.topic.url, [], {0: 99}))
    getmany, refusals = AIOKafkaConsumer.getmany, [OffsetOutOfRangeError({place: 99})]

    async def refuse_first(consumer: Any, *, timeout_ms: int, max_records: int) -> Any:
        if refusals:
            raise refusals.pop()
        return await getmany(consumer, timeout_ms=timeout_ms, max_records=max_records)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", refuse_first)
    monkeypatch.setattr(kafka_mirror, "_LOOK_S", 60.0)
    mirrored.follow()
    eventually(lambda: len(mirrored.entries()) == 2)


def test_a_row_under_the_key_of_another_is_in_quarantine_when_the_copy_knows(
    mirrored: Any, record: MakeRecord, eventually: Any
) -> None:
    """Both were accepted, since the copy was behind; the first in the topic is the one, and nothing vanishes."""
    one, other = ({"event_id": "e1", "customer_id": name, "type": "login"} for name in ("c1", "c2"))
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        for said in (one, other, one):
            assert not log.append_sync([record("events/e1", properties=said)]).duplicates
    mirrored.follow()
    eventually(mirrored.rejected)
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        log.append_sync([record("events/e2")])
        eventually(lambda: len(mirrored.entries()) == 2)
    [kept] = mirrored.rejected()
    assert (kept.contract, kept.rule, kept.column, kept.row) == ("events", "key", "event_id", other)
    assert mirrored.entries()[0].properties == one


@pytest.mark.parametrize("again", [1, 2])
def test_an_id_that_holds_a_null_character_stops_nothing(
    mirrored: Any, record: MakeRecord, eventually: Any, again: int
) -> None:
    """Sent by whom it may be, and again: in SQLite's JSON a text ends there."""
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        for event_id in ("events/a\0b", "events/a\0c") * again:
            log.append_sync([record(event_id)])
        mirrored.follow()
        eventually(lambda: len(mirrored.entries()) == 2)
        log.append_sync([record("events/a\0b"), record("events/after")])
        eventually(lambda: len(mirrored.entries()) == 3)
    assert {entry.event_id for entry in mirrored.entries()} == {"events/a\0b", "events/a\0c", "events/after"}


def test_a_message_that_a_broker_shows_after_the_next_one_is_not_left_out(
    mirrored: Any, record: MakeRecord, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Tansu may, of what two producers send at the same time."""
    mirrored.topic = mirrored.topic._replace(partitions=1)
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        log.append_sync([record(f"e{n}") for n in range(6)])
    getmany, late = AIOKafkaConsumer.getmany, [{2, 3}, {3}]

    async def without_the_late(consumer: Any, *, timeout_ms: int, max_records: int) -> Any:
        found = await getmany(consumer, timeout_ms=timeout_ms, max_records=max_records)
        missing = late.pop(0) if found and late else set()
        return {place: [each for each in batch if each.offset not in missing] for place, batch in found.items()}

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", without_the_late)
    mirrored.follow()
    eventually(lambda: len(mirrored.entries()) == 6)
    assert [entry.event_id for entry in mirrored.entries()] == [f"e{n}" for n in range(6)]
    assert not late


def test_how_far_the_copy_is_behind_is_asked_of_the_broker(mirrored: Any, record: MakeRecord, eventually: Any) -> None:
    """Message by message, also of those that came in one batch; a broker that is not there says nothing."""

    def waits() -> int:
        with closing(LogCopy(mirrored.path)) as copy:
            return asyncio.run(behind(mirrored.topic, copy))

    assert waits() == 0
    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        log.append_sync([record(f"e{n}", partition_key=f"c{n}") for n in range(7)])
    assert waits() == 7
    mirrored.follow()
    eventually(lambda: len(mirrored.entries()) == 7)
    assert waits() == 0
    with closing(LogCopy(mirrored.path)) as copy, pytest.raises(BrokerError, match="events"):
        asyncio.run(behind(Topic("127.0.0.1:1", "events"), copy, 0.2))


def test_kafka_is_told_how_far_the_copy_is(mirrored: Any, record: MakeRecord, eventually: Any) -> None:
    """Its tools show the lag of a group that has the name of the home's log."""

    async def committed(group: str) -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=mirrored.topic.servers, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            return sum([await consumer.committed(TopicPartition(mirrored.topic.name, n)) or 0 for n in range(3)])
        finally:
            await consumer.stop()

    with closing(KafkaLog(mirrored.topic, mirrored.path)) as log:
        log.append_sync([record(f"e{n}", partition_key=f"c{n}") for n in range(9)])
        mirrored.follow()
        group = f"nextbest-{asyncio.run(log.log_id())}"
        eventually(lambda: asyncio.run(committed(group)) == 9)
