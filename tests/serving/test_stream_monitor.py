"""The watch beside the event processor: counts what is applied, and tells everybody of what is unusual."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.envelope import Envelope
from nextbest.following import Step, step
from serving.metrics import Meter
from serving.stream_monitor import StreamMonitor, source_of

Receiver = Callable[..., AbstractContextManager[tuple[str, list[dict[str, Any]]]]]
TICK = timedelta(seconds=10)


class Rejects:
    """What a quarantine would say."""

    def __init__(self) -> None:
        self.number = 3
        self.minute: datetime | None = None

    def counts(self, since: datetime) -> list[tuple[datetime, str, str, int]]:
        return [(since, "shop", "events", self.number)]


class Stream:
    """A log that a channel fills, a State that follows, and the watch over both, by a clock that the test moves."""

    def __init__(self, log: SqliteLog, state: SqliteState, folder: Path, clock: Any) -> None:
        self.log, self.state, self.clock, self.number = log, state, clock, 0
        self.meter, self.rejects = Meter(folder / "metrics"), Rejects()
        self.path = folder / "stream.json"
        self.monitor = self.started()

    def started(self, webhook: str = "") -> StreamMonitor:
        monitor = StreamMonitor(
            log=self.log, meter=self.meter, path=self.path, clock=self.clock, webhook=webhook, rejects=self.rejects
        )
        monitor.start()
        return monitor

    def send(self, number: int, channel: str = "web") -> None:
        now = self.clock.now
        entries = [
            Envelope(
                event_id=f"e{self.number + each}",
                type="event",
                contract="events",
                contract_version="1.0.0",
                source="live",
                occurred_at=now - timedelta(seconds=0.2),
                received_at=now,
                partition_key="c1",
                channel=channel,
                properties={"customer_id": "ann@example.org", "type": "page_view"},
            )
            for each in range(number)
        ]
        self.number += number
        self.log.append_sync(entries)

    async def pass_by(self, seconds: int, per_tick: int, *, is_applied: bool = True) -> list[str]:
        """What is told meanwhile."""
        told: list[str] = []
        for _ in range(0, seconds, 10):
            self.send(per_tick)
            if is_applied:
                self.monitor.note(await step(self.log, self.state))
            self.clock.now += TICK
            told += [f"{each.kind} {each.source} {each.is_over}" for each in await self.monitor.look()]
        return told

    def metric(self, name: str) -> list[str]:
        return [line for line in self.meter.exposition().decode().splitlines() if line.startswith(name)]


@pytest.fixture
def stream(log: SqliteLog, state: SqliteState, tmp_path: Path, clock: Any) -> Stream:
    return Stream(log, state, tmp_path, clock)


def test_a_source_that_falls_silent_is_told_everywhere_once(
    stream: Stream, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """In the server's log, as a metric and to the webhook, and when it is over; its past is kept over a restart."""

    async def happen(url: str) -> list[list[str]]:
        told = [await stream.pass_by(2_400, 5)]
        stream.monitor = stream.started(url)
        told += [await stream.pass_by(600, 0 if n else 5) for n in range(2)]
        return [*told, await stream.pass_by(300, 5)]

    with receiver() as (url, heard):
        told = asyncio.run(happen(url))
    source = "events/live/web"
    assert told == [[], [], [f"volume_low {source} False"], [f"volume_low {source} True"]]
    assert stream.metric("nextbest_stream_alerts_total") == [
        f'nextbest_stream_alerts_total{{kind="volume_low",source="{source}"}} 1.0'
    ]
    assert "stream events/live/web: volume_low is unusual: 5 records came, usual are 30" in caplog.text
    assert [each["alerts"][0]["kind"] for each in heard] == ["volume_low", "volume_low"]
    assert heard[0]["text"] == f"nextbest: stream {source}: volume_low is unusual: 5 records came, usual are 30"
    assert "ann@example.org" not in json.dumps(heard) + caplog.text + stream.path.read_text()


def test_a_state_that_stands_still_is_a_lag_and_no_silence(stream: Stream) -> None:
    """How many records wait and how long the oldest does is a metric; all that came is counted once it is applied."""

    async def happen() -> list[list[str]]:
        told = [await stream.pass_by(2_400, 5), await stream.pass_by(600, 5, is_applied=False)]
        assert stream.metric("nextbest_log_lag_records") == ["nextbest_log_lag_records 300.0"]
        assert stream.metric("nextbest_log_oldest_unprocessed_seconds") == [
            "nextbest_log_oldest_unprocessed_seconds 600.0"
        ]
        return [*told, await stream.pass_by(600, 5)]

    assert asyncio.run(happen()) == [[], ["lag log False"], ["lag log True"]]
    assert stream.metric("nextbest_log_lag_records") == ["nextbest_log_lag_records 0.0"]


def test_a_log_that_is_applied_again_is_not_counted_again(stream: Stream) -> None:
    """A State that is rebuilt is no burst."""

    async def happen() -> list[list[str]]:
        told = [await stream.pass_by(2_400, 5)]
        await stream.state.clear()
        stream.monitor.note(await step(stream.log, stream.state))
        return [*told, await stream.pass_by(300, 5)]

    assert asyncio.run(happen()) == [[], []]


def test_rejects_are_counted_as_they_come(stream: Stream) -> None:
    """What is in quarantine already when the watch begins is none of its business."""

    async def happen() -> list[list[str]]:
        told = [await stream.pass_by(2_400, 5)]
        stream.rejects.number += 50
        return [*told, await stream.pass_by(60, 5)]

    assert asyncio.run(happen()) == [[], ["rejects shop/events False"]]


@pytest.mark.parametrize(("channel", "named"), [("web", "web"), ("ann@example.org", "other"), ("", "none")])
def test_a_source_names_no_person(stream: Stream, channel: str, named: str) -> None:
    """Whatever a channel calls itself."""
    stream.send(1, channel)
    ((_, record),) = stream.log.read_sync(0, 1)
    assert source_of(record) == f"events/live/{named}"


def test_a_record_that_cannot_be_counted_keeps_nobody_waiting(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    """Its times are of two kinds: they cannot be compared."""
    stream.send(1)
    ((offset, record),) = stream.log.read_sync(0, 1)
    odd = msgspec.structs.replace(record, occurred_at=record.occurred_at.replace(tzinfo=None))
    stream.monitor.note(Step("log", offset, offset - 1, [(offset, odd)], is_end=True))
    assert "records were not counted: TypeError at " in caplog.text


def test_a_defect_or_a_log_that_is_down_does_not_end_the_watch(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the next look is tried."""
    looks: list[int] = []

    async def look(_: StreamMonitor) -> None:
        looks.append(1)
        if len(looks) == 2:
            raise asyncio.CancelledError
        raise KeyError("ann@example.org")

    monkeypatch.setattr(StreamMonitor, "look", look)
    monkeypatch.setattr("serving.stream_monitor._LOOK_S", 0.0)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stream.monitor.watch())
    assert "the stream was not watched: KeyError at " in caplog.text
    assert "ann@example.org" not in caplog.text
