"""`nextbest log`: how the log and the State that follows it stand, and State made anew; on every State."""

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.log_landing import land_day
from nextbest.adapters.logs import open_log
from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.adapters.states import open_state
from nextbest.commands.log import log as log_command
from nextbest.envelope import Envelope, Identifier
from nextbest.following import step
from nextbest.log import LogUnavailableError
from nextbest.settings import Settings
from nextbest.state import SnapshotScope

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def record(number: int, type_: str, received_at: datetime, **properties: str) -> Envelope:
    return Envelope(
        event_id=f"{type_}s/{number}",
        type=type_,
        contract=f"{type_}s",
        contract_version="1.0.0",
        source="live",
        occurred_at=received_at,
        received_at=received_at,
        partition_key="c1",
        action="beef" if type_ == "pause" else None,
        properties=properties,
    )


def story(count: int, now: datetime) -> list[Envelope]:
    """A word about an identifier, a consent and a pause of long ago, and views of the last hour and minute."""
    said = [
        record(1, "identity", LONG_AGO, kind="email", identifier_hmac="ab", customer_id="c1"),
        record(1, "consent", LONG_AGO, customer_id="c1", purpose="marketing", status="withdrawn"),
        record(1, "pause", LONG_AGO),
    ]
    seen = [record(n, "event", now - timedelta(minutes=30), customer_id="c1", type="page_view") for n in range(count)]
    new = [record(n, "event", now, customer_id="c1", type="page_view") for n in range(count, count + 6)]
    return [*said, *seen, *new]


@pytest.fixture
def settings(home: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with a log of 15 records, of which State has 9, and live features 5."""
    settings = home()
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    entries = story(6, datetime.now(UTC))
    with closing(open_log(settings)) as log, closing(open_state(settings)) as state:
        log.append_sync(entries[:9])
        asyncio.run(step(log, state))
        asyncio.run(state.project("live", asyncio.run(log.log_id()), {}, after=0, offset=5))
        log.append_sync(entries[9:])
    return settings


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(log_command, arguments)
    assert result.exit_code == 0, result.output
    return result


def known(settings: Settings) -> tuple[object, ...]:
    """All that a decision about the customer would see of the story, resting on the log."""

    async def ask() -> tuple[object, ...]:
        with closing(open_state(settings)) as state, closing(open_log(settings)) as log:
            found = await state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO), await log.log_id())
            mail = await state.customer_of([Identifier("email", "ab")])
            offset = await state.applied_offset(await log.log_id())
        return dict(found.consents), found.pauses, len(found.interactions), mail, offset

    return asyncio.run(ask())


def test_status_says_how_log_and_state_stand(settings: Settings, tmp_path: Path) -> None:
    """In a table for people and a file for machines; and the records that could not be applied by name."""
    skipped = SkippedRecords(settings.skipped_records)
    skipped.add("log", 7, record(9, "event", LONG_AGO), OverflowError("the customer's secret"), LONG_AGO)
    text = run("status", "--json", str(tmp_path / "log.json")).output
    report = json.loads((tmp_path / "log.json").read_text())
    assert (report["last_offset"], report["is_estimated"], report["landed_until"]) == (15, False, None)
    assert report["copy"] is None
    assert report["per_second_last_minute"] == pytest.approx(6 / 60)
    assert report["per_second_last_hour"] == pytest.approx(12 / 3_600)
    assert report["last_hour"] == [{"contract": "events", "type": "event", "records": 12}]
    state = report["state"]
    assert (state["applied_offset"], state["lag_records"], state["is_caught_up"]) == (9, 6, True)
    assert state["projections"] == {"live": 10}
    assert 0 < state["oldest_unprocessed_seconds"] < 600
    assert [each["event_id"] for each in report["skipped"]["last"]] == ["events/9"]
    assert "15 came in so far" in text
    assert "has caught up, up to offset 9" in text
    assert "6 records wait, the oldest for " in text
    assert re.search(r"live +10 records wait", text)
    assert "1 records could not be brought into State" in text
    assert "events/9  (event, offset 7): OverflowError, 2026-01-01 00:00:00" in text
    assert "secret" not in text
    with closing(open_log(settings)) as log:
        (arrived,) = log.arrived_sync("consents")
        land_day(log, Door.of(settings), load_contracts(settings.folder("contracts"))["consents"], arrived)
    assert re.search(r"landed +up to 2026-01-01", run("status").output)


@pytest.mark.usefixtures("settings")
def test_status_says_that_the_topic_of_the_log_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is in the home is shown all the same."""
    monkeypatch.setenv("NEXTBEST_LOG", "kafka://127.0.0.1:1/events")
    text = run("status", "--json", str(tmp_path / "log.json")).output
    assert re.search(r"copy +the topic of the event log cannot be used: kafka://127.0.0.1:1/events", text)
    assert "15 came in so far" in text
    assert "cannot be used" in json.loads((tmp_path / "log.json").read_text())["copy"]["unavailable"]


def test_replay_makes_state_anew(settings: Settings) -> None:
    """From nothing, whatever was in it that is in no log; the published policy stays."""
    with closing(open_state(settings)) as state:
        asyncio.run(state.publish_policy("p"))
        stray = record(2, "consent", datetime.now(UTC), customer_id="c1", purpose="marketing", status="granted")
        asyncio.run(state.apply([stray], None))
    assert "State has all of the log again: 15 records" in run("replay", "--yes").output
    assert known(settings) == ({"marketing": "withdrawn"}, ("beef",), 12, "c1", 15)
    with closing(open_state(settings)) as state:
        assert asyncio.run(state.current_policy()) == "p"


def test_replay_leaves_state_as_it_is_while_the_log_cannot_be_read(settings: Settings) -> None:
    """A page of the file is broken: what is there is more than what could be made of the rest."""
    with closing(open_log(settings)) as log, closing(open_state(settings)) as state:
        while not asyncio.run(step(log, state)).is_end:
            pass
    before = known(settings)
    with sqlite3.connect(settings.event_log) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,), *_] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'")
        [(size,)] = connection.execute("PRAGMA page_size")
    connection.close()
    content = settings.event_log.read_bytes()
    start = (page - 1) * size
    settings.event_log.write_bytes(content[:start] + b"\xff" * size + content[start + size :])
    failed = CliRunner().invoke(log_command, ["replay", "--yes"])
    assert isinstance(failed.exception, LogUnavailableError), failed.output
    settings.event_log.write_bytes(content)
    assert known(settings) == before


def test_replay_says_what_has_not_come_to_the_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTBEST_LOG", "kafka://127.0.0.1:1/events")
    said = run("replay", "--yes").output
    assert "15 records" in said
    assert "of what has come to this home: the topic of the event log cannot be used" in said
    assert settings.event_log.is_file()


@contextmanager
def followed(settings: Settings) -> Iterator[None]:
    """The event processor runs, in a thread of its own."""
    ended = threading.Event()

    async def follow() -> None:
        with closing(open_log(settings)) as log, closing(open_state(settings)) as state:
            while not ended.is_set():
                await step(log, state)
                await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(follow()))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_replay_beside_a_processor_leaves_nothing_out(settings: Settings) -> None:
    """Whichever of the two applies a record, all of them are there in the end."""
    more = [record(n, "event", datetime.now(UTC), customer_id="c1", type="page_view") for n in range(100, 3_100)]
    with closing(open_log(settings)) as log:
        log.append_sync(more)
    with followed(settings):
        for _ in range(3):
            run("replay", "--yes")
            assert known(settings) == ({"marketing": "withdrawn"}, ("beef",), 3_012, "c1", 3_015)


def test_compact_lets_go_of_what_was_replaced(settings: Settings) -> None:
    """Shown first, and then gone: the old word of two that link an identifier to a customer."""
    links = [
        msgspec.structs.replace(
            record(number, "identity", at, kind="email", identifier_hmac="cd", customer_id="c9"),
            event_id=f"identities/{number}",
            contract="identities",
        )
        for number, at in enumerate((LONG_AGO, datetime.now(UTC)))
    ]
    with closing(open_log(settings)) as log:
        log.append_sync(links)
        before = [entry.event_id for _, entry in log.read_sync(0, 100)]
        assert "still there" in run("compact", "--dry-run").output
        assert [entry.event_id for _, entry in log.read_sync(0, 100)] == before
        assert "identities" in run("compact").output
        before.remove("identities/0")
        assert [entry.event_id for _, entry in log.read_sync(0, 100)] == before
        assert run("compact", "--dry-run").output == run("compact").output == "nothing is old enough to go\n"


def test_replay_asks_first(settings: Settings) -> None:
    """Whoever says no changes nothing."""
    before = known(settings)
    result = CliRunner().invoke(log_command, ["replay"], input="n\n")
    assert result.exit_code == 1
    assert known(settings) == before


@pytest.mark.parametrize("command", ["status", "replay"])
def test_a_home_without_a_log_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Nothing is made by asking."""
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    result = CliRunner().invoke(log_command, [command])
    assert "there is no event log" in str(result.exception)
    assert not Settings(home=tmp_path).event_log.exists()


@pytest.mark.usefixtures("settings")
def test_status_without_state_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is there to be looked at while State is down."""
    monkeypatch.setenv("NEXTBEST_STATE", "redis://127.0.0.1:9/0")
    assert "State cannot be used" in run("status").output
