"""What tests of the event log share: records, a topic, and the mirror that brings it into a home."""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nextbest.adapters.kafka_mirror import Mirror
from nextbest.adapters.kafka_topic import Topic
from nextbest.adapters.log_copy import LogCopy
from nextbest.envelope import Envelope

_WAIT_S = 10.0
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
_RECORD = Envelope(
    event_id="",
    type="event",
    contract="events",
    contract_version="1.0.0",
    source="live",
    occurred_at=AT,
    received_at=AT,
    partition_key="c1",
    properties={"type": "login"},
)

MakeRecord = Callable[..., Envelope]


@pytest.fixture
def record() -> MakeRecord:
    """Call it with an id, and what is to be another than a login of the customer c1."""
    return lambda event_id, **fields: msgspec.structs.replace(_RECORD, event_id=event_id, **fields)


@pytest.fixture
def topic(broker: Any) -> Topic:
    """A topic of three partitions that nobody has used."""
    return Topic(broker.address, f"log-{uuid.uuid4().hex}", 3)


class Following:
    """A mirror that runs in a thread, as it does in the process of the event processor."""

    def __init__(self, topic: Topic, path: Path) -> None:
        self._topic = topic
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._task: asyncio.Task[None] | None = None
        self._thread.start()

    def end(self) -> None:
        """Cancel it, wherever it is, and return once it has ended."""
        while self._task is None:
            time.sleep(0.001)
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, closing(LogCopy(self._path)) as copy:
            try:
                runner.run(self._follow(copy))
            except asyncio.CancelledError:
                return

    async def _follow(self, copy: LogCopy) -> None:
        self._task = asyncio.current_task()
        await Mirror(self._topic, copy, patience_s=1.0).follow()


Follow = Callable[[Topic, Path], Following]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Call it for a mirror that ends with the test, if it has not before."""
    started: list[Following] = []

    def start(topic: Topic, path: Path) -> Following:
        started.append(Following(topic, path))
        return started[-1]

    yield start
    for each in started:
        if each._thread.is_alive():  # noqa: SLF001
            each.end()


class Eventually:
    """Waits for what comes soon."""

    def __call__(self, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + _WAIT_S
        while not holds():
            assert time.monotonic() < deadline, "it did not come"
            time.sleep(0.005)


@pytest.fixture
def eventually() -> Eventually:
    return Eventually()
