"""Whether the stream of events is as it was: volume, latency and rejects of each source against its own past.

Belongs here: what is counted, and by which rule a minute is unusual. Does not belong here: reading the log or the
clock, or telling somebody (`serving.stream_monitor`).

The last minute, looked at every ten seconds, is compared with the minutes before it: it must be improbable (under
Poisson's law, or a wider one where the past varies more), far off (a factor, so that a day's rhythm is none), and
beyond everything of that past. Where a minute holds too little to say anything, a quarter of an hour may. A source that
is new has no past, and so is never unusual.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Literal

import msgspec

TICK_S = 10
_WINDOW = 6  # ticks: a minute
_PAST, _ENOUGH = 45, 30
_QUARTER, _QUARTERS, _ENOUGH_QUARTERS = 15, 8, 6
_KEPT = _QUARTER * (_QUARTERS + 1)
_UNLIKELY = 5.0
"""Standard deviations: of what happens ten thousand times a day nothing must look unusual by chance."""
_FEW, _PLENTY = 5.0, 15.0
"""Below the one a usual minute says nothing about an unusual one, from the other on it says all."""
_HIGH, _LOW, _OVER = 3.0, 0.4, 2.0
_FARTHER = 1.6
"""By how much a quarter of an hour must be farther off: it is compared with hours, in which a day goes on."""
_LATER, _LATE_S, _TIMED = 2.0, 1.0, 10
"""Latency is unusual when it is four times (2² times) what it was, a second at least, and of ten events or more."""
_REJECTS = 20
_LAG_S = 30.0
_LEARNS_AFTER = 120
"""Minutes after which what is unusual is taken for the new usual."""
_BLIND = 180
"""Ticks that nobody watched, after which the past is of another time of day."""
_MOST_SOURCES = 500
_OTHERS = "others"

Kind = Literal["volume_high", "volume_low", "latency", "rejects", "lag"]


class Alert(msgspec.Struct, frozen=True):
    """Something of a source is unusual, or is over.

    Attributes:
        kind: volume (records per minute or quarter of an hour), latency or lag (seconds), rejects (per minute).
        source: Of which source; of a lag, the log.
        found: What it is.
        usual: What it was before.
        is_over: Whether it is as it was again.

    """

    kind: Kind
    source: str
    found: float
    usual: float
    is_over: bool = False


class Amount(msgspec.Struct):
    """What came in a while. Latencies are kept as the sum of their base-2 logarithms, of seconds."""

    count: int = 0
    timed: int = 0
    log_latency: float = 0.0
    low: int = 0
    high: int = 0
    """The least and the most of the minutes that ended in this one, at any tick."""

    def add(self, other: "Amount") -> None:
        self.count += other.count
        self.timed += other.timed
        self.log_latency += other.log_latency


class Stream(msgspec.Struct):
    """What is known of one source."""

    ticks: dict[int, Amount] = {}
    recent: list[int] = []
    """Counts of the last minutes, whatever they were."""
    past: list[Amount] = []
    """Minutes that were usual."""
    low: int | None = None
    high: int = 0
    unusual: dict[Kind, int] = {}
    """What lasts, and for how many minutes."""


class Watch(msgspec.Struct):
    """Counts, and judges every ten seconds. It can be written and read back (msgspec) over a restart."""

    volume: dict[str, Stream] = {}
    rejected: dict[str, Stream] = {}
    minutes: int = 0
    """How long rejects have been watched: a source without any has a past of none."""
    until: int = 0
    since: int = 0
    """The first tick of which everything is counted."""
    is_lagging: bool = False

    def resume(self, now: datetime) -> None:
        """Begin, or go on after a break: what came meanwhile was not counted."""
        tick = _tick(now)
        if tick - self.until > _BLIND:
            self.volume, self.rejected, self.minutes, self.is_lagging = {}, {}, 0, False
        for stream in (*self.volume.values(), *self.rejected.values()):
            stream.ticks, stream.low, stream.high = {}, None, 0
        self.until, self.since = tick, tick + 1

    def count(self, source: str, at: datetime, number: int = 1, latency_s: float | None = None) -> None:
        """Some records of a source were received at a moment, each so long after it occurred."""
        amount = Amount(number)
        if latency_s is not None:
            amount.timed, amount.log_latency = number, number * math.log2(max(latency_s, 0.001))
        _add(self.volume, source, _tick(at), amount, self.until)

    def reject(self, source: str, at: datetime, number: int) -> None:
        """Some rows of a source were rejected at a moment."""
        _add(self.rejected, source, _tick(at), Amount(number), self.until)

    def advance(self, now: datetime) -> list[Alert]:
        """Judge every tick that is over by `now`: all that was received by then has been counted."""
        found: list[Alert] = []
        if not -_WINDOW <= _tick(now) - self.until <= _BLIND:  # the clock jumped, or nobody looked for long
            self.resume(now)
        for tick in range(self.until + 1, _tick(now)):
            self.until = tick
            if tick - self.since >= _WINDOW - 1:
                found += self._judge(tick)
        return found

    def lag(self, seconds: float) -> list[Alert]:
        """So long the oldest record waits that State does not have."""
        was, self.is_lagging = self.is_lagging, seconds > (_LAG_S / _OVER if self.is_lagging else _LAG_S)
        return [Alert("lag", "log", seconds, 0.0, is_over=was)] if was != self.is_lagging else []

    def _judge(self, tick: int) -> Iterator[Alert]:
        is_minute = tick % _WINDOW == _WINDOW - 1
        self.minutes += is_minute
        for source, stream in list(self.volume.items()):
            window = _window(stream, tick)
            yield from _changed(stream, source, _volume(stream, window, is_minute=is_minute))
            yield from _changed(stream, source, _latency(stream, window))
            if is_minute:
                _keep(stream, window)
                if not stream.unusual and len(stream.past) == _KEPT and not any(each.count for each in stream.past):
                    del self.volume[source]  # it is silent for good
        for source, stream in list(self.rejected.items()):
            window = _window(stream, tick)
            yield from _changed(stream, source, _rejects(stream, window, self.minutes))
            if is_minute:
                _keep(stream, window)
                if not stream.unusual and not any(each.count for each in stream.past):
                    del self.rejected[source]


_Verdict = tuple[Kind, float, float, bool | None]
_Verdicts = Iterator[_Verdict]
"""Kind, what is found, what is usual, and whether that is unusual; none where it is neither that nor over."""


def _tick(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() // TICK_S)


def _add(streams: dict[str, Stream], source: str, tick: int, amount: Amount, until: int) -> None:
    if tick <= until:
        return  # it was judged without
    if source not in streams and len(streams) >= _MOST_SOURCES:
        source = _OTHERS
    streams.setdefault(source, Stream()).ticks.setdefault(tick, Amount()).add(amount)


def _window(stream: Stream, tick: int) -> Amount:
    """The minute that ends with `tick`; what came before it is let go of."""
    total = Amount()
    for each in list(stream.ticks):
        if each <= tick - _WINDOW:
            del stream.ticks[each]
        elif each <= tick:
            total.add(stream.ticks[each])
    stream.low = total.count if stream.low is None else min(stream.low, total.count)
    stream.high = max(stream.high, total.count)
    return total


def _keep(stream: Stream, minute: Amount) -> None:
    """A minute is over: where it was unusual it is no past, unless that has become usual."""
    minute.low, minute.high = stream.low or 0, stream.high
    stream.low, stream.high = None, 0
    stream.recent = [*stream.recent, minute.count][-_QUARTER:]
    stream.unusual = {kind: minutes + 1 for kind, minutes in stream.unusual.items()}
    if all(minutes > _LEARNS_AFTER for minutes in stream.unusual.values()):
        stream.past = [*stream.past, minute][-_KEPT:]


def _changed(stream: Stream, source: str, verdicts: _Verdicts) -> Iterator[Alert]:
    """What has become unusual, and what is over; what lasts was said already."""
    for kind, found, usual, is_unusual in verdicts:
        if is_unusual and kind not in stream.unusual:
            stream.unusual[kind] = 0
            yield Alert(kind, source, found, usual)
        elif is_unusual is False and stream.unusual.pop(kind, None) is not None:
            yield Alert(kind, source, found, usual, is_over=True)


def _volume(stream: Stream, window: Amount, *, is_minute: bool) -> _Verdicts:
    minutes = stream.past[-_PAST:]
    usual = median(each.count for each in minutes) if len(minutes) >= _ENOUGH else 0.0
    by_minute: list[_Verdict] = []
    if usual >= _FEW:
        bounds = min(each.low for each in minutes), max(each.high for each in minutes)
        by_minute = list(_against([each.count for each in minutes], bounds, window.count))
    if usual >= _PLENTY:
        yield from by_minute
        return
    found = [each for each in by_minute if each[-1]]
    yield from found
    if is_minute and len(stream.recent) == _QUARTER:
        yield from (each for each in _by_quarter(stream) if each[0] not in {kind for kind, *_ in found})


def _by_quarter(stream: Stream) -> _Verdicts:
    older = stream.past[:-_QUARTER]
    ends = range(len(older), _QUARTER - 1, -_QUARTER)
    past = [sum(each.count for each in older[end - _QUARTER : end]) for end in ends][:_QUARTERS]
    if len(past) >= _ENOUGH_QUARTERS and median(past) >= _FEW:
        yield from _against(past, (min(past), max(past)), sum(stream.recent), _FARTHER)


def _against(past: Sequence[int], bounds: tuple[int, int], found: int, farther: float = 1.0) -> _Verdicts:
    usual = median(past)
    far = _deviation(past, found)
    is_low = far < -_UNLIKELY and found < _LOW / farther * usual and found < bounds[0]
    is_high = far > _UNLIKELY and found > _HIGH * farther * usual and found > bounds[1]
    yield "volume_low", found, usual, is_low or (False if found > usual / _OVER else None)
    yield "volume_high", found, usual, is_high or (False if found < usual * _OVER else None)


def _deviation(past: Sequence[int], found: int) -> float:
    """How far `found` is from the past, in standard deviations: the signed root of its deviance under Poisson's law.

    A past that varies more than that law says makes a standard deviation larger: by how much, its middle half says.
    """
    usual = max(median(past), 0.5)
    spread = 1.4826 * median(abs(_deviance(each, usual)) for each in past)
    return _deviance(found, usual) / max(1.0, spread)


def _deviance(count: int, mean: float) -> float:
    gain = count * math.log(count / mean) if count else 0.0
    return math.copysign(math.sqrt(max(2.0 * (gain - count + mean), 0.0)), count - mean)


def _latency(stream: Stream, window: Amount) -> _Verdicts:
    past = [each.log_latency / each.timed for each in stream.past[-_PAST:] if each.timed]
    if len(past) < _ENOUGH or window.timed < _TIMED:
        return
    usual, found = median(past), window.log_latency / window.timed
    spread = 1.4826 * median(abs(each - usual) for each in past)
    is_late = found - usual > max(_LATER, _UNLIKELY * spread) and 2.0**found >= _LATE_S and found > max(past)
    yield "latency", 2.0**found, 2.0**usual, is_late or (False if found - usual < _LATER / _OVER else None)


def _rejects(stream: Stream, window: Amount, minutes: int) -> _Verdicts:
    past = [each.count for each in stream.past[-_PAST:]]
    past += [0] * (min(minutes, _PAST) - len(past))
    if len(past) < _ENOUGH:
        return
    usual, found = median(past), window.count
    is_high = found >= _REJECTS and found > _HIGH * usual and _deviation(past, found) > _UNLIKELY and found > max(past)
    yield "rejects", found, usual, is_high or (False if found < max(_OVER * usual, _REJECTS / _OVER) else None)
