"""How long training takes: every model on the demo's data, a simulated trial among it, as the pipeline does it.

Run by `nextbest bench training`. The pipeline lands the data and builds features in a home of its own; then each model
is read, trained, measured, registered and judged, one after the other in one process. The limit is the goal for all of
them together on two cores.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from models import lifecycle
from nextbest.model_set import MODELS
from nextbest.settings import Settings

LIMIT_S = 120.0
_BEFORE = "not group:training and not group:scoring"


class Training(msgspec.Struct, frozen=True):
    """What training a model took, and what became of the version."""

    model: str
    seconds: float
    rows: int
    verdict: str
    reason: str


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--only", type=click.Choice(MODELS), multiple=True, help="Train this model; may be repeated.")
def main(report: Path | None, only: tuple[str, ...]) -> None:
    """Train every model and print what it took; exits with 1 when all of them take longer than the limit."""
    console, found = Console(width=150), []
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(Settings(), home=Path(folder), demo_trial=True)
        _prepare(settings)
        for model in only or MODELS:
            with console.status(f"{model} …"):
                found.append(_train(settings, model))
    whole = sum(each.seconds for each in found)
    table = Table("model", "training rows", "seconds", "verdict", "why")
    for each in found:
        table.add_row(each.model, f"{each.rows:,}", f"{each.seconds:.1f}", each.verdict, each.reason)
    table.add_section()
    table.add_row("all of them", "", f"{whole:.1f}", f"limit {LIMIT_S:g}")
    console.print(table)
    if report:
        figures = {"cpus": os.cpu_count(), "limit_s": LIMIT_S, "seconds": round(whole, 1), "models": found}
        report.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))
    sys.exit(0 if whole <= LIMIT_S else 1)


def _prepare(settings: Settings) -> None:
    """Land, build and publish everything that models learn from."""
    command = [sys.executable, "-m", "nextbest", "pipeline", "--select", _BEFORE]
    if subprocess.run(command, env={**os.environ, **settings.environment()}, check=False).returncode:
        raise click.ClickException("the pipeline failed: what failed is said above")


def _train(settings: Settings, model: str) -> Training:
    began = time.perf_counter()
    found = lifecycle.train_and_register(settings, model, datetime.now(UTC))
    return Training(
        model=model,
        seconds=round(time.perf_counter() - began, 1),
        rows=int(found.metrics["train_rows"]),
        verdict=found.gate.verdict,
        reason=found.gate.reason,
    )


if __name__ == "__main__":
    main(prog_name="nextbest bench training")
