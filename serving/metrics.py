"""What a server counts, for Prometheus: every replica keeps its own tally, and whichever is asked adds them all up.

Belongs here: counting, the tally's file in the home, and the exposition. Does not belong here: when to count, or HTTP.

A replica writes its tally to a file every second. The file outlives it, so that no count falls when a replica is
replaced; `nextbest serve` starts with none.
"""

import asyncio
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from nextbest.adapters.files import write_whole
from nextbest.records import DecisionRecord
from nextbest.wire import Verdict

_EVERY_S = 1.0
_GONE_S = 10.0
_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_Labels = tuple[str, ...]

METRICS: dict[str, tuple[str, _Labels]] = {
    "nextbest_requests": ("Requests by operation of the API and status.", ("operation", "status")),
    "nextbest_request_seconds": ("Time from having a request to having its answer.", ("operation",)),
    "nextbest_decisions": ("Decisions by mode and tier.", ("mode", "tier")),
    "nextbest_degraded": ("Decisions that are less than they could have been, by the first reason.", ("reason",)),
    "nextbest_slots": (
        "Slots filled, by placement, action, side in experiments, and tier.",
        ("placement", "action", "arm", "tier"),
    ),
    "nextbest_events": (
        "Rows that were sent, by API key, contract and what became of them.",
        ("sender", "contract", "status"),
    ),
    "nextbest_rejects": ("Those that were rejected, by the rule they break.", ("sender", "contract", "rule")),
    "nextbest_cap_rejections": ("Candidates that a contact rule kept out, by rule.", ("rule",)),
    "nextbest_stage_seconds": ("Time of a decision's stages.", ("stage",)),
    "nextbest_log_lag_records": ("Records of the event log that State does not have yet.", ()),
    "nextbest_log_oldest_unprocessed_seconds": ("How long the oldest of them has been waiting.", ()),
    "nextbest_log_skipped": ("Records that could not be brought into State, by type.", ("type",)),
    "nextbest_stream_alerts": (
        "Alerts about the stream of events, by what is unusual and of what.",
        ("kind", "source"),
    ),
    "nextbest_in_use": (
        "Replicas, by policy, model set and code in use.",
        ("policy", "model_set", "code"),
    ),
}
"""Every metric with what it means and its labels; a counter's name ends in `_total` when it is scraped."""
_HISTOGRAMS = ("nextbest_request_seconds", "nextbest_stage_seconds")
_IN_USE = "nextbest_in_use"
_GAUGES = ("nextbest_log_lag_records", "nextbest_log_oldest_unprocessed_seconds")


class Tally(msgspec.Struct, kw_only=True):
    """What one replica, or all of them, have counted: rows of labels and numbers by metric."""

    counts: dict[str, list[tuple[_Labels, int]]] = {}
    times: dict[str, list[tuple[_Labels, tuple[int, ...], float]]] = {}
    """Per histogram and labels, how many are in each bucket (the last is without a bound), and the sum in seconds."""
    in_use: _Labels | None = None
    gauges: dict[str, float] = {}
    """What is so now, where the process knows it."""


_decode = msgspec.json.Decoder(Tally).decode


class Meter:
    """Counts for one replica, as cheaply as can be: what is added up can wait for the next second."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}.json"
        self._counts: defaultdict[str, Counter[_Labels]] = defaultdict(Counter)
        self._waiting: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._times: dict[tuple[str, str], tuple[np.ndarray[Any, Any], float]] = {}
        self.in_use: Callable[[], _Labels | None] = _nothing
        """What the replica decides with: policy, model set and code."""
        self.gauges: dict[str, float] = {}
        """By metric, what is so now."""

    def count(self, metric: str, *labels: str) -> None:
        """One more of a metric."""
        self._counts[metric][labels] += 1

    def note(self, record: DecisionRecord) -> None:
        """One more decision was made."""
        counts, tier = self._counts, record.tier
        counts["nextbest_decisions"][record.mode, tier] += 1
        if record.degraded:
            counts["nextbest_degraded"][record.degraded[:1]] += 1
        arm = ";".join([f"{each.experiment}={each.arm}" for each in record.arms])
        slots = counts["nextbest_slots"]
        for placement in record.placements:
            for slot in placement.slots:
                slots[placement.id, slot.action, arm, tier] += 1
        for each in record.candidates:
            if each.stage == "contact_policy" and each.reason:
                counts["nextbest_cap_rejections"][(each.reason.partition(":")[0],)] += 1
        for stage, took_us in record.stage_us.items():
            self._waiting["nextbest_stage_seconds", stage].append(took_us / 1e6)

    def took(self, sender: str, results: Iterable[tuple[str, Verdict]]) -> None:
        """A batch was taken in; each row's contract comes with what became of it."""
        counts = self._counts
        for (contract, status, rule), rows in Counter((name, v.status, v.rule) for name, v in results).items():
            counts["nextbest_events"][sender, contract, status] += rows
            if status == "rejected":
                counts["nextbest_rejects"][sender, contract, rule] += rows

    def answered(self, operation: str, status: int, took_s: float) -> None:
        """One more request was answered."""
        self._counts["nextbest_requests"][operation, str(status)] += 1
        self._waiting["nextbest_request_seconds", operation].append(took_s)

    def tally(self) -> Tally:
        """Everything counted so far."""
        for key, took in self._waiting.items():
            if took:
                self._add(key, np.array(took))
                took.clear()
        times: defaultdict[str, list[tuple[_Labels, tuple[int, ...], float]]] = defaultdict(list)
        for (metric, label), (buckets, total) in self._times.items():
            times[metric].append(((label,), tuple(buckets.tolist()), total))
        counts = {metric: list(counted.items()) for metric, counted in self._counts.items()}
        return Tally(counts=counts, times=dict(times), in_use=self.in_use(), gauges=self.gauges)

    def write(self) -> None:
        """Put the tally where other replicas find it."""
        write_whole(self._path, msgspec.json.encode(self.tally()), durable=False)

    async def keep_writing(self) -> None:
        """Write every second, until cancelled; a disk that is full is no reason to stop deciding."""
        while True:
            with suppress(OSError):
                self.write()
            await asyncio.sleep(_EVERY_S)

    def exposition(self) -> bytes:
        """The metrics of all replicas in Prometheus' text format."""
        others = [_read(path) for path in self._path.parent.glob("*.json") if path != self._path]
        registry = CollectorRegistry()
        registry.register(_Collector([self.tally(), *others]))
        return generate_latest(registry)

    def retire(self) -> None:
        """Write for the last time: what was counted stays, and nothing is in use here any more."""
        self.in_use, self.gauges = _nothing, {}
        self.write()

    def _add(self, key: tuple[str, str], took: "np.ndarray[Any, Any]") -> None:
        places = np.searchsorted(_BUCKETS_S, took)
        added = np.bincount(places, minlength=len(_BUCKETS_S) + 1)
        buckets, total = self._times.get(key, (0, 0.0))
        self._times[key] = (buckets + added, total + float(took.sum()))


def _nothing() -> None:
    return None


def _read(path: Path) -> Tally:
    """The tally of another process; of one that does not write any more nothing is so now."""
    try:
        found, age_s = _decode(path.read_bytes()), time.time() - path.stat().st_mtime
    except (OSError, msgspec.DecodeError):
        return Tally()  # it was removed, or is of another version
    return found if age_s < _GONE_S else msgspec.structs.replace(found, in_use=None, gauges={})


class _Collector(Collector):
    """Adds tallies up."""

    def __init__(self, tallies: Iterable[Tally]) -> None:
        self._tallies = list(tallies)

    def collect(self) -> Iterator[Metric]:
        for name, (meaning, labels) in METRICS.items():
            if name == _IN_USE:
                yield self._in_use(name, meaning, labels)
            elif name in _GAUGES:
                yield self._gauge(name, meaning)
            elif name in _HISTOGRAMS:
                yield self._histogram(name, meaning, labels)
            else:
                yield self._counter(name, meaning, labels)

    def _counter(self, name: str, meaning: str, labels: _Labels) -> Metric:
        family, counted = CounterMetricFamily(name, meaning, labels=labels), Counter[_Labels]()
        for tally in self._tallies:
            counted.update(dict(tally.counts.get(name, [])))
        for values, count in sorted(counted.items()):
            family.add_metric(values, count)
        return family

    def _histogram(self, name: str, meaning: str, labels: _Labels) -> Metric:
        family, bounds = HistogramMetricFamily(name, meaning, labels=labels), [*map(str, _BUCKETS_S), "+Inf"]
        found: dict[_Labels, tuple[Any, float]] = {}
        for tally in self._tallies:
            for values, buckets, total in tally.times.get(name, []):
                so_far, sum_s = found.get(values, (0, 0.0))
                found[values] = (so_far + np.array(buckets), sum_s + total)
        for values, (buckets, sum_s) in sorted(found.items()):
            family.add_metric(values, list(zip(bounds, np.cumsum(buckets).tolist(), strict=True)), sum_s)
        return family

    def _gauge(self, name: str, meaning: str) -> Metric:
        """What the worst of them knows; nothing where nobody does."""
        family = GaugeMetricFamily(name, meaning, labels=())
        if known := [tally.gauges[name] for tally in self._tallies if name in tally.gauges]:
            family.add_metric((), max(known))
        return family

    def _in_use(self, name: str, meaning: str, labels: _Labels) -> Metric:
        family = GaugeMetricFamily(name, meaning, labels=labels)
        for values, count in sorted(Counter(each.in_use for each in self._tallies if each.in_use).items()):
            family.add_metric(values, count)
        return family
