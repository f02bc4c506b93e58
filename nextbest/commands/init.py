"""`nextbest init FOLDER --from NAME=TABLE…`: a project of one's own, guessed from one's own tables.

Belongs here: arguments, and the summary of what was guessed. Writing the project is `nextbest.adapters.projects`.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nextbest.adapters.imports import EXAMPLE, label
from nextbest.adapters.projects import Project, next_commands, write_project
from nextbest.drafts.mappings import MAPPED, Shop


class _Named(click.ParamType[tuple[str, str]]):
    """`NAME=TABLE`: a contract's name, and where its rows are."""

    name = "NAME=TABLE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, separator, location = value.partition("=")
        if not separator or not name or not location:
            self.fail(f"{value!r} is no NAME=TABLE, such as invoices=invoices.csv or stock={EXAMPLE}", param, ctx)
        return name, location


class _Currency(click.ParamType[str]):
    name = "CODE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if len(value) != 3 or not value.isascii() or not value.isalpha():  # noqa: PLR2004  ISO 4217
            self.fail(f"{value!r} is no code of ISO 4217, such as EUR", param, ctx)
        return value.upper()


class _TimeZone(click.ParamType[str]):
    name = "ZONE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return ZoneInfo(value).key
        except (ValueError, OSError, LookupError):
            self.fail(f"{value!r} is no IANA time zone, such as Europe/London", param, ctx)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--from", "tables", type=_Named(), multiple=True, required=True, help="A table; once for each.")
@click.option("--currency", type=_Currency(), default="USD", show_default=True, help="Of every amount: ISO 4217.")
@click.option("--time-zone", type=_TimeZone(), default="UTC", show_default=True, help="Of times without one; IANA.")
def init(folder: Path, tables: Sequence[tuple[str, str]], currency: str, time_zone: str) -> None:
    """Write a project of your own into FOLDER, guessed from your tables; it becomes NEXTBEST_HOME.

    A table is a CSV, Parquet or JSON lines file, or one in a database: sqlite:///shop.db#stock,
    duckdb:///shop.duckdb#sales, postgresql://user@host/shop#public.stock (with its driver psycopg2). Each gets a
    contract with types, keys and closed lists, NAME being what you call it. Where there are sales (who bought what,
    when, for how much), queries map them to nextbest's contracts, and what sells best becomes a first policy. Every
    guess is marked `review`, with what it rests on. Nothing lands yet, and nothing that is there is overwritten.

    \b
    Example: nextbest init ~/shop --from invoices=online_retail.csv --currency GBP --time-zone Europe/London
             nextbest init ~/shop --from invoices=2026.parquet --from clients=sqlite:///shop.db#clients
    """  # noqa: D301  click reads the control character
    if repeated := [name for name, count in Counter(name for name, _ in tables).items() if count > 1]:
        raise click.UsageError(f"two tables are named {repeated[0]}: name each otherwise")
    shop = Shop(currency, time_zone, datetime.now(UTC))
    project = write_project(folder.expanduser().resolve(), dict(tables), shop)
    _show(project)


def _show(project: Project) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160, soft_wrap=True)
    console.print(_columns(project))
    for name, each in project.imported.items():
        guesses = each.guesses
        key = f"key {', '.join(guesses.key) or 'none'}: {guesses.key_evidence}" if guesses.key_evidence else "no key"
        console.print(f"{name}: {guesses.rows:,} rows of {label(each.location)}; {key}", markup=False)
        for left_out in guesses.left_out:
            console.print(f"{name}: left out, because no column of a contract can hold it: {left_out}", markup=False)
    for name, validated in project.mapped.items():
        broken = "".join(f", {count:,} break {rule}" for rule, count in validated.rejects_by_rule.items())
        console.print(f"{name}: {validated.valid.num_rows:,} rows by mappings/{name}.sql{broken}", markup=False)
    if not project.mapped:
        console.print(
            f"{', '.join(MAPPED)}: not mapped: {project.roles.lacking}. Write mappings/*.sql from their templates, and "
            "your actions into policies/ and dbt_project/",
            markup=False,
        )
    console.print(f"actions: {', '.join(project.actions)}", markup=False)
    click.echo(f"\n{project.folder} is written. Review its guesses (grep -rn review …), then:\n")
    click.echo("\n".join(f"  {command}" for command in next_commands(project)))


def _columns(project: Project) -> Table:
    table = Table("contract", "column", "type", "guessed", "because")
    for name, each in project.imported.items():
        for column in each.guesses.columns:
            guessed = [
                *(["key"] if column.key else []),
                *(["required"] if column.required else []),
                *([f"one of {len(column.values)}"] if column.values else []),
                *(["a time"] if column.time_format else []),
                *(["personal"] if column.is_personal else []),
            ]
            cells = (name, column.name, column.physical_type, ", ".join(guessed), "; ".join(column.evidence))
            table.add_row(*map(escape, cells))
    return table
