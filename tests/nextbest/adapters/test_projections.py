"""What every State keeps of a projection: values and offset in one step, once, of one log."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import Envelope
from nextbest.following import BATCH_RECORDS, Step, advance, step
from nextbest.projection import Projected, Read, Values
from nextbest.settings import Settings

LOG = "log"
KEYS = ("a", "größer", "")


@pytest.fixture
def settings(home: Callable[[], Settings]) -> Settings:
    return home()


@pytest.fixture
def state(settings: Settings) -> Iterator[OpenState]:
    with closing(open_state(settings)) as state:
        yield state


@pytest.fixture
def log(settings: Settings) -> Iterator[SqliteLog]:
    with closing(SqliteLog(settings.event_log)) as log:
        yield log


def project(state: OpenState, values: Values, after: int, offset: int, log_id: str = LOG) -> bool:
    return asyncio.run(state.project("sum", log_id, values, after=after, offset=offset))


def projected(state: OpenState, log_id: str = LOG) -> Projected:
    return asyncio.run(state.projected("sum", log_id, KEYS))


class Counting:
    """Counts records by customer, as text."""

    name = "sum"
    rest_s = 0.0

    async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
        found = await read([record.partition_key for _, record in records])
        counts = {key: int(value) for key, value in found.items()}
        for _, record in records:
            counts[record.partition_key] = counts.get(record.partition_key, 0) + 1
        return {key: str(count) for key, count in counts.items()}


def test_values_and_offset_are_written_together(state: OpenState) -> None:
    """A value that is none is dropped; a key that has none is absent."""
    assert projected(state) == Projected(0, {})
    assert project(state, {"a": "1", "größer": "{}", "": ""}, 0, 5)
    assert projected(state) == Projected(5, {"a": "1", "größer": "{}", "": ""})
    assert project(state, {"a": None, "": "2"}, 5, 6)
    assert projected(state) == Projected(6, {"größer": "{}", "": "2"})
    assert project(state, {}, 6, 7)
    assert projected(state).offset == 7


def test_nothing_is_written_where_somebody_else_is_further(state: OpenState) -> None:
    """Two who fold the same records count them once."""
    assert project(state, {"a": "1"}, 0, 5)
    assert not project(state, {"a": "2"}, 0, 5)
    assert not project(state, {"a": "2"}, 4, 9)
    assert projected(state) == Projected(5, {"a": "1"})


def test_a_projection_is_of_one_log(state: OpenState) -> None:
    """Of another log nothing is known, and the first that is written of it takes the place of all."""
    assert project(state, {"a": "1", "": "1"}, 0, 5)
    assert projected(state, "other") == Projected(0, {})
    assert project(state, {"a": "2"}, 0, 1, "other")
    assert projected(state, "other") == Projected(1, {"a": "2"})
    assert projected(state) == Projected(0, {})
    assert asyncio.run(state.projections("other")) == {"sum": 1}
    assert asyncio.run(state.projections(LOG)) == {"sum": 0}


@pytest.mark.parametrize("forget", [lambda state: state.discard("sum"), lambda state: state.clear()])
def test_a_projection_is_forgotten_as_a_whole(state: OpenState, forget: Callable[[OpenState], object]) -> None:
    """Alone, or with all that State has of the log, however much that is."""
    project(state, {f"k{number}": "1" for number in range(1_200)} | {"a": "1"}, 0, 5)
    asyncio.run(forget(state))  # type: ignore[arg-type]
    assert projected(state) == Projected(0, {})
    assert asyncio.run(state.projections(LOG)) == {}
    assert project(state, {}, 0, 5)
    assert projected(state) == Projected(5, {})
    assert asyncio.run(state.projected("sum", LOG, ["k0", "k1199"])).values == {}


def test_what_another_begins_while_a_projection_is_forgotten_stays(state: OpenState) -> None:
    """It is forgotten piece by piece, and what is left of it is no part of the new one."""

    async def both() -> None:
        before = {f"k{number}": "1" for number in range(3_000)}
        assert await state.project("sum", LOG, before, after=0, offset=5)
        forgotten = asyncio.create_task(state.discard("sum"))
        while (await state.projected("sum", LOG, ())).offset:  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0)
        assert await state.project("sum", LOG, {"k2999": "2"}, after=0, offset=1)
        await forgotten
        assert await state.projected("sum", LOG, [*before]) == Projected(1, {"k2999": "2"})

    asyncio.run(both())


def test_many_keys_are_read_at_once(state: OpenState) -> None:
    """More than a script of Redis may have on its stack."""
    values = {f"k{number}": str(number) for number in range(9_000)}
    assert project(state, values, 0, 1)
    assert asyncio.run(state.projected("sum", LOG, [*values])).values == values


def test_a_projection_follows_its_log(state: OpenState, log: SqliteLog, record: Callable[..., Envelope]) -> None:
    """From where it is to the end, each record once; what somebody has read already is not read again."""

    async def follow() -> None:
        counting, many = Counting(), BATCH_RECORDS + 500
        assert await advance(log, state, counting)
        await log.append([record(str(number), partition_key="a") for number in range(many)])
        assert not await advance(log, state, counting)
        assert await advance(log, state, counting)
        await log.append([record("last", partition_key="")])
        said = [(many + 1, record("not last", partition_key="größer"))]
        read = Step(await log.log_id(), many + 1, many, said, is_end=True)
        assert await advance(log, state, counting, read)
        assert await advance(log, state, counting, read)
        kept = await state.projected("sum", await log.log_id(), KEYS)
        assert kept == Projected(many + 1, {"a": str(many), "größer": "1"})

    asyncio.run(follow())


def test_who_is_overtaken_folds_nothing_twice(
    state: OpenState, log: SqliteLog, record: Callable[..., Envelope]
) -> None:
    """Not even for what it would write elsewhere: it begins again from where the other one is."""
    written = list[Values]()

    class Slow(Counting):
        async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
            await advance(log, state, Counting())
            written.append(await super().fold(records, read))
            return written[-1]

    async def follow() -> None:
        await log.append([record("1", partition_key="a")])
        assert not await advance(log, state, Slow())
        assert await advance(log, state, Slow())
        assert await state.projected("sum", await log.log_id(), KEYS) == Projected(1, {"a": "1"})

    asyncio.run(follow())
    assert written == []


def test_nothing_is_folded_that_state_does_not_have_yet(
    state: OpenState, log: SqliteLog, record: Callable[..., Envelope]
) -> None:
    """State says who is one: what is folded ahead of it would be filed for whom they were before, and stay there."""

    async def follow() -> None:
        await log.append([record("1", partition_key="a")])
        await step(log, state)
        made = await step(log, state)
        await log.append([record("2", partition_key="a")])
        for offset in (1, 2):
            await advance(log, state, Counting(), made)
            assert (await state.projected("sum", await log.log_id(), ())).offset == offset
            made = await step(log, state)

    asyncio.run(follow())


def test_a_log_that_is_an_older_copy_is_folded_from_its_beginning(
    state: OpenState, log: SqliteLog, record: Callable[..., Envelope]
) -> None:
    """What was folded of the newer one is not what this one says."""

    async def follow() -> None:
        await log.append([record("1", partition_key="a")])
        await state.project("sum", await log.log_id(), {"a": "7"}, after=0, offset=9)
        await advance(log, state, Counting())
        assert await state.projected("sum", await log.log_id(), KEYS) == Projected(1, {"a": "1"})

    asyncio.run(follow())


def test_a_record_that_cannot_be_folded_holds_up_none(
    state: OpenState, log: SqliteLog, record: Callable[..., Envelope]
) -> None:
    """It is told, and passed over."""

    class Fragile(Counting):
        async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
            if any(each.event_id == "poison" for _, each in records):
                raise ValueError
            return await super().fold(records, read)

    async def follow() -> list[tuple[int, str]]:
        await log.append([record(each, partition_key="a") for each in ("1", "poison", "2")])
        with pytest.raises(ValueError):  # noqa: PT011
            await advance(log, state, Fragile())
        skipped = list[tuple[int, str]]()
        await advance(log, state, Fragile(), skip=lambda _, offset, each, __: skipped.append((offset, each.event_id)))
        assert await state.projected("sum", await log.log_id(), KEYS) == Projected(3, {"a": "2"})
        return skipped

    assert asyncio.run(follow()) == [(2, "poison")]
