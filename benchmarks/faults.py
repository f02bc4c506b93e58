"""Faults under load: what is lost, doubled or granted too often when parts of an installation fail. Nothing may be.

Run by `nextbest bench faults`. On both backends, one fault after the other strikes a running installation while
decisions and events come at half of what it can take. Afterwards the log and State are read and compared with what
was acknowledged: every event in the log once and in State once, every decision logged once and as it was answered, no
cap exceeded, and State the same as one made anew from the log.
"""

import logging
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.peers import customers
from benchmarks.peers.homes import prepare_nextbest
from benchmarks.trials.audit import Auditor, Findings
from benchmarks.trials.capacity import Capacity, capacity
from benchmarks.trials.faults import FAULTS, Fault, wait_until_whole
from benchmarks.trials.installation import BACKENDS, Installation, installed
from benchmarks.trials.traffic import BATCH, Traffic

PLACEMENTS = ("home_banner", "email_hero")
CUSTOMERS = 500
SHARE = 0.5
LEAD_S = 2.0
MINUTE = 60.0
SETTLE_S = 60.0
console = Console(width=None if sys.stdout.isatty() else 180)


class Report(msgspec.Struct, kw_only=True):
    """What `--json` writes."""

    seconds: float
    capacity: dict[str, Capacity] = {}
    faults: dict[str, dict[str, Findings]] = {}


@click.command()
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=8.0, show_default=True, help="How long a fault lasts."
)
@click.option("--only", multiple=True, type=click.Choice([each.name for each in FAULTS]), help="Only this fault.")
@click.option("--backend", "backends", multiple=True, type=click.Choice(BACKENDS), help="Only on this one.")
def main(target: Path | None, seconds: float, only: tuple[str, ...], backends: tuple[str, ...]) -> None:
    """Strike with every fault and print what came of it; exits with 1 when anything is wrong."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends what it has started
    logging.getLogger("nextbest").setLevel(logging.ERROR)  # that poison has no effect is what is looked for
    report = Report(seconds=seconds)
    for backend in backends or BACKENDS:
        report.faults[backend] = {}
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nextbest-bench-"))
            home = Path(folder).resolve() / "home"
            installation = stack.enter_context(installed(backend, home, prepare_nextbest))
            report.capacity[backend] = found = capacity(installation, customers.ids()[:CUSTOMERS], PLACEMENTS)
            console.print(f"{backend}: {found.said}")
            auditor = stack.enter_context(closing(Auditor(installation.settings)))
            for fault in FAULTS:
                if backend in fault.backends and (not only or fault.name in only):
                    console.print(f"{backend}: {fault.says} …", style="dim")
                    report.faults[backend][fault.name] = trial(installation, auditor, fault, found, seconds)
                    _write(report, target)
        console.print(table(backend, report.faults[backend]))
    if not all(each.is_clean for found in report.faults.values() for each in found.values()):
        raise click.ClickException("not everything that was acknowledged is there once: see the table")


def _write(report: Report, target: Path | None) -> None:
    """What is known so far, should what comes next fail."""
    if target:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def trial(installation: Installation, auditor: Auditor, fault: Fault, found: Capacity, seconds: float) -> Findings:
    """Let one fault strike amid traffic, wait until it is over, and look at what is there."""
    auditor.begin()
    traffic = Traffic(
        url=installation.url,
        key=installation.key,
        customers=customers.ids()[:CUSTOMERS],
        placements=PLACEMENTS,
        decisions_per_s=SHARE * found.decisions_per_s / 2.0,
        batches_per_s=SHARE * found.events_per_s / BATCH / 2.0,
        name=f"{fault.name}-{datetime.now(UTC):%H%M%S%f}",
    )
    lasts_s = MINUTE if fault.name == "processor_stopped" and seconds >= 5.0 else seconds  # noqa: PLR2004
    with traffic.flowing():
        time.sleep(LEAD_S)
        fault.strike(installation, lasts_s)
        wait_until_whole(installation)
        time.sleep(LEAD_S)
    return auditor.find(traffic, SETTLE_S)


def table(backend: str, found: dict[str, Findings]) -> Table:
    """One row per fault."""
    columns = ("acknowledged", "logged", "applied", "duplicated", "lost", "otherwise", "503", "asked", "answered")
    shown = Table(f"fault on {backend}", *columns, "degraded", "gap s", "caps", "well", box=None)
    for name, each in found.items():
        made = each.decisions
        wrong = made.unlogged + made.altered + made.doubled
        counts = (each.acknowledged, each.logged, each.applied, each.duplicated, each.lost, each.misapplied)
        shown.add_row(
            name,
            *(f"{count:,}" for count in counts),
            str(each.refusals.get("503", 0)),
            f"{made.asked:,}",
            f"{made.answered:,}" + (f" ({wrong} wrong)" if wrong else ""),
            f"{made.degraded:,}",
            f"{made.longest_gap_s:.1f}",
            str(made.caps_broken),
            "yes" if each.is_clean else "NO",
        )
    return shown


if __name__ == "__main__":
    main(prog_name="nextbest bench faults")
