"""`nextbest bench NAME`: measure against peers and limits, with the scripts in `benchmarks/`.

Belongs here: finding a benchmark and becoming it. What is measured, and against what, is in the
script: `benchmarks/contract_changes.py` is `nextbest bench contract-changes`, and takes `--json FILE` and what else it
declares.
"""

import os
import sys
from pathlib import Path

import click

from nextbest.advice import did_you_mean
from nextbest.commands.parameters import ReportFile
from nextbest.settings import CHECKOUT

FOLDER = CHECKOUT / "benchmarks"


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("name", required=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "report", type=ReportFile(), help="Write the figures to this file.")
@click.option("-h", "--help", "is_help", is_flag=True, help="Show this, or after NAME the benchmark's own, and exit.")
@click.pass_context
def bench(
    ctx: click.Context, name: str | None, options: tuple[str, ...], report: Path | None, *, is_help: bool
) -> None:
    """Run a benchmark; without a name, list them.

    Each runs side by side with its peers and its limit, and prints medians and ratios. OPTIONS are the benchmark's own.

    Example: nextbest bench decisions --json decisions.json --flame decisions.svg
    """
    scripts = {path.stem.replace("_", "-"): path for path in sorted(FOLDER.glob("*.py"))}
    if name is None:
        click.echo(ctx.get_help() if is_help else "\n".join(scripts))
        return
    if name not in scripts:
        known = ", ".join(scripts)
        raise click.BadParameter(f"there is no {name}; there are {known}{did_you_mean(name, scripts)}")
    arguments = [*(["--json", str(report.resolve())] if report else []), *(["--help"] if is_help else []), *options]
    sys.stdout.flush()
    # In place of this process: whoever ends the command ends the benchmark, which has servers of its own to end. And
    # without the scripts' folder on its path, where `models` would be a script.
    os.execv(sys.executable, [sys.executable, "-P", str(scripts[name]), *arguments])
