"""What commands that check something have in common: where their reports go, how findings look, what the status is.

Belongs here: options and output shared by `nextbest contracts check` and `nextbest policy check`. Does not belong here:
the formats (`nextbest.adapters.reports`).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nextbest.adapters.reports import write_junit, write_sarif
from nextbest.commands.parameters import ReportFile
from nextbest.findings import Report

_Function = TypeVar("_Function", bound=Callable[..., Any])


def report_options(command: _Function) -> _Function:
    """Let a command take `--sarif FILE` and `--junit FILE`."""
    sarif = click.option("--sarif", type=ReportFile(), help="Write what was found as SARIF 2.1.0, for code review.")
    junit = click.option("--junit", type=ReportFile(), help="Write a JUnit test case per file, for test reports.")
    return sarif(junit(command))


def show(report: Report, *, sarif: Path | None, junit: Path | None) -> None:
    """Write the reports that are asked for, and print every error with file and line."""
    write_reports(report, sarif=sarif, junit=junit)
    for finding in report.findings:
        if finding.level == "error":
            click.echo(f"{report.path(finding.file)}:{finding.line}: {finding.message} [{finding.rule}]")


def write_reports(report: Report, *, sarif: Path | None, junit: Path | None) -> None:
    """Write the reports that are asked for."""
    if sarif:
        write_sarif(sarif, report)
    if junit:
        write_junit(junit, report)


def end(report: Report) -> None:
    """End the process: the status is 1 if there is an error, else 0."""
    sys.exit(1 if report.errors else 0)
