"""The copy of a log takes in what its source holds once, and forgets whom it is told to in whatever order."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from nextbest.adapters.log_copy import LogCopy
from nextbest.envelope import Envelope
from nextbest.erasure import ERASURE, erasure
from nextbest.identity import link
from nextbest.log import LogUnavailableError

MakeRecord = Callable[..., Envelope]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[LogCopy]:
    with closing(LogCopy(tmp_path / "events.db")) as copy:
        yield copy


def test_what_comes_again_is_there_once(copy: LogCopy, record: MakeRecord) -> None:
    """A message stands or falls with its first record, and the place is that of the last call."""
    a, b, c = (record(each) for each in "abc")
    asyncio.run(copy.take_in("t", [[a, b]], {0: 1, 2: 7}))
    asyncio.run(copy.take_in("t", [[a, c], [c]], {0: 3}))
    asyncio.run(copy.take_in("other", [], {0: 9}))
    assert [entry for _, entry in copy.read_sync(0, 10)] == [a, b, c]
    assert copy.held(["c", "a", "x"]) == {e.event_id: at for at, e in copy.read_sync(0, 10) if e.event_id != "b"}
    assert copy.read_to("t") == {0: 3, 2: 7}


def test_records_and_place_come_together_or_not_at_all(copy: LogCopy, record: MakeRecord) -> None:
    """A record of which no row can be made leaves nothing of its batch behind."""
    beyond = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
    with pytest.raises(OverflowError):
        asyncio.run(copy.take_in("t", [[record("a")], [record("b", received_at=beyond)]], {0: 2}))
    assert copy.read_sync(0, 10) == []
    assert copy.read_to("t") == {}


def test_a_customer_is_forgotten_in_whatever_order_partitions_come(tmp_path: Path, record: MakeRecord) -> None:
    """An identifier that was known before the erasure names nobody; one that came after does."""
    word = erasure("erasure/1", "jane", record("").received_at + timedelta(minutes=1))
    said = {"customer_id": "jane"}

    def identity(number: int, minutes: int) -> Envelope:
        at = record("").received_at + timedelta(minutes=minutes)
        fields = {"type": "identity", "contract": "identities", "properties": said, "received_at": at}
        return record(f"i{number}", partition_key=f"email:{number}", **fields)

    before, after = identity(1, 0), identity(2, 2)
    for number, order in enumerate(permutations([before, after, word])):
        with closing(LogCopy(tmp_path / f"{number}.db")) as copy:
            asyncio.run(copy.take_in("t", [[each] for each in order], {}))
            kept = {entry.event_id: entry for _, entry in copy.read_sync(0, 10)}
            assert kept["i1"].partition_key == "erased"
            assert kept["i2"] == after
            assert kept[word.event_id].type == ERASURE


def test_a_customer_is_forgotten_by_every_name_that_the_erasure_has(tmp_path: Path, record: MakeRecord) -> None:
    """What was done as a visitor is, and what ties a name of theirs to somebody else; what comes later is not."""
    visitor, at = f"anonymous_id:{'b' * 64}", record("").received_at
    word = erasure("erasure/1", "jane", at + timedelta(minutes=1), ["jane", visitor])
    before = record("before", partition_key=visitor, received_at=at)
    tie = link("carl", "jane", at, by="me")
    after = record("after", partition_key=visitor, received_at=at + timedelta(minutes=2))
    for number, order in enumerate(permutations([before, tie, after, word])):
        with closing(LogCopy(tmp_path / f"{number}.db")) as copy:
            for each in order:
                asyncio.run(copy.take_in("t", [[each]], {}))
            kept = {entry.event_id: entry for _, entry in copy.read_sync(0, 10)}
            assert kept["before"].partition_key == kept[tie.event_id].partition_key == "erased"
            assert kept["after"] == after


def test_an_erasure_that_was_not_taken_in_forgets_nobody(tmp_path: Path, record: MakeRecord) -> None:
    """One that somebody else took in, who follows the same source, does."""
    beyond = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
    visitor, at = f"anonymous_id:{'b' * 64}", record("").received_at
    undone, word = (erasure(f"erasure/{each}", each, at, [each, visitor]) for each in ("jo", "jane"))
    one, two = (record(each, partition_key=visitor, received_at=at) for each in "ab")
    path = tmp_path / "events.db"
    with closing(LogCopy(path)) as copy, closing(LogCopy(path)) as other:
        with pytest.raises(OverflowError):
            asyncio.run(copy.take_in("t", [[undone], [record("z", received_at=beyond)]], {}))
        asyncio.run(copy.take_in("t", [[one]], {}))
        assert copy.read_sync(0, 2) == [(1, one)]
        asyncio.run(other.take_in("t", [[word]], {}))
        asyncio.run(copy.take_in("t", [[two]], {}))
        assert [entry.partition_key for _, entry in copy.read_sync(0, 3)] == ["erased", "jane", "erased"]


def test_an_erasure_that_means_nothing_holds_up_nothing(copy: LogCopy, record: MakeRecord) -> None:
    """It forgets nobody, and what comes with it is taken in."""
    said: list[dict[str, Any]] = [{}, {"customer_id": ["c1"]}, {"customer_id": "c2", "names": 7}]
    words = [record(f"erasure/{n}", type=ERASURE, partition_key="c1", properties=each) for n, each in enumerate(said)]
    visit = record("visit", partition_key="c1")
    nonsense = record("decision", type="decision", partition_key="c9", properties={"record": 7})
    asyncio.run(copy.take_in("t", [[visit, *words, nonsense, erasure("erasure/9", "c9", visit.received_at)]], {0: 4}))
    assert [entry for _, entry in copy.read_sync(0, 4)] == [visit, *words]
    assert copy.read_sync(4, 1)[0][1].partition_key == "erased"


def test_a_file_that_cannot_be_had_is_told(tmp_path: Path, record: MakeRecord) -> None:
    """As the log's own file is."""
    (tmp_path / "log").write_text("a file where the folder should be")
    with closing(LogCopy(tmp_path / "log" / "events.db")) as copy:
        with pytest.raises(LogUnavailableError):
            asyncio.run(copy.take_in("t", [[record("a")]], {0: 1}))
        with pytest.raises(LogUnavailableError):
            copy.read_to("t")
