"""The watch over the stream: what is unusual is found within a minute, and a usual day is no alarm."""

import math
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from nextbest.stream_watch import TICK_S, Alert, Watch

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY_S, SOON_S = 86_400, 50
"""Within a minute of whatever second it begins at: a tick is ten of them."""
PER_MINUTE = {"web": 600.0, "app": 120.0, "store": 30.0, "mail": 12.0, "kiosk": 2.0}
"""Records of each source, at the mean of its day; they double, and fall to a tenth."""

Rate = Callable[[str, float], float]
"""Of a source and a second of the day, by what its records are multiplied."""


def rhythm(second: float) -> float:
    return 1.0 + 0.9 * math.sin(2.0 * math.pi * second / DAY_S)


class Simulation:
    """Seeded sources with the rhythm of a day, a flush per minute among them, and a watch that looks at each tick."""

    def __init__(self, seed: int) -> None:
        self.chance, self.watch, self.second = np.random.default_rng(seed), Watch(), 0
        self.watch.resume(self.now)
        self.next_flush = 0.0

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.second)

    def run(
        self, seconds: int, rate: Rate = lambda _source, _second: 1.0, latency_s: float = 0.2, rejects: float = 0.5
    ) -> list[tuple[int, Alert]]:
        """What is said in the next seconds, and at which of them."""
        said: list[tuple[int, Alert]] = []
        for second in range(0, seconds, TICK_S):
            for source, per_minute in PER_MINUTE.items():
                mean = per_minute / 60 * TICK_S * rhythm(self.second) * rate(source, second)
                if number := int(self.chance.poisson(mean)):
                    late_s = latency_s * math.exp(self.chance.normal(0.0, 0.5))
                    self.watch.count(source, self.now, number, latency_s=late_s)
            if self.second >= self.next_flush:
                self.watch.count("flushes", self.now, 100, latency_s=30.0)
                self.next_flush += self.chance.uniform(50.0, 70.0)
            if number := int(self.chance.poisson(rejects / 60 * TICK_S)):
                self.watch.reject("web/events", self.now, number)
            self.second += TICK_S
            said += [(second + TICK_S, alert) for alert in self.watch.advance(self.now)]
        return said


def lasting(simulation: Simulation) -> list[Alert]:
    """Nothing is unusual any more."""
    return [each for _, each in simulation.run(300) if not each.is_over]


def test_a_usual_day_is_no_alarm() -> None:
    """Six sources and a sender's rejects: fewer false alarms than one a day of them all, and on this day none."""
    assert Simulation(0).run(DAY_S) == []


@pytest.fixture(scope="module")
def three_hours() -> Simulation:
    simulation = Simulation(7)
    assert simulation.run(3 * 3_600) == []
    return simulation


@pytest.fixture
def morning(three_hours: Simulation) -> Simulation:
    """Three hours have passed, and nothing was unusual."""
    return deepcopy(three_hours)


@pytest.mark.parametrize(("source", "within_s"), [("web", SOON_S), ("app", SOON_S), ("store", 60), ("mail", 60)])
def test_a_source_that_falls_silent_is_found_within_a_minute(morning: Simulation, source: str, within_s: int) -> None:
    """It alone, once while it lasts, and once when it is over; of few a whole minute must be missed."""
    said = morning.run(1_200, lambda name, _second: float(name != source))
    assert [(each.kind, each.source, each.is_over) for _, each in said] == [("volume_low", source, False)]
    assert said[0][0] <= within_s
    over = morning.run(300)
    assert [(each.kind, each.source, each.is_over) for _, each in over] == [("volume_low", source, True)]


@pytest.mark.parametrize("source", ["web", "app", "store", "mail"])
def test_a_burst_is_found_within_a_minute(morning: Simulation, source: str) -> None:
    """Five times as much as usual."""
    said = morning.run(600, lambda name, _second: 5.0 if name == source else 1.0)
    assert [(each.kind, each.source, each.is_over) for _, each in said] == [("volume_high", source, False)]
    assert said[0][0] <= SOON_S
    assert lasting(morning) == []


def test_a_slow_source_is_heard_of_later(morning: Simulation) -> None:
    """Of two records a minute a minute says nothing, a quarter of an hour does."""
    said = morning.run(1_800, lambda name, _second: float(name != "kiosk"))
    assert [(each.kind, each.source) for _, each in said] == [("volume_low", "kiosk")]


def test_latency_that_jumps_is_found_within_a_minute(morning: Simulation) -> None:
    """Of every source that says enough to tell; the same latency as ever of a slow one is none."""
    said = morning.run(600, latency_s=60.0)
    assert {(each.kind, each.source) for second, each in said if second <= SOON_S} == {
        ("latency", source) for source in ("web", "app", "store", "mail")
    }
    assert lasting(morning) == []


def test_a_burst_of_rejects_is_found_within_a_minute(morning: Simulation) -> None:
    """Of a sender who had hardly any."""
    said = morning.run(600, rejects=120.0)
    assert [(each.kind, each.source, each.is_over) for _, each in said] == [("rejects", "web/events", False)]
    assert said[0][0] <= SOON_S
    assert [each.is_over for _, each in morning.run(300)] == [True]


def test_a_new_source_is_no_alarm(morning: Simulation) -> None:
    """Nor one that says something once in a while; its first rejects are."""
    for second in range(0, 1_200, TICK_S):
        morning.watch.count("new", morning.now, 500)
        assert morning.run(TICK_S) == [], second
    morning.watch.reject("new/events", morning.now, 50)
    assert [(each.kind, each.source) for _, each in morning.run(60)] == [("rejects", "new/events")]


def test_what_lasts_for_hours_becomes_usual(morning: Simulation) -> None:
    """It is said once, and once when it has become so; then going back is a burst."""
    said = morning.run(4 * 3_600, lambda name, _second: 0.1 if name == "web" else 1.0)
    assert [(each.kind, each.source, each.is_over) for _, each in said] == [
        ("volume_low", "web", False),
        ("volume_low", "web", True),
    ]
    assert [(each.kind, each.source) for _, each in morning.run(300)] == [("volume_high", "web")]


def test_a_break_is_no_silence(morning: Simulation) -> None:
    """A watch that is read back goes on with its past, and does not judge what it did not see; nor after hours."""
    for pause_s in (400, 12 * 3_600):
        read = msgspec.json.decode(msgspec.json.encode(morning.watch), type=Watch)
        morning.second += pause_s
        morning.watch, morning.next_flush = read, morning.second
        morning.watch.resume(morning.now)
        assert morning.run(2_400) == []


@pytest.mark.parametrize("jump", [timedelta(days=1), -timedelta(hours=1)])
def test_a_clock_that_jumps_is_no_alarm(morning: Simulation, jump: timedelta) -> None:
    """Forward a day or back an hour: the watch goes on from there, and finds what is unusual then."""
    morning.second += int(jump.total_seconds())
    morning.next_flush = morning.second
    assert morning.run(2_400) == []
    assert [each.source for _, each in morning.run(60, lambda name, _second: float(name != "web"))] == ["web"]


def test_a_lag_is_said_once() -> None:
    """And that it is over, once it is clearly so."""
    watch = Watch()
    said = [[(each.kind, each.is_over) for each in watch.lag(seconds)] for seconds in (5, 40, 50, 20, 1)]
    assert said == [[], [("lag", False)], [], [], [("lag", True)]]


def test_there_are_no_more_sources_than_can_be_watched() -> None:
    """Whatever names channels give themselves."""
    watch = Watch()
    watch.resume(START)
    for number in range(600):
        watch.count(f"source {number}", START + timedelta(seconds=TICK_S))
    assert len(watch.volume) == 501
