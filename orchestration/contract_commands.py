"""`nextbest contracts`: whether the contracts are right, and whether a change to them breaks anybody.

Belongs here: arguments and tables. What is right is `nextbest.contract_check`, the comparison `nextbest.compatibility`,
what a change asks for `nextbest.contract_release`; files are `nextbest.adapters.contract_review`.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from nextbest.adapters.contract_files import RevisionError, contracts_at, load_contracts, path_in_repository
from nextbest.adapters.contract_review import review, review_changes
from nextbest.adapters.migration_files import missing_migrations
from nextbest.commands.parameters import ReportFile
from nextbest.commands.reporting import end, report_options, show
from nextbest.compatibility import Change, Verdict, compare
from nextbest.contract_release import demands, hit, migrations
from nextbest.contracts import Contract
from nextbest.findings import Finding, Report, count
from nextbest.lineage import Column, Lineage
from nextbest.settings import Settings


class ChangeReport(msgspec.Struct, frozen=True):
    """One change with everybody who reads what was changed."""

    change: Change
    consumers: tuple[str, ...]


class CheckReport(msgspec.Struct, frozen=True):
    """What `--json` writes."""

    against: str | None
    changes: list[ChangeReport]
    findings: tuple[Finding, ...]


@click.group()
def contracts() -> None:
    """Work with the data contracts in `data_contracts/`.

    Example: nextbest contracts check --against origin/main
    """


@contracts.command()
@click.option("--against", metavar="REF", help="Git branch, tag or commit that producers and consumers rely on.")
@click.option("--json", "json_file", type=ReportFile(), help="Write changes, consumers and findings to this file.")
@report_options
def check(against: str | None, json_file: Path | None, sarif: Path | None, junit: Path | None) -> None:
    """Say every mistake in the contracts, and what changed since a git revision with everybody whom it hits.

    A change is compatible, minor (needs a new minor version) or breaking (needs a new major version and a migration).
    A contract may be removed once it was deprecated and nobody reads it.

    The status is 0 if all is well, 1 if there is a mistake or a version, migration or notice is missing, and 2 if the
    command was called wrongly or does not know the revision.

    \b
    Example: nextbest contracts check
             nextbest contracts check --against origin/main --sarif contracts.sarif
    """  # noqa: D301  click reads the control character
    settings = Settings.from_env()
    folder = settings.folder("contracts")
    old = {} if against is None else _contracts_at(folder, against)
    files, found = review(folder)
    changes: list[Change] = []
    lineage = Lineage()
    if against is not None and not found:
        new = load_contracts(folder)
        changes = compare(old, new)
        lineage = read_lineage(settings) if any(change.consumers for change in changes) else lineage
        asked = demands(old, new, changes, lineage)
        steps = migrations(old, new, changes)
        found = review_changes(folder, changes, [*asked, *missing_migrations(folder, steps)], steps)
    report = Report("nextbest contracts check", path_in_repository(folder), files, tuple(found))
    hits = [(change, hit(change, lineage)) for change in changes]
    if json_file:
        rows = [ChangeReport(change, tuple(map(str, readers))) for change, readers in hits]
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(CheckReport(against, rows, report.findings))))
    if changes:
        Console(width=None if sys.stdout.isatty() else 160).print(_table(hits))
    show(report, sarif=sarif, junit=junit)
    click.echo(_summary(len(files), against, changes, report))
    end(report)


def read_lineage(settings: Settings) -> Lineage:  # noqa: ARG001  who reads what is not known yet
    """Who reads which field, in the project as it is now."""
    return Lineage()


def _contracts_at(folder: Path, against: str) -> dict[str, Contract]:
    try:
        return contracts_at(folder, against)
    except RevisionError as error:
        remote, _, branch = against.partition("/")
        fetch = f"git fetch {remote} {branch}" if branch else f"git fetch origin {against}"
        message = f"{error}\nIs {against} there? Fetch it (`{fetch}`; a shallow clone: `git fetch --unshallow`)."
        raise click.UsageError(message) from error


def _table(hits: list[tuple[Change, tuple[Column, ...]]]) -> Table:
    table = Table("contract", "field", "change", "before", "after", "verdict", "whom it hits", "consumers")
    for change, readers in hits:
        what = change.kind.replace("-", " ")
        names = "\n".join(map(str, readers))
        row = (change.contract, change.field, what, change.before, change.after, change.verdict, change.reason, names)
        table.add_row(*row)
    return table


def _summary(files: int, against: str | None, changes: list[Change], report: Report) -> str:
    problems = f"{report.errors} problems"
    if against is None:
        return f"{files} contracts, {problems}"
    if report.errors and not changes:
        return f"{files} contracts, {problems}; they are compared with {against} once these are mended"
    verdicts = Counter(change.verdict for change in changes)
    kinds = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in reversed(get_args(Verdict)))
    warnings = count(report.findings, "warning")
    return f"{len(changes)} changes against {against}: {kinds}; {problems}, {warnings} warnings"
