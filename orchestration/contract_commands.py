"""`nextbest contracts`: what the contracts are, and whether a change to them breaks anybody.

Belongs here: arguments and tables. The comparison is `nextbest.compatibility`; files are
`nextbest.adapters.contract_files`; what is made of them is `orchestration.generation`.
"""

import sys

import click
from rich.console import Console
from rich.table import Table

from nextbest.adapters.contract_files import contracts_at, load_contracts
from nextbest.adapters.landing import Door, Migrated
from nextbest.adapters.migrations import MigrationError
from nextbest.compatibility import Change, compare
from nextbest.errors import NextbestError
from nextbest.settings import Settings
from nextbest.validation import ContractViolation


@click.group()
def contracts() -> None:
    """Work with the data contracts in `data_contracts/`.

    Example: nextbest contracts check --against origin/main
    """


@contracts.command()
@click.option("--against", metavar="REF", required=True, help="Git branch, tag or commit that consumers rely on.")
def check(against: str) -> None:
    """Find what breaks a producer or a consumer, compared with a git revision.

    A removed, retyped, newly required or narrowed field is breaking, and so is a removed contract: the status is then
    1, unless the contract's major version went up.

    Example: nextbest contracts check --against origin/main
    """
    folder = Settings.from_env().folder("contracts")
    changes = compare(contracts_at(folder, against), load_contracts(folder))
    if changes:
        Console(width=None if sys.stdout.isatty() else 160).print(_table(changes))
    refused = sum(not change.is_permitted for change in changes)
    click.echo(f"{len(changes)} changes against {against}, {refused} of them breaking without a new major version")
    sys.exit(1 if refused else 0)


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


def _table(changes: list[Change]) -> Table:
    table = Table("contract", "column", "change", "before", "after", "verdict")
    for change in changes:
        verdict = "breaking" if not change.is_permitted else "new major version" if change.is_breaking else "compatible"
        table.add_row(change.contract, change.column, change.what, change.before, change.after, verdict)
    return table
