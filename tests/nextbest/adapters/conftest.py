"""What tests of the event log share: records, a topic, and the mirror that brings it into a home."""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.kafka_mirror import Mirror
from nextbest.adapters.kafka_topic import Topic
from nextbest.adapters.late_rejects import LateRejects
from nextbest.adapters.log_copy import LogCopy
from nextbest.adapters.quarantine import Quarantine
from nextbest.envelope import Envelope
from nextbest.rejects import Kept
from nextbest.settings import Settings

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


def late_rejects(copy: LogCopy, path: Path) -> LateRejects:
    """With a quarantine beside the copy at `path`."""
    contracts = load_contracts(Settings().folder("contracts"))
    return LateRejects(copy, Quarantine(path.with_name("rejected.db"), contracts), contracts)


class Following:
    """A mirror that runs in a thread, as it does in the process of the event processor."""

    def __init__(self, topic: Topic, path: Path) -> None:
        self._topic = topic
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._task: asyncio.Task[None] | None = None
        self._is_running = threading.Event()
        self._thread.start()

    def end(self) -> None:
        """Cancel it, wherever it is, and return once it has ended."""
        self._is_running.wait()
        while self._thread.is_alive():  # aiokafka may keep a cancellation to itself that meets a timeout of its own
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(cast("asyncio.Task[None]", self._task).cancel)
            self._thread.join(0.5)

    def _run(self) -> None:
        copy = LogCopy(self._path, patience_s=0.05)
        with (
            asyncio.Runner(loop_factory=lambda: self._loop) as runner,
            closing(copy),
            closing(late_rejects(copy, self._path)) as late,
        ):
            try:
                runner.run(self._follow(copy, late))
            except asyncio.CancelledError:
                return

    async def _follow(self, copy: LogCopy, late: LateRejects) -> None:
        self._task = asyncio.current_task()
        self._is_running.set()
        await Mirror(self._topic, copy, late, patience_s=1.0).follow()


class Mirrored:
    """A home whose log is a topic's copy, at `path`; nothing follows the topic until it is told to."""

    def __init__(self, topic: Topic, path: Path) -> None:
        self.topic = topic
        self.path = path
        self._started: list[Following] = []

    def follow(self) -> Following:
        """Start a mirror, which ends with the test at the latest."""
        self._started.append(Following(self.topic, self.path))
        return self._started[-1]

    def entries(self) -> list[Envelope]:
        """All that the copy holds."""
        with closing(LogCopy(self.path)) as copy:
            return [entry for _, entry in copy.read_sync(0, 1_000)]

    def rejected(self) -> list[Kept]:
        """The rows in quarantine."""
        with closing(Quarantine(self.path.with_name("rejected.db"), {})) as quarantine:
            return quarantine.rows()

    def end(self) -> None:
        for each in self._started:
            each.end()


@pytest.fixture
def mirrored(topic: Topic, tmp_path: Path) -> Iterator[Mirrored]:
    home = Mirrored(topic, tmp_path / "log" / "events.db")
    yield home
    home.end()


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
