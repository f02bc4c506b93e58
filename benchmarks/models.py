"""Every model on data of which the truth is known, beside what anybody could predict and the library one would pick.

Run by `nextbest bench models`. Of what is simulated the truth is what it was simulated with; CDNOW's is published. A
model, its baselines and its peers see the same split. Brackets are 95 % intervals: of a bootstrap by customer, of an
estimate from its standard error, or over seeds where a row says so. Where a peer is better, the table says so too.
"""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.truths import habits, learning, lifetime, response, uplift
from benchmarks.truths.rows import Row

FAMILIES = {
    "lifetime": lifetime.measure,
    "response": response.measure,
    "learning": learning.measure,
    "uplift": uplift.measure,
    "habits": habits.measure,
}
_LIBRARIES = ("scikit-learn", "lifetimes", "econml", "onnxruntime", "numpy", "scipy")
_SEED = 7


class Report(msgspec.Struct, frozen=True):
    """The file: every figure, how long each family took, and on what."""

    rows: list[Row]
    seconds: dict[str, float]
    seed: int
    machine: dict[str, str | int | None]
    versions: dict[str, str]


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--only", type=click.Choice([*FAMILIES]), multiple=True, help="Measure this family; may be repeated.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=_SEED, show_default=True, help="Of everything that is simulated."
)
def main(report: Path | None, only: tuple[str, ...], seed: int) -> None:
    """Train and measure every model beside its peers and print the table."""
    console, rows, seconds = Console(width=180), [], {}
    for family in only or FAMILIES:
        began = time.perf_counter()
        with console.status(f"{family} …"), threadpool_limits(1):  # more threads than one only wait for one another
            found = FAMILIES[family](seed)
        seconds[family] = round(time.perf_counter() - began, 1)
        console.print(_table(family, found, seconds[family]))
        rows += found
    if report:
        machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
        versions = {name: version(name) for name in _LIBRARIES}
        report.write_bytes(msgspec.json.format(msgspec.json.encode(Report(rows, seconds, seed, machine, versions))))


def _table(family: str, rows: list[Row], seconds: float) -> Table:
    table = Table("model", "data", "measure", "better", "system", "value", "95 %", "s", title=f"{family}, {seconds} s")
    last: tuple[str, ...] = ()
    places = {subject: place for place, subject in enumerate(dict.fromkeys(map(_subject, rows)))}
    for row in sorted(rows, key=lambda each: places[_subject(each)]):
        subject = _subject(row)
        if subject != last:
            table.add_section()
        shown = ("",) * len(subject) if subject == last else subject
        interval = "" if row.low is None or row.high is None else f"[{row.low:.4g}, {row.high:.4g}]"
        system = f"[bold]{row.system}[/bold]" if row.role == "nextbest" else f"{row.system} ({row.role})"
        table.add_row(*shown, system, f"{row.value:.4g}", interval, "" if row.seconds is None else f"{row.seconds:.2g}")
        last = subject
    return table


def _subject(row: Row) -> tuple[str, ...]:
    return row.model, row.data, row.measure, row.is_better


if __name__ == "__main__":
    main(prog_name="nextbest bench models")
