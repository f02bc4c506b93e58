"""What a contract promises of a delivery as a whole: that it is fresh, as large as usual, and distributed as before.

Belongs here: choosing the rows that are compared and saying the verdict. Does not belong here: the arithmetic
(`nextbest.drift`, `nextbest.volume`), or Dagster's checks (`orchestration.defs.quality`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from nextbest.contracts import Contract, Field, Freshness, Tolerance
from nextbest.drift import LEAST_ROWS, Profile, counts, profile, stability_index
from nextbest.volume import deviation, last_day
from orchestration.pictures import shares
from orchestration.profiles import Delivered, last_different

Monitor = Literal["freshness", "volume", "drift"]

CURRENT_DAYS: Final = 28
REFERENCE_DAYS: Final = 84
_KINDS: Final = {"integer", "number", "string", "boolean"}
_IDENTIFY: Final = {"pii", "pseudonymous"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the promise is kept, in words, and the rows of a table that shows why."""

    passed: bool
    said: str
    table: Sequence[Mapping[str, Any]] = ()
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Landed:
    """What is judged at a moment.

    `rows` holds, in the columns of `monitored_columns`, what others than the event log delivered: what the log receives
    has no usual day. `logged` holds what it received, which is as fresh as it is. `landed_at` is when the last delivery
    came, `version` names the deliveries, and `history` is where a snapshot's last two are kept.
    """

    rows: pa.Table
    landed_at: datetime | None
    version: str
    history: Path
    logged: pa.Table | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def promised_monitors(contract: Contract) -> list[Monitor]:
    """The monitors the contract declares."""
    declared: list[tuple[Monitor, object]] = [
        ("freshness", contract.freshness),
        ("volume", contract.volume),
        ("drift", contract.drift),
    ]
    return [name for name, promise in declared if promise]


def monitored_columns(contract: Contract) -> list[str]:
    """The columns that the contract's monitors look at."""
    names = [contract.event_time, contract.freshness and contract.freshness.column]
    names += [each.name for each in _drifting(contract)] if contract.drift else []
    return list(dict.fromkeys(name for name in names if name))


def judge(contract: Contract, monitor: str, landed: Landed) -> Verdict:
    """What one of the contract's monitors finds.

    Raises:
        ValueError: the contract declares no such monitor.

    """
    if monitor == "freshness" and contract.freshness:
        return _freshness(contract.freshness, landed)
    if monitor == "volume" and contract.volume:
        return _volume(contract, contract.volume, landed)
    if monitor == "drift" and contract.drift:
        return _drift(contract, contract.drift, landed)
    raise ValueError(f"contract {contract.name} declares no {monitor}")


def _freshness(promise: Freshness, landed: Landed) -> Verdict:
    """Counted in days of the calendar (UTC), so that all runs of a day say the same."""
    what = f"newest {promise.column}" if promise.column else "last delivery"
    tables = [landed.rows, *([] if landed.logged is None else [landed.logged])]
    moments = [_newest(each, promise.column, landed.now) for each in tables] if promise.column else [landed.landed_at]
    newest = max(filter(None, moments), default=None)
    if newest is None:
        return Verdict(passed=True, said="nothing has landed yet, so nothing is old")
    age = (landed.now.date() - newest.date()).days
    limit = f"the limit is {promise.days}"
    return Verdict(age <= promise.days, f"{what}: {newest:%Y-%m-%d %H:%M} UTC, {age} days ago; {limit}")


def _volume(contract: Contract, promise: Tolerance, landed: Landed) -> Verdict:
    if not contract.event_time:
        before = last_different(landed.history, landed.version, lambda: _delivered(contract, landed))
        if before is None or not before.rows:
            return Verdict(passed=True, said="too little history: there is no other delivery to compare with")
        found, subject, usual = landed.rows.num_rows, "rows", f"{before.rows:,} in the delivery before"
        share = deviation(found, before.rows)
    else:
        day = last_day(_rows_by_day(landed, contract.event_time))
        if day is None:
            return Verdict(passed=True, said="too little history: a weekday is compared with four or more before it")
        found, subject, share = day.rows, f"rows of {day.day:%A %Y-%m-%d}", day.deviation
        usual = f"a median of {day.usual:,.0f} on that weekday in the {day.weeks} weeks before"
    said = f"{found:,} {subject}, {share:+.1%} against {usual}; the limit is {promise.limit:.0%}"
    return Verdict(abs(share) <= promise.limit, said)


def _drift(contract: Contract, promise: Tolerance, landed: Landed) -> Verdict:
    compared = _windows(contract, landed) if contract.event_time else _deliveries(contract, landed)
    if isinstance(compared, str):
        return Verdict(passed=True, said=f"too little history: {compared}")
    table: list[dict[str, Any]] = []
    worst: tuple[float, str, tuple[int, ...], tuple[int, ...]] = (0.0, "", (), ())
    for name, reference, current in compared:
        index = stability_index(reference.counts, current)
        table.append({"column": name, "PSI": round(index, 4), "verdict": _word(index, promise.limit)})
        worst = max(worst, (index, name, reference.counts, current))
    if not table:
        return Verdict(passed=True, said="no column has a distribution to compare")
    moved = [f"{row['column']}: PSI {row['PSI']:.2f}" for row in table if row["verdict"] == "drifted"]
    index, name, was, now = worst
    said = "; ".join(moved) or f"at most PSI {index:.3f} ({name}) in {len(table)} columns"
    # Matplotlib takes half a second to import: a picture is for who has to look.
    picture = shares(name, was, now) if moved else ""
    return Verdict(not moved, f"{said}; the limit is {promise.limit:g}", table, picture)


def _word(index: float, limit: float) -> str:
    return "drifted" if index > limit else "as before"


Compared = Iterator[tuple[str, Profile, tuple[int, ...]]]


def _windows(contract: Contract, landed: Landed) -> Compared | str:
    """The last four weeks of events against the twelve before."""
    name = str(contract.event_time)
    newest, oldest = _newest(landed.rows, name, landed.now), pc.min(landed.rows[name]).as_py()
    days = CURRENT_DAYS + REFERENCE_DAYS
    if newest is None or oldest.date() > (newest - timedelta(days=days)).date():
        return f"{days} days are compared"
    bounds = [newest - timedelta(days=back) for back in (days, CURRENT_DAYS, 0)]
    before, after = (_between(landed.rows, name, *span) for span in pairwise(bounds))
    if min(before.num_rows, after.num_rows) < LEAST_ROWS:
        return f"{LEAST_ROWS} rows or more are compared, and there are {before.num_rows:,} and {after.num_rows:,}"
    known = ((each.name, profile(before[each.name])) for each in _drifting(contract))
    return ((name, each, counts(each, after[name])) for name, each in known if each)


def _deliveries(contract: Contract, landed: Landed) -> Compared | str:
    """A snapshot against the delivery before."""
    before = last_different(landed.history, landed.version, lambda: _delivered(contract, landed))
    if before is None:
        return "there is no other delivery to compare with"
    if min(before.rows, landed.rows.num_rows) < LEAST_ROWS:
        return f"{LEAST_ROWS} rows or more are compared"
    names = [each.name for each in _drifting(contract) if each.name in before.columns]
    return ((name, before.columns[name], counts(before.columns[name], landed.rows[name])) for name in names)


def _delivered(contract: Contract, landed: Landed) -> Delivered:
    names = [each.name for each in _drifting(contract) if each.name in landed.rows.column_names]
    profiles = {name: profile(landed.rows[name]) for name in names}
    return Delivered(
        landed.version, landed.rows.num_rows, {name: each for name, each in profiles.items() if each is not None}
    )


def _drifting(contract: Contract) -> list[Field]:
    """What has a distribution: no key, no reference, no time; and nothing that identifies a person is kept."""
    return [
        each
        for each in contract.fields
        if each.type in _KINDS and not (each.key or each.reference or each.classification in _IDENTIFY)
    ]


def _newest(rows: pa.Table, column: str, now: datetime) -> datetime | None:
    """The newest time up to now: one mistyped year would keep everything fresh for ever."""
    times = rows[column]
    newest: datetime | None = pc.max(times.filter(pc.less_equal(times, pa.scalar(now, times.type)))).as_py()
    return newest


def _between(rows: pa.Table, column: str, after: datetime, until: datetime) -> pa.Table:
    times = rows[column]
    bounds = [pa.scalar(each, times.type) for each in (after, until)]
    return rows.filter(pc.and_(pc.greater(times, bounds[0]), pc.less_equal(times, bounds[1])))


def _rows_by_day(landed: Landed, column: str) -> dict[date, int]:
    days = pc.value_counts(pc.cast(landed.rows[column], pa.date32())).to_pylist()
    return {each["values"]: each["counts"] for each in days if each["values"] <= landed.now.date()}
