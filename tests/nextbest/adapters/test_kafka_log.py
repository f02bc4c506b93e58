"""What is particular to the event log on Kafka: a broker that is down or silent, and a home that does not follow."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nextbest.adapters.kafka_log import KafkaLog
from nextbest.adapters.kafka_topic import Topic
from nextbest.adapters.logs import OpenLog, check_log, mirror, open_log
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope
from nextbest.log import LogUnavailableError
from nextbest.settings import Settings

MakeRecord = Callable[..., Envelope]
_PATIENCE_S = 0.7


@pytest.fixture
def own_broker(broker: Any) -> Iterator[Any]:
    """One that may be killed."""
    own = type(broker)()
    own.start()
    yield own
    own.kill()


@pytest.fixture
def followed(mirrored: Any) -> Iterator[KafkaLog]:
    """A log that a mirror follows."""
    mirrored.follow()
    with closing(KafkaLog(mirrored.topic, mirrored.path, _PATIENCE_S)) as log:
        yield log


def test_the_setting_chooses_it(broker: Any, tmp_path: Path, record: MakeRecord) -> None:
    """With the copy where the log of the home would be, and a mirror for it; a topic that is not there is made."""
    settings = Settings(home=tmp_path, log_url=f"kafka://{broker.address}/chosen-{tmp_path.name}?partitions=2")
    check_log(settings)

    async def say(log: OpenLog) -> None:
        following = asyncio.create_task(mirror(settings))
        await log.append([record("a")], together=True)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    with closing(open_log(settings)) as log:
        asyncio.run(say(log))
        assert isinstance(log, KafkaLog)
    with closing(SqliteLog(settings.event_log)) as copy:
        assert [entry.event_id for _, entry in copy.read_sync(0, 10)] == ["a"]
    assert asyncio.run(Topic.of(settings.log_url).make(5.0)) == [0, 1]


def test_a_log_in_the_home_has_nothing_to_mirror(tmp_path: Path) -> None:
    """Nor anything to ask before it is used."""
    check_log(Settings(home=tmp_path))
    asyncio.run(mirror(Settings(home=tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_is_not_there_is_told_before_anything_starts(own_broker: Any, tmp_path: Path) -> None:
    """With the setting, and what to do."""
    own_broker.kill()
    settings = Settings(home=tmp_path, log_url=f"kafka://{own_broker.address}/events")
    with pytest.raises(LogUnavailableError, match=r"NEXTBEST_LOG is kafka://.*/events, and that topic cannot be used"):
        check_log(settings)


def test_a_silent_broker_keeps_nobody_waiting(
    broker: Any, followed: KafkaLog, record: MakeRecord, eventually: Any
) -> None:
    """Nothing is acknowledged within the patience; what was said before and is said again afterwards is there once."""

    async def say() -> None:
        await followed.append([record("before")])
        broker.stop()
        try:
            tries = [followed.append(events) for events in ([record("meanwhile")], [])]
            refused = await asyncio.gather(*tries, return_exceptions=True)
        finally:
            broker.resume()
        assert [type(each) for each in refused] == [LogUnavailableError] * 2
        assert all("no answer in time" in str(each) for each in refused)
        await followed.append([record("meanwhile"), record("after")])

    asyncio.run(say())
    eventually(lambda: len(followed.read_sync(0, 10)) == 3)
    assert {entry.event_id for _, entry in followed.read_sync(0, 10)} == {"before", "meanwhile", "after"}


def test_a_broker_that_comes_back_is_used_again(
    own_broker: Any, tmp_path: Path, record: MakeRecord, eventually: Any
) -> None:
    """By the same event loop, and by one that began while it was away."""
    with closing(KafkaLog(Topic(own_broker.address, "events"), tmp_path / "events.db", _PATIENCE_S)) as log:

        async def say(event_id: str) -> bool:
            try:
                await log.append([record(event_id)])
            except LogUnavailableError:
                return False
            return True

        with asyncio.Runner() as runner:
            eventually(lambda: runner.run(say("a")))
            own_broker.kill()
            assert not runner.run(say("b"))
            assert not asyncio.run(say("c"))
            with pytest.raises(LogUnavailableError):
                runner.run(log.append([]))
            own_broker.start()
            eventually(lambda: runner.run(say("b")))
        eventually(lambda: asyncio.run(say("c")))


def test_a_home_that_does_not_follow_cannot_say_whose_try_was_first(
    topic: Topic, tmp_path: Path, record: MakeRecord
) -> None:
    """What needs no such word is taken all the same."""
    with closing(KafkaLog(topic, tmp_path / "events.db", _PATIENCE_S)) as log:
        log.append_sync([record("a")])
        asyncio.run(log.append([record("b")], together=True, fresh=True))
        with pytest.raises(LogUnavailableError, match="does not arrive in the home"):
            asyncio.run(log.append([record("c")], together=True))


def test_a_log_closes_in_the_loop_that_uses_it(topic: Topic, tmp_path: Path, record: MakeRecord) -> None:
    """As a replica does at its end."""

    async def serve() -> None:
        log = KafkaLog(topic, tmp_path / "events.db")
        await log.append([record("a")])
        log.close()

    asyncio.run(serve())
