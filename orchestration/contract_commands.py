"""`nextbest contracts`: whether the contracts are right, and whether a change to them breaks anybody.

Belongs here: arguments and tables. What is right is `nextbest.contract_check`, the comparison `nextbest.compatibility`,
what a change asks for `nextbest.contract_release`; files are `nextbest.adapters.contract_review`;
what is made of contracts is `orchestration.generation`.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from nextbest.adapters.contract_files import RevisionError, contracts_at, load_contracts, path_in_repository
from nextbest.adapters.contract_review import review, review_changes
from nextbest.adapters.landing import Door, Migrated
from nextbest.adapters.mappings import FOLDER, Mappings
from nextbest.adapters.migration_files import missing_migrations
from nextbest.adapters.migrations import MigrationError
from nextbest.commands.parameters import ReportFile
from nextbest.commands.reporting import end, report_options, show
from nextbest.compatibility import Change, Verdict, compare
from nextbest.contract_release import demands, hit, migrations
from nextbest.contracts import Contract, ContractError
from nextbest.errors import NextbestError
from nextbest.findings import Finding, Report, count
from nextbest.lineage import Column, Lineage
from nextbest.settings import Settings
from nextbest.validation import ContractViolation


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
    new = _readable(folder)
    found += _unresolved_mappings(settings, new)
    if against is not None and new:
        changes = compare(old, new)
        lineage = read_lineage(settings, old) if any(change.consumers for change in changes) else lineage
        asked = demands(old, new, changes, lineage)
        steps = migrations(old, new, changes)
        found += review_changes(folder, changes, [*asked, *missing_migrations(folder, steps)], steps)
    report = Report("nextbest contracts check", path_in_repository(folder), files, tuple(found))
    hits = [(change, hit(change, lineage)) for change in changes]
    if json_file:
        rows = [ChangeReport(change, tuple(map(str, readers))) for change, readers in hits]
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(CheckReport(against, rows, report.findings))))
    if changes:
        Console(width=None if sys.stdout.isatty() else 160).print(_table(hits))
    show(report, sarif=sarif, junit=junit)
    click.echo(_summary(len(files), against, changes, report, is_compared=bool(new)))
    end(report)


@contracts.command()
def migrate() -> None:
    """Carry what has landed to the major versions of today.

    When a contract's major version went up, every batch of an older one goes through
    `data_contracts/migrations/<contract>/<old major>-to-<new major>.sql`; rows that the new version rejects go to
    quarantine. The pipeline does the same before it reads. Done again, it does nothing.

    Example: nextbest contracts migrate
    """
    settings = Settings.from_env()
    door = Door.of(settings)
    done: list[Migrated] = []
    errors: list[NextbestError] = []
    for name in load_contracts(settings.folder("contracts")):
        try:
            done += door.migrate(name)
        except (MigrationError, ContractViolation) as error:
            errors.append(error)
    if done:
        Console(width=None if sys.stdout.isatty() else 160).print(_migrated(done))
    click.echo(f"{len(done)} batches migrated, {len(errors)} contracts could not be")
    for each in errors:
        click.echo(str(each), err=True)
    sys.exit(1 if errors else 0)


def _migrated(done: list[Migrated]) -> Table:
    table = Table("contract", "batch", "before", "after", "rows before", "rows after", "rejected")
    for each in done:
        before, after = each.before, each.after
        counts = (before.landed, after.landed, after.rejected - before.rejected)
        versions = (before.contract_version, after.contract_version)
        table.add_row(after.contract, after.batch_id, *versions, *(f"{count:,}" for count in counts))
    return table


@contracts.command()
@click.option("--check", "only_look", is_flag=True, help="Write nothing; status 1 when a file is not up to date.")
def generate(*, only_look: bool) -> None:
    """Make what follows from the contracts: dbt's YAML of sources and staging, and docs/contracts/.

    The pages tell who reads which field, so they are compared once dbt's files are up to date.

    \b
    Example: nextbest contracts generate
             nextbest contracts generate --check
    """  # noqa: D301  click reads the control character
    from orchestration.generation import generate as bring_up_to_date  # noqa: PLC0415  lineage takes long to import

    settings = Settings.from_env()
    files = bring_up_to_date(settings, write=not only_look)
    for file in files:
        click.echo(f"{'not up to date' if only_look else 'written'}: {file}")
    if only_look and files:
        click.echo("Run `nextbest contracts generate`.")
        sys.exit(1)
    if not files:
        click.echo("Everything that is made from the contracts is up to date.")


def read_lineage(settings: Settings, before: dict[str, Contract]) -> Lineage:
    """Who reads which field, in the project as it is now."""
    from orchestration import lineage  # noqa: PLC0415  takes seconds to import

    return lineage.read_lineage(settings, before)


def _readable(folder: Path) -> dict[str, Contract]:
    """The contracts, if nothing in them is so wrong that they cannot be read: then that is said already."""
    try:
        return load_contracts(folder)
    except ContractError:
        return {}


def _unresolved_mappings(settings: Settings, contracts: dict[str, Contract]) -> list[Finding]:
    """The queries of a home's own data that name a column which no contract has, or has no more."""
    queries = Mappings(settings).queries if contracts else {}
    if not queries:
        return []
    from orchestration.lineage import mapped  # noqa: PLC0415  takes seconds to import
    from orchestration.sql_lineage import LineageError  # noqa: PLC0415  as above

    found = []
    for target, sql in queries.items():
        try:
            list(mapped({target: sql}, contracts))
        except LineageError as error:
            found.append(Finding(f"../{FOLDER}/{target}.sql", 1, str(error), "mapping-unresolved"))
    return found


def _contracts_at(folder: Path, against: str) -> dict[str, Contract]:
    try:
        return contracts_at(folder, against)
    except RevisionError as error:
        if not against or "not a git repository" in str(error):
            said = f"{error}\nThe contracts are compared with a revision of a git repository: `git init`, or name one"
            raise click.UsageError(said) from error
        remote, _, branch = against.partition("/")
        fetch = f"git fetch {remote} {branch}" if branch else f"git fetch origin {against}"
        message = f"{error}\nIs {against} there? Fetch it (`{fetch}`; a shallow clone: `git fetch --unshallow`)."
        raise click.UsageError(message) from error


def _table(hits: list[tuple[Change, tuple[Column, ...]]]) -> Table:
    table = Table("contract", "field", "change", "before", "after", "verdict", "whom it hits", "consumers")
    for change, readers in hits:
        what = change.kind.replace("-", " ")
        row = (change.contract, change.field, what, change.before, change.after, change.verdict, change.reason)
        table.add_row(*row, _owners(readers))
    return table


def _owners(readers: Iterable[Column]) -> str:
    """Whom a change hits, a line per kind; which of their columns is for `--json`."""
    owners: dict[str, dict[str, None]] = {}
    for reader in readers:
        owners.setdefault(reader.kind, {})[reader.owner] = None
    return "\n".join(f"{kind}: {', '.join(names)}" for kind, names in owners.items())


def _summary(files: int, against: str | None, changes: list[Change], report: Report, *, is_compared: bool) -> str:
    problems = f"{report.errors} problems"
    if against is None:
        return f"{files} contracts, {problems}"
    if not is_compared:
        return f"{files} contracts, {problems}; they are compared with {against} once these are mended"
    verdicts = Counter(change.verdict for change in changes)
    kinds = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in reversed(get_args(Verdict)))
    warnings = count(report.findings, "warning")
    return f"{len(changes)} changes against {against}: {kinds}; {problems}, {warnings} warnings"
