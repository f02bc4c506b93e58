"""Whatever keeps the event log, it keeps what it acknowledged, in order per customer and once."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nextbest.adapters.kafka_log import KafkaLog
from nextbest.adapters.logs import OpenLog
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope

MakeRecord = Callable[..., Envelope]


@pytest.fixture(params=["sqlite", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    """A log in a home; one that is on Kafka is followed into the home."""
    if request.param == "sqlite":
        with closing(SqliteLog(tmp_path / "log" / "events.db")) as log:
            yield log
        return
    home = request.getfixturevalue("mirrored")
    home.follow()
    with closing(KafkaLog(home.topic, home.path)) as log:
        yield log


@pytest.fixture
def shown(log: OpenLog, eventually: Any) -> Callable[[int], list[Envelope]]:
    """Call it for all that the log shows, once that is so many."""

    def wait(count: int) -> list[Envelope]:
        eventually(lambda: len(log.read_sync(0, count + 1)) >= count)
        return [entry for _, entry in log.read_sync(0, count + 1)]

    return wait


def _ids(found: Sequence[tuple[int, Envelope]]) -> list[str]:
    return [entry.event_id for _, entry in found]


def test_reads_back_what_was_appended_in_order(log: OpenLog, record: MakeRecord, shown: Any) -> None:
    """Records come back whole, above the offset asked for and no more than the limit."""
    sent = [record(each, value=0.1, properties={"said": "größer \u0000 ☃", "n": [1, 2.5, None]}) for each in "abc"]
    assert asyncio.run(log.append(sent)).duplicates == frozenset()
    assert shown(3) == sent
    (first, _), (second, _), (third, _) = log.read_sync(0, 10)
    assert 0 < first < second < third == asyncio.run(log.last_offset())
    assert asyncio.run(log.read(0, 2)) == [(first, sent[0]), (second, sent[1])]
    assert _ids(asyncio.run(log.read(second, 10))) == ["c"]


def test_a_duplicate_is_reported_and_ignored(log: OpenLog, record: MakeRecord, shown: Any) -> None:
    """The same event id again, in another append or the same, keeps the first record and gives its offset."""
    log.append_sync([record("a")])
    shown(1)
    again = log.append_sync([record("a", decision_id="other"), record("b"), record("b", decision_id="other")])
    assert shown(2) == [record("a"), record("b")]
    (a, _), (b, _) = log.read_sync(0, 10)
    assert again.duplicates == {"a", "b"}
    assert again.offsets == (a, b, b)


def test_records_appended_together_stand_or_fall_with_the_first(log: OpenLog, record: MakeRecord, shown: Any) -> None:
    """Of two tries of one decision the log keeps one whole, whatever rows the other has."""
    first = asyncio.run(log.append([record("a"), record("b")], together=True))
    assert first.duplicates == frozenset()
    assert shown(2) == [record("a"), record("b")]
    again = asyncio.run(log.append([record("a", slot=1), record("b"), record("c")], together=True))
    assert again.duplicates == {"a", "b", "c"}
    assert again.offsets == (log.read_sync(0, 1)[0][0],) * 3
    log.append_sync([record("d")])
    assert shown(3) == [record("a"), record("b"), record("d")]


def test_of_tries_at_the_same_time_one_is_told_that_it_was_first(log: OpenLog, record: MakeRecord, shown: Any) -> None:
    """Each of the others gets the offset of that one, which is what a channel is answered."""

    async def try_all() -> list[Any]:
        tries = [[record("a", slot=n), record(f"b{n}")] for n in range(20)]
        return await asyncio.gather(*(log.append(each, together=True) for each in tries))

    appended = asyncio.run(try_all())
    (winner,) = [n for n, each in enumerate(appended) if not each.duplicates]
    assert shown(2) == [record("a", slot=winner), record(f"b{winner}")]
    offset = log.read_sync(0, 1)[0][0]
    assert {each.offsets for n, each in enumerate(appended) if n != winner} == {(offset, offset)}


def test_concurrent_appends_all_arrive_in_the_order_of_each_customer(
    log: OpenLog, record: MakeRecord, shown: Any
) -> None:
    """Twenty customers say ten things each, at the same time, some with an id that was drawn and all of it once."""

    async def say_all() -> None:
        await asyncio.gather(*(say(f"c{customer}") for customer in range(20)))

    async def say(customer: str) -> None:
        for n in range(5):
            said = [record(f"{customer}/{n}/{m}", partition_key=customer) for m in range(2)]
            await log.append(said, fresh=bool(n % 2))

    asyncio.run(say_all())
    found = shown(200)
    for customer in range(20):
        own = [entry.event_id for entry in found if entry.partition_key == f"c{customer}"]
        assert own == [f"c{customer}/{n}/{m}" for n in range(5) for m in range(2)]


def test_what_was_drawn_for_an_append_is_not_looked_for(log: OpenLog, record: MakeRecord, shown: Any) -> None:
    """It is new, and there."""
    appended = asyncio.run(log.append([record("a"), record("b")], together=True, fresh=True))
    assert appended.duplicates == frozenset()
    assert shown(2) == [record("a"), record("b")]


def test_finds_what_is_about_a_decision(log: OpenLog, record: MakeRecord, shown: Any) -> None:
    """A decision's records are found without reading the log."""
    log.append_sync([record("a", decision_id="d1"), record("b"), record("c", decision_id="d1")])
    shown(3)
    assert _ids(asyncio.run(log.about_decision("d1"))) == ["a", "c"]


def test_finds_what_is_filed_under_keys(log: OpenLog, record: MakeRecord, shown: Any) -> None:
    """By offset, each once, and nothing of others."""
    log.append_sync([*(record(f"e{n}", partition_key=f"c{n}") for n in range(3)), record("e3")])
    shown(4)
    found = asyncio.run(log.filed_under(["c2", "c1", "c1", "nobody"]))
    assert sorted(found, key=lambda each: each[0]) == found
    assert set(_ids(found)) == {"e1", "e2", "e3"}
    assert _ids(asyncio.run(log.filed_under(["c1"]))) == ["e1", "e3"]


def test_a_record_is_replaced_where_it_is(log: OpenLog, record: MakeRecord, shown: Any, tmp_path: Path) -> None:
    """Under its new key, at its old offset; what it was cannot be read from the home's files any more."""
    log.append_sync([record("e1"), record("e2", properties={"said": "a secret"})])
    shown(2)
    ((offset, found),) = asyncio.run(log.filed_under(["c1"]))[1:]
    asyncio.run(log.replace([(offset, msgspec.structs.replace(found, partition_key="erased", properties={}))]))
    assert [entry.properties for _, entry in log.read_sync(0, 10)] == [{"type": "login"}, {}]
    assert [each for each, _ in asyncio.run(log.filed_under(["erased"]))] == [offset]
    assert _ids(asyncio.run(log.filed_under(["c1"]))) == ["e1"]
    assert all(b"a secret" not in path.read_bytes() for path in (tmp_path / "log").iterdir())
    assert log.append_sync([record("e2", properties={"said": "a secret"})]).duplicates == {"e2"}


def test_a_log_keeps_its_name(log: OpenLog, record: MakeRecord) -> None:
    """An append of nothing shows that it can be used, and is none."""
    name = asyncio.run(log.log_id())
    assert asyncio.run(log.append([])).offsets == ()
    assert asyncio.run(log.last_offset()) == 0
    log.append_sync([record("a")])
    assert asyncio.run(log.log_id()) == name
