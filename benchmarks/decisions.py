"""Decisions over HTTP: nextbest with everything on, beside the glue one would write instead, and beside an echo.

Run by `nextbest bench decisions`. One after the other on the same machine, each with the same load (wrk, the same
customers and bodies), the same number of replicas (`NEXTBEST_REPLICAS`) and, but for `glue`, the same HAProxy:

- `echo`: the limit, an API that decides nothing (`peers/echo.py`);
- `glue`, `glue_haproxy`: FastAPI, Feast's SDK, an MLflow pyfunc and Redis, by the book (`peers/glue.py`), behind Ray's
  own proxy, which is the default, and behind HAProxy;
- `nextbest_redis`, `nextbest_sqlite`: `nextbest serve` with the policy of this repository: consents, three tiers of
  rules, caps with reservation, sixty features a customer, ONNX models, exploration and a log that a decision waits for.
"""

import os
import signal
import tempfile
from collections import defaultdict
from pathlib import Path

import click
import httpx
import msgspec
from rich.console import Console

from benchmarks.peers import answers, figures, flame, homes
from benchmarks.peers.answers import Answers
from benchmarks.peers.customers import CUSTOMERS
from benchmarks.peers.figures import Measured, Report
from benchmarks.peers.load import Cell, Load, find_wrk
from benchmarks.peers.systems import Running, System, running

NAMES = ("echo", "glue", "glue_haproxy", "nextbest_redis", "nextbest_sqlite")
CONNECTIONS = (1, 8, 32)
FLAMED, FLAMED_CONNECTIONS = "nextbest_redis", 8
WARM_S, SETTLE_S = 3, 1
console = Console()


@click.command()
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option(
    "--seconds", type=click.IntRange(1, 60), default=5, show_default=True, help="How long a cell is measured."
)
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only this system; may be repeated.")
@click.option(
    "--flame",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Write an SVG of where the time of {FLAMED} goes.",
)
def main(target: Path | None, seconds: int, only: tuple[str, ...], picture: Path | None) -> None:
    """Measure every system and print tables."""
    find_wrk()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends what it has started
    busy = os.getloadavg()[0]
    measured: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as folder:
        chosen = [each for each in homes.systems(Path(folder).resolve()) if not only or each.name in only]
        for system in chosen:
            console.print(f"{system.name} …", style="dim")
            measured[system.name] = measure(system, seconds, picture if system.name == FLAMED else None)
        replicas = chosen[0].settings.replicas
    found = figures.report(measured, replicas, seconds, CUSTOMERS, busy)
    show(found)
    if target:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def measure(system: System, seconds: int, picture: Path | None) -> Measured:
    """Start the system, warm it, measure every number of connections, ask it about itself, and end it.

    Raises:
        click.ClickException: it does not start, or answers with an error.

    """
    with running(system) as (run, headers):
        load = Load(system.url, headers)
        try:
            answers.first(load)
        except httpx.HTTPError as error:
            raise click.ClickException(f"{system.name} does not answer: {error}\n{run.log_tail()}") from error
        load.run(CONNECTIONS[1], WARM_S, 0)
        cells, cpu_ms = measure_cells(load, run, seconds)
        said: dict[str, Answers] = {}
        if system.says_stages:
            said = {"alone": answers.alone(load)}
            said |= {f"beside {count} connections": answers.beside(load, count) for count in CONNECTIONS[1:]}
        if picture:
            flame.draw(load, FLAMED_CONNECTIONS, run.replica("decisions").pid, picture.resolve())
    return Measured(cells, cpu_ms, said)


def measure_cells(load: Load, run: Running, seconds: int) -> tuple[dict[str, Cell], dict[str, float]]:
    """The cells by number of connections, and milliseconds on a processor per request by process, over all cells."""
    cells: dict[str, Cell] = {}
    spent: defaultdict[str, float] = defaultdict(float)
    requests = 0
    for connections in CONNECTIONS:
        load.run(connections, SETTLE_S, 10 + connections)
        before = run.cpu_s()
        cells[f"c{connections}"], answered = load.run(connections, seconds, 100 + connections)
        for process, total in run.cpu_s().items():
            spent[process] += total - before.get(process, 0.0)
        requests += answered
    return cells, {process: round(1_000 * each / max(requests, 1), 4) for process, each in spent.items()}


def show(found: Report) -> None:
    """Tables, verdicts, and what is wrong with the run."""
    console.print(figures.timings(found))
    console.print(figures.costs(found))
    if found.answers:
        console.print(figures.stages(found))
    for line in figures.verdicts(found):
        console.print(line)
    for line in figures.warnings(found):
        console.print(line, style="bold red")


if __name__ == "__main__":
    main(prog_name="nextbest bench decisions")
