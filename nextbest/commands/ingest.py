"""`nextbest ingest CONTRACT FILE…`: land files through the door.

Belongs here: arguments and the table of receipts. Landing is `nextbest.adapters.landing`.
"""

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.imports import is_database, label, read_table
from nextbest.adapters.landing import Door, Receipt
from nextbest.advice import explain, misnamed
from nextbest.settings import Settings
from nextbest.validation import ContractViolation


class _Delivery(click.Path):
    """A file that is there, or a table of a database by its address."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value) if is_database(str(value)) else str(super().convert(value, param, ctx))


@click.command()
@click.argument("contract")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_Delivery())
def ingest(contract: str, files: tuple[str, ...]) -> None:
    """Land Parquet, CSV or JSON lines files, or tables of a database, under a contract.

    Each file lands whole or not at all; rows that break a rule go to quarantine, with the rule and the value. The same
    file again changes nothing, and a corrected one replaces what it brought before.

    \b
    Example: nextbest ingest transactions deliveries/2026-10-*.parquet
             nextbest ingest stock sqlite:///shop.db#stock
    """  # noqa: D301  click reads the control character
    settings = Settings.from_env()
    promises = load_contracts(settings.folder("contracts"))
    door = Door.of(settings)
    if contract in promises and promises[contract].kind == "snapshot" and len(files) > 1:
        raise click.UsageError(f"{contract} is a snapshot, which each file replaces as a whole: name one file")
    receipts = [_land(door, contract, file) for file in files]
    Console(width=None if sys.stdout.isatty() else 160).print(_table(receipts))
    for receipt in receipts:
        for line in [
            *explain(promises[contract], door.rejected(receipt)),
            *misnamed(promises[contract], receipt.warnings),
        ]:
            click.echo(line)
    if any(receipt.rejected for receipt in receipts):
        click.echo(f"rejected rows, with the rule each one breaks: {settings.quarantine / contract}")
    if not any(receipt.landed for receipt in receipts):
        sys.exit(1)


def _land(door: Door, contract: str, file: str) -> Receipt:
    try:
        if is_database(file):
            return door.land(contract, read_table(file), source_name=label(file))
        return door.land_file(contract, Path(file))
    except ContractViolation:
        click.echo(f"{label(file)} did not land:", err=True)
        raise


def _table(receipts: list[Receipt]) -> Table:
    table = Table("batch", "received", "landed", "rejected", "rejected by", "warnings")
    for receipt in receipts:
        counts = (receipt.received, receipt.landed, receipt.rejected)
        reasons = (receipt.rejects_by_rule, receipt.warnings)
        table.add_row(
            receipt.batch_id,
            *(f"{count:,}" for count in counts),
            *("\n".join(f"{name}: {count:,}" for name, count in each.items()) for each in reasons),
        )
    return table
