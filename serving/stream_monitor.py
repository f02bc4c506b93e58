"""The watch over the stream of events, beside the event processor: who is told when it is not as it was.

Belongs here: counting what is applied, asking how far State is behind, and the alerts' way into log, metrics and
webhook. Does not belong here: what is unusual (`nextbest.stream_watch`). An alert names a source, never a customer.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from nextbest.adapters.files import write_whole
from nextbest.adapters.webhook import post
from nextbest.envelope import Envelope
from nextbest.following import Step
from nextbest.log import EventLog, LogUnavailableError
from nextbest.log_status import waiting
from nextbest.stream_watch import TICK_S, Alert, Watch
from serving.defects import place_of
from serving.metrics import Meter

_log = logging.getLogger(__name__)
_SETTLED = timedelta(seconds=1)
"""What was received so long ago is applied by now, unless State is behind."""
_REJECTS_SINCE = timedelta(minutes=2)
_LOOK_S, _KEEP_EVERY = TICK_S / 2, 12
"""Twice per tick: what is unusual for fifty seconds is told within the minute. The past is kept every minute."""
_NAME = re.compile(r"[a-z0-9_.-]{1,32}")
_MEANING = {
    "volume_high": "{found:,.0f} records came, usual are {usual:,.0f}",
    "volume_low": "{found:,.0f} records came, usual are {usual:,.0f}",
    "latency": "events come {found:,.1f} s after they occurred, usual are {usual:,.1f} s",
    "rejects": "{found:,.0f} rows were rejected in a minute, usual are {usual:,.0f}",
    "lag": "the oldest event that State does not have waits for {found:,.0f} s",
}


class Rejects(Protocol):
    """Where rejected rows are kept."""

    def counts(self, since: datetime) -> Sequence[tuple[datetime, str, str, int]]:
        """How many rows were rejected since then: minute, sender, contract and number."""
        ...


class NoRejects:
    """Keeps none."""

    def counts(self, since: datetime) -> Sequence[tuple[datetime, str, str, int]]:  # noqa: ARG002  there are none
        return ()


class _Kept(msgspec.Struct):
    """What is kept over a restart."""

    log_id: str = ""
    offset: int = 0
    watch: Watch = msgspec.field(default_factory=Watch)


@dataclass(slots=True, kw_only=True)
class StreamMonitor:
    """Watches one log; its past is in the file at `path`."""

    log: EventLog
    meter: Meter
    path: Path
    clock: Callable[[], datetime]
    webhook: str = ""
    """The address of `NEXTBEST_ALERT_WEBHOOK`; empty tells nobody."""
    rejects: Rejects = field(default_factory=NoRejects)
    _kept: _Kept = field(default_factory=_Kept)
    _applied: int | None = None
    _rejected: dict[tuple[datetime, str, str], int] | None = None
    _looks: int = 0

    def start(self) -> None:
        """Take up the past; a file that cannot be read is none."""
        with suppress(OSError, msgspec.DecodeError):
            self._kept = msgspec.json.decode(self.path.read_bytes(), type=_Kept)
        self._kept.watch.resume(self.clock())

    def note(self, step: Step) -> None:
        """Count the records of a step, each once, also where the log is applied again; they are applied already."""
        try:
            self._note(step)
        except Exception as error:  # noqa: BLE001  what comes next is applied all the same
            _log.error("records were not counted: %s", place_of(error))

    def _note(self, step: Step) -> None:
        kept, self._applied = self._kept, step.offset
        if kept.log_id != step.log_id:
            kept.log_id, kept.offset = step.log_id, 0
        for offset, record in step.records:
            if offset > kept.offset:
                self._count(record)
        kept.offset = max(kept.offset, step.offset)

    def note_skipped(self, record: Envelope) -> None:
        """A record cannot be applied."""
        self.meter.count("nextbest_log_skipped", record.type)

    async def watch(self) -> None:
        """Look every few seconds, until cancelled; a defect of the watch keeps nothing else from going on."""
        self.start()
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.look()
            except LogUnavailableError as error:
                _log.warning("the stream cannot be watched: %s", type(error).__name__)
            except Exception as error:  # noqa: BLE001  events are applied all the same
                _log.error("the stream was not watched: %s", place_of(error))

    async def look(self) -> list[Alert]:
        """Judge what has come since the last look, and tell whom it concerns; returns what was told.

        Raises:
            LogUnavailableError: the log cannot be asked.

        """
        now, watch = self.clock(), self._kept.watch
        oldest = await self._oldest_waiting()
        waits_s = max((now - oldest).total_seconds(), 0.0) if oldest else 0.0
        self.meter.gauges["nextbest_log_oldest_unprocessed_seconds"] = waits_s
        await self._count_rejects(now)
        # What waits is not counted yet: until it is, a silence says nothing.
        alerts = [*watch.lag(waits_s), *watch.advance(min(now, oldest or now) - _SETTLED)]
        for alert in alerts:
            _log.warning("%s", text_of(alert))
            if not alert.is_over:
                self.meter.count("nextbest_stream_alerts", alert.kind, alert.source)
        if self._looks % _KEEP_EVERY == 0:
            with suppress(OSError):  # a full disk costs the past, at worst
                write_whole(self.path, msgspec.json.encode(self._kept), durable=False)
        self._looks += 1
        if alerts and self.webhook:
            await self._post(alerts)
        return alerts

    async def _oldest_waiting(self) -> datetime | None:
        """When the oldest record that State does not have was received."""
        if self._applied is None:
            return None  # nobody knows yet how far State is
        waits = await waiting(self.log, self._applied)
        self.meter.gauges["nextbest_log_lag_records"] = waits.records
        return waits.since

    def _count(self, record: Envelope) -> None:
        latency_s = (record.received_at - record.occurred_at).total_seconds() if record.source == "live" else None
        self._kept.watch.count(source_of(record), record.received_at, latency_s=latency_s)

    async def _count_rejects(self, now: datetime) -> None:
        since = (now - _REJECTS_SINCE).replace(second=0, microsecond=0)
        found = {each[:3]: each[3] for each in await asyncio.to_thread(self.rejects.counts, since)}
        if self._rejected is not None:
            for key, number in found.items():
                if (new := number - self._rejected.get(key, 0)) > 0:
                    self._kept.watch.reject(f"{key[1]}/{key[2]}", now, new)
        self._rejected = found

    async def _post(self, alerts: Sequence[Alert]) -> None:
        mistake = await asyncio.to_thread(post, self.webhook, message(alerts))
        if mistake:
            _log.error("NEXTBEST_ALERT_WEBHOOK did not take %d alerts: %s", len(alerts), mistake)


def source_of(record: Envelope) -> str:
    """Of what a record is one: its contract (or type, where it has none), where it comes from, and its channel.

    A channel says what it likes: what does not look like the name of one is not repeated.
    """
    channel = record.channel or "none"
    return f"{record.contract or record.type}/{record.source}/{channel if _NAME.fullmatch(channel) else 'other'}"


def text_of(alert: Alert) -> str:
    """An alert in a sentence."""
    meaning = _MEANING[alert.kind].format(found=alert.found, usual=alert.usual)
    return f"stream {alert.source}: {alert.kind} {'is over' if alert.is_over else 'is unusual'}: {meaning}"


def message(alerts: Iterable[Alert]) -> dict[str, object]:
    """What is posted: `text` for people, the rest for machines."""
    told = list(alerts)
    return {"alerts": told, "text": "\n".join(f"nextbest: {text_of(each)}" for each in told)}
