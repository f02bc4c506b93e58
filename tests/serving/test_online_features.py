"""Features that cannot be read are a reason, never an exception, and never a wait."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from nextbest.messages import Profile
from nextbest.settings import Settings
from serving import online_features
from serving.app import running
from serving.feature_values import UnknownFormatError
from serving.online_features import OnlineFeatures
from serving.redis_features import RedisFeatures
from serving.sqlite_features import SqliteFeatures

T = TypeVar("T")
PATIENCE_S = 0.5
UNKNOWN = {"unavailable": "unknown_customer"}
HABITS = {"baskets": 3, "spend": 0.1, "store": "größer", "is_new": False}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # ibis and sqlglot, when Feast is imported


def _with(settings: Settings, ask: Callable[[OnlineFeatures], Awaitable[T]], now: float = 0.0) -> T:
    """What `ask` gets from features that were opened."""

    async def opened() -> T:
        features = OnlineFeatures(settings, PATIENCE_S, lambda: now)
        async with running(features.keep_open()):
            await asyncio.wait_for(features.tried.wait(), 30)
            return await ask(features)

    return asyncio.run(opened())


async def _eventually(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(10):
        while not (said := await condition()):  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.01)
        return said


def _profile(settings: Settings, customer_id: str, now: float = 0.0) -> dict[str, Any]:
    async def ask(features: OnlineFeatures) -> dict[str, Any]:
        assert isinstance(features._reader, SqliteFeatures | RedisFeatures), features._why_slow  # noqa: SLF001
        profile = await features.profile(customer_id)
        return profile.features or {"unavailable": profile.unavailable}

    return _with(settings, ask, now)


def test_a_missing_store_is_a_reason(tmp_path: Path) -> None:
    """Before the first pipeline there is no registry."""
    settings = Settings(home=tmp_path)
    assert "nothing was materialized yet" in _with(settings, OnlineFeatures.missing)
    assert _with(settings, lambda features: features.profile("c1")).unavailable == "features_unavailable"


def test_decisions_do_not_wait_for_the_store_to_open(tmp_path: Path) -> None:
    """Feast takes seconds to import: until it is open there are no features, and readiness says so."""
    features = OnlineFeatures(Settings(home=tmp_path), PATIENCE_S)
    assert asyncio.run(features.profile("c1")).unavailable == "features_unavailable"
    assert "being opened" in asyncio.run(features.missing())


@pytest.mark.integration
def test_a_customer_is_read_as_feast_reads_them(feature_home: Any) -> None:
    """Every type, null too; a customer with some views only; and nobody is unknown, on Redis as well."""
    feature_home.write("habits", "c1", **HABITS)
    feature_home.write("scores", "c1", rank=-1, clv=0.1)
    feature_home.write("habits", "c2", **HABITS | {"store": None, "spend": None})
    feature_home.write("scores", "c3", rank=0, clv=None)
    settings = feature_home.settings
    for customer_id in ("c1", "c2", "c3"):
        assert _profile(settings, customer_id) == feature_home.sdk(customer_id)
    assert _profile(settings, "c1") == HABITS | {"rank": -1, "clv": pytest.approx(0.1)}
    assert _profile(settings, "c3") == dict.fromkeys(HABITS) | {"rank": 0, "clv": None}
    assert _profile(settings, "stranger") == _profile(settings, "\ud800") == UNKNOWN


@pytest.mark.integration
def test_a_second_materialization_takes_the_place_of_the_first(feature_home: Any) -> None:
    """Of the same midnight too, and of an earlier one: what was copied last counts, on both stores."""
    feature_home.write("habits", "c1", **HABITS)
    for baskets, hours in ((4, 0), (5, -1), (6, 24)):
        at = feature_home.as_of + timedelta(hours=hours)
        feature_home.write("habits", "c1", at=at, **HABITS | {"baskets": baskets})
        assert _profile(feature_home.settings, "c1")["baskets"] == baskets


@pytest.mark.integration
def test_a_store_that_holds_nobody_is_not_ready(feature_home: Any) -> None:
    """As when State moved to another server: the registry tells of features that are elsewhere."""

    async def fill(features: OnlineFeatures) -> str:
        empty = await features.missing()
        await asyncio.to_thread(feature_home.write, "habits", "c1", **HABITS)
        assert await _eventually(lambda: _is_there(features))
        return empty

    assert "holds nobody: run `nextbest pipeline`" in _with(feature_home.settings, fill)


async def _is_there(features: OnlineFeatures) -> bool:
    return await features.missing() == ""


@pytest.mark.integration
def test_a_forgotten_customer_is_unknown_and_nobody_else_is(feature_home: Any) -> None:
    """Nothing is left of them in the store, whoever reads it; forgetting them again finds nothing."""
    for customer_id in ("c1", "c2"):
        feature_home.write("habits", customer_id, **HABITS)

    async def forget(features: OnlineFeatures) -> tuple[int, int, Profile, dict[str, Any]]:
        forgotten = await features.forget("c1"), await features.forget("c1")
        return *forgotten, await features.profile("c1"), await features._feast.read("c1", 0.0)  # noqa: SLF001

    first, again, profile, stored = _with(feature_home.settings, forget)
    assert (first > 0, again, profile.unavailable) == (True, 0, "unknown_customer")
    assert set(stored.values()) == {None}
    assert _profile(feature_home.settings, "c2")["baskets"] == HABITS["baskets"]


@pytest.mark.integration
def test_a_changed_definition_is_followed(feature_home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature that came, one that went, and one that moved to another view, whose old values are still stored."""
    monkeypatch.setattr(online_features, "_POLL_S", 0.01)
    feature_home.write("habits", "c1", **HABITS)

    wanted = {"baskets": 1, "is_new": True, "more": 2, "rank": None, "spend": None}

    async def change(features: OnlineFeatures) -> dict[str, Any]:
        async def is_followed() -> bool:
            return (await features.profile("c1")).features == wanted

        before = (await features.profile("c1")).features
        await asyncio.to_thread(feature_home.define, "habits", {"baskets": "Int64", "is_new": "Bool", "more": "Int64"})
        await asyncio.to_thread(feature_home.define, "scores", {"rank": "Int32", "spend": "Float64"})
        await asyncio.to_thread(feature_home.write, "habits", "c1", baskets=1, is_new=True, more=2)
        await _eventually(is_followed)
        return before

    assert set(_with(feature_home.settings, change)) == {*HABITS, "rank", "clv"}
    assert feature_home.sdk("c1") == wanted


@pytest.mark.integration
def test_a_row_that_is_too_old_is_not_read(feature_home: Any) -> None:
    """The time to live of its view counts, which Feast itself forgets online; other views stay."""
    feature_home.define("scores", {"rank": "Int32", "clv": "Float32"}, ttl=timedelta(days=1))
    feature_home.write("habits", "c1", **HABITS)
    feature_home.write("scores", "c1", rank=2, clv=1.0)
    stored_at = feature_home.as_of.timestamp()
    young, old = (_profile(feature_home.settings, "c1", stored_at + 86_400 + late) for late in (0, 1))
    assert young == HABITS | {"rank": 2, "clv": 1.0}
    assert old == HABITS | {"rank": None, "clv": None}


@pytest.mark.integration
@effort(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    baskets=st.none() | st.integers(-(2**63), 2**63 - 1),
    spend=st.none() | st.floats(allow_nan=False),
    store=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    is_new=st.booleans(),  # Feast warns of rows with nothing in them
)
def test_whatever_is_stored_is_read_as_feast_reads_it(feature_home: Any, **habits: Any) -> None:
    """Value by value, and null by null."""
    feature_home.write("habits", "c1", **habits)
    assert _profile(feature_home.settings, "c1") == feature_home.sdk("c1")


@pytest.mark.integration
@pytest.mark.parametrize("home", ["redis"], indirect=True)
def test_a_dead_server_is_a_reason(feature_home: Any, redis_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """For decisions at once, and for readiness with what to do; the log says it once, and no password with it."""
    feature_home.write("habits", "c1", **HABITS)

    async def kill(features: OnlineFeatures) -> tuple[list[str], str]:
        redis_server.kill()
        try:
            said = [(await features.profile("c1")).unavailable for _ in range(3)]
            missing = await _eventually(features.missing)
        finally:
            redis_server.start()
        return said, missing

    said, missing = _with(feature_home.settings, kill)
    assert said == ["features_unavailable"] * 3
    assert "NEXTBEST_STATE" in missing
    assert sum("features cannot be read" in each.getMessage() for each in caplog.records) == 1


@pytest.mark.integration
@pytest.mark.parametrize("home", ["redis"], indirect=True)
def test_a_customer_who_cannot_be_read_is_not_named(feature_home: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Something else is stored under their key; others are read as before."""
    feature_home.write("habits", "c1", **HABITS)
    feature_home.write("habits", "somebody", **HABITS)

    async def read(features: OnlineFeatures) -> list[str]:
        with redis.Redis.from_url(feature_home.settings.state_url) as server:
            (key,) = (each for each in server.scan_iter() if b"somebody" in each)
            server.delete(key)
            server.set(key, "text")
        return [(await features.profile(customer_id)).unavailable for customer_id in ("somebody", "c1")]

    assert _with(feature_home.settings, read) == ["features_unavailable", ""]
    assert "features cannot be read: ReplyError" in caplog.text
    assert "somebody" not in caplog.text


@pytest.mark.integration
@pytest.mark.parametrize("home", ["sqlite"], indirect=True)
def test_a_removed_file_is_a_reason(feature_home: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is read any more, no path is said, and none is made in its place: the pipeline is to."""
    feature_home.write("habits", "c1", **HABITS)
    file = feature_home.settings.feast_online

    async def remove(features: OnlineFeatures) -> tuple[str, str]:
        await asyncio.to_thread(file.unlink)
        said = (await features.profile("c1")).unavailable
        return said, await _eventually(features.missing)

    said, missing = _with(feature_home.settings, remove)
    assert said == "features_unavailable"
    assert "nextbest pipeline" in missing
    assert not file.exists()
    assert str(file) not in caplog.text


@pytest.mark.integration
@pytest.mark.parametrize("home", ["sqlite"], indirect=True)
def test_a_locked_file_is_waited_for_as_long_as_patience_lasts(feature_home: Any) -> None:
    """And no longer."""
    feature_home.write("habits", "c1", **HABITS)

    async def lock(features: OnlineFeatures) -> str:
        holder = sqlite3.connect(feature_home.settings.feast_online, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            return (await features.profile("c1")).unavailable
        finally:
            holder.close()

    assert _with(feature_home.settings, lock) == "features_unavailable"


@pytest.mark.integration
def test_a_reader_that_disagrees_with_feast_is_not_used(
    feature_home: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK reads instead, and the log says why."""
    caplog.set_level(logging.WARNING)
    feature_home.write("habits", "c1", **HABITS)

    async def wrong(*_: object) -> dict[str, Any]:
        return {"baskets": 4}

    for reader in (SqliteFeatures, RedisFeatures):
        monkeypatch.setattr(reader, "read", wrong)
    profile = _with(feature_home.settings, lambda features: features.profile("c1"))
    assert profile.features == feature_home.sdk("c1")
    assert "Feast's SDK reads something else" in caplog.text


@pytest.mark.integration
def test_what_cannot_be_read_quickly_is_read_by_feast(
    feature_home: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A declaration that the reader does not know at the start, and a value that it does not know later."""
    caplog.set_level(logging.WARNING)
    feature_home.write("habits", "c1", **HABITS)

    async def later(features: OnlineFeatures) -> dict[str, Any]:
        async def unknown(*_: object) -> dict[str, Any]:
            raise UnknownFormatError("a stored value is new")

        monkeypatch.setattr(features._reader, "read", unknown)  # noqa: SLF001
        return (await features.profile("c1")).features

    assert _with(feature_home.settings, later) == feature_home.sdk("c1")
    assert "a stored value is new" in caplog.text
    feature_home.define("visits", {"seen": "UnixTimestamp"})
    profile = _with(feature_home.settings, lambda features: features.profile("c1"))
    assert profile.features == HABITS | {"rank": None, "clv": None, "seen": None}
    assert "features of another type in visits" in caplog.text
