"""When parts are slow or down, a decision comes in time and says what it lacks."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from nextbest.adapters import sqlite as sqlite_adapter
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.envelope import Envelope
from nextbest.log import LogUnavailableError
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, StateUnavailableError

Decide = Callable[..., dict[str, Any]]
Publish = Callable[[Settings, float], str]
BUDGET_MS = 400
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


async def _hang(*_args: object, **_options: object) -> None:
    await asyncio.sleep(60)


def _down(error: Exception) -> Callable[..., Any]:
    async def down(*_args: object, **_options: object) -> None:
        raise error

    return down


@pytest.mark.parametrize(
    ("part", "call", "reason"),
    [
        (SqliteState, "snapshot", "state_slow"),
        (SqliteState, "reserve", "state_slow"),
        (SqliteLog, "append", "log_slow"),
        (SqliteLog, "about_decision", "log_slow"),
    ],
)
def test_a_part_that_hangs_costs_the_budget_and_no_more(  # noqa: PLR0917  what hangs, and what it is about
    decide: Decide,
    settings: Settings,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    part: type,
    call: str,
    reason: str,
) -> None:
    """The fallback, which counts nowhere, says which part kept it waiting."""
    publish(settings, 0.1)
    monkeypatch.setattr(part, call, _hang)
    began = time.monotonic()
    answer = decide(budget_ms=BUDGET_MS, request_id="r1")
    assert time.monotonic() - began < 10
    assert (answer["tier"], answer["degraded"], answer["logged"]) == ("fallback", [reason], False)
    assert answer["placements"][0]["slots"][0]["content"] == {"headline": "Good food"}


@pytest.mark.parametrize(
    ("part", "call", "error", "reason"),
    [
        (SqliteState, "customer_of", StateUnavailableError("down"), "state_unavailable"),
        (SqliteState, "snapshot", StateUnavailableError("down"), "state_unavailable"),
        (SqliteState, "reserve", StateUnavailableError("down"), "state_unavailable"),
        (SqliteState, "reserve", MemoryError(), "defect"),
        (SqliteLog, "append", LogUnavailableError("full"), "log_unavailable"),
    ],
)
def test_a_part_that_is_down_is_named(  # noqa: PLR0917  what is down, and what it is about
    decide: Decide,
    settings: Settings,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    part: type,
    call: str,
    error: Exception,
    reason: str,
) -> None:
    """Never an error to whoever asks."""
    publish(settings, 0.1)
    monkeypatch.setattr(part, call, _down(error))
    answer = decide(customer={"kind": "email", "hmac": "ab" * 32})
    assert (answer["tier"], answer["degraded"], answer["logged"]) == ("fallback", [reason], False)


@pytest.mark.parametrize("held", [0, 1])
def test_what_the_log_may_yet_have_is_not_given_back(  # noqa: PLR0917  what fails, and where it is looked
    decide: Decide,
    settings: Settings,
    publish: Publish,
    state: SqliteState,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
) -> None:
    """A broker may have what it did not acknowledge: then State must not say that it never was."""
    publish(settings, 0.1)
    monkeypatch.setattr(SqliteLog, "is_definite", not held)
    monkeypatch.setattr(SqliteLog, "append", _down(LogUnavailableError("silent")))
    decide("c1")
    assert len(asyncio.run(state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO))).contacts) == held


def test_what_another_try_logs_meanwhile_is_not_given_back(  # noqa: PLR0917  who tries, and where it is looked
    decide: Decide,
    settings: Settings,
    publish: Publish,
    state: SqliteState,
    log: SqliteLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One try gives back what it has found no decision for; while it does, another logs one, and State has it."""
    publish(settings, 0.1)
    append, release, tried = SqliteLog.append, SqliteState.release, list[Envelope]()

    async def fail(_: SqliteLog, entries: Sequence[Envelope], **_options: Any) -> None:
        tried.extend(entries)
        raise LogUnavailableError("full")

    async def late(self: SqliteState, decision_id: str, slot: int) -> None:
        await append(log, tried, together=True)
        await self.apply(tried, None)
        await release(self, decision_id, slot)

    monkeypatch.setattr(SqliteLog, "append", fail)
    monkeypatch.setattr(SqliteState, "release", late)
    decide("c1", request_id="r1")
    assert len(asyncio.run(state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO))).contacts) == 1


def test_slow_features_leave_time_for_a_decision_without(
    decide: Decide, features: Any, settings: Settings, publish: Publish
) -> None:
    """They get half of the time, so that the fallback can still be logged."""
    publish(settings, 0.1)
    features.delay_s = 60.0
    answer = decide(budget_ms=2_000)
    assert (answer["tier"], answer["degraded"], answer["logged"]) == ("fallback", ["features_slow"], True)


def test_a_log_on_a_full_disk_is_no_error(
    decide: Decide, settings: Settings, publish: Publish, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fallback, not logged, and nothing held under caps; once there is room again, decisions are whole again."""
    publish(settings, 0.1)
    decide()
    full = f"PRAGMA max_page_count = {settings.event_log.stat().st_size // 4_096}"
    connect = sqlite_adapter.connect

    def on_a_full_disk(*arguments: Any) -> sqlite3.Connection:
        connection = connect(*arguments)
        if arguments[0] == settings.event_log:
            connection.execute(full)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_adapter, "connect", on_a_full_disk)
        _open_anew(log)
        answers = [decide(context={"filler": "x" * 1_000}) for _ in range(20)]
        assert answers[-1]["degraded"] == ["log_unavailable"]
        assert not answers[-1]["logged"]
    _open_anew(log)
    assert decide("c2")["logged"]


@pytest.mark.parametrize("request_id", [None, "r1"])
@pytest.mark.parametrize("held_s", [0.03, 0.3, 1.0], ids=["a moment", "longer than the budget", "for long"])
def test_a_log_that_is_held_is_told_of_truly(  # noqa: PLR0917  what is held, and where it is looked
    decide: Decide,
    settings: Settings,
    publish: Publish,
    log: SqliteLog,
    state: SqliteState,
    held_s: float,
    request_id: str | None,
) -> None:
    """What is answered as not logged is not in the log, and nothing is held for it under caps."""
    publish(settings, 0.1)
    decide("c2")
    with closing(sqlite3.connect(settings.event_log, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        letting_go = threading.Timer(held_s, other.execute, ["COMMIT"])
        letting_go.start()
        answer = decide("c1", budget_ms=200, request_id=request_id)
        letting_go.join()
    asyncio.run(asyncio.sleep(0.1))
    logged = {entry.decision_id for _, entry in log.read_sync(0, 10)}
    held = asyncio.run(state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO))).contacts
    assert answer["logged"] == (held_s < 0.2)
    assert (answer["decision_id"] in logged, bool(held)) == (answer["logged"], answer["logged"])


def _open_anew(log: SqliteLog) -> None:
    """Have the log forget its connections."""
    log._writer._discard_in_loop()  # noqa: SLF001
    log._writer.submit(sqlite3.Connection.close).exception()  # noqa: SLF001  the thread's is of no use any more
