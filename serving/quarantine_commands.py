"""`nextbest quarantine list | retry | drop`: the rows that the door rejected, in one place.

Belongs here: arguments and output. Does not belong here: mending and sending again (`serving.mending`).
"""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.files import FOR_OWNER, write_whole
from nextbest.adapters.landing import Door
from nextbest.adapters.quarantine import Quarantine
from nextbest.commands.parameters import ReportFile
from nextbest.contracts import Contract
from nextbest.rejects import Kept
from nextbest.settings import Settings
from nextbest.wire import INTAKE, Verdict
from serving.door import opened
from serving.mending import chosen, from_file, send_again, with_values

_SHOWN = 50
"""Most rows that are printed."""
_ids = click.argument("ids", nargs=-1, metavar="[ID]...")
_all = click.option("--all", "is_all", is_flag=True, help="All rows, or all of the contract.")
_contract = click.option("--contract", type=click.Choice(INTAKE), help="Only rows of this contract.")


@click.group()
def quarantine() -> None:
    """Rows that the door rejected: look at them, mend them and send them again, or drop them.

    Example: nextbest quarantine list
    """


@quarantine.command("list")
@_contract
@click.option("--rule", default="", help="Only rows that break this rule.")
@click.option("--json", "file", type=ReportFile(), help="Write every row to this file, a line each.")
def list_(contract: str | None, rule: str, file: Path | None) -> None:
    """Show the rejected rows of events, the latest first, and where those of deliveries of files are.

    The file of --json has the rows themselves. Mend it in an editor and hand it to `retry --rows`.

    Example: nextbest quarantine list --contract outcomes --json rejected.jsonl
    """
    settings, out = Settings.from_env(), Console()
    contracts = load_contracts(settings.folder("contracts"))
    with closing(Quarantine(settings.rejected_events, contracts)) as events:
        kept = events.rows(contract=contract or "", rule=rule)
    if file:
        write_whole(file, msgspec.json.Encoder().encode_lines(kept), mode=FOR_OWNER)
        click.echo(f"{len(kept):,} rows are in {file}, readable by you alone")
    elif kept:
        out.print(_events_listed(kept[:_SHOWN]))
        if len(kept) > _SHOWN:
            out.print(f"and {len(kept) - _SHOWN:,} more: --json FILE has all of them")
    else:
        which = " ".join(filter(None, (f"of {contract}" if contract else "", f"under the rule {rule}" if rule else "")))
        out.print(f"no event {which} is in quarantine" if which else "no event is in quarantine")
    deliveries = _deliveries_table(settings, contracts, contract, rule)
    if deliveries.row_count:
        out.print("", "rejected rows of files:", deliveries, sep="\n")


@quarantine.command()
@_ids
@_all
@_contract
@click.option("--set", "changes", multiple=True, metavar="COLUMN=VALUE", help="Another value; without one, none.")
@click.option(
    "--rows", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Mended rows, by `list --json`."
)
def retry(
    *, ids: tuple[str, ...], is_all: bool, contract: str | None, changes: tuple[str, ...], rows: Path | None
) -> None:
    """Send rejected rows again, as they are or mended: what is accepted now leaves the quarantine.

    It goes into the log of the home, whether or not servers run. An event keeps its key: nothing counts twice. What is
    rejected again stays with its new reason, and the command fails.

    Example: nextbest quarantine retry --all --contract events --set channel=web
    """
    if rows and (ids or is_all or contract):
        raise click.UsageError("the file of --rows names the rows already")
    settings, values = Settings.from_env(), _changes(changes)
    contracts = load_contracts(settings.folder("contracts"))
    with opened(settings) as intake:
        events = intake.quarantine
        kept = from_file(events.rows(), rows) if rows else _selected(events, ids, contract, is_all=is_all)
        mended = [with_values(each, values, contracts[each.contract]) for each in kept]
        outcome = asyncio.run(send_again(intake, events, mended))
    again = [(each, verdict) for each, verdict in outcome if verdict.status == "rejected"]
    duplicates = sum(verdict.status == "duplicate" for _, verdict in outcome)
    accepted = len(outcome) - len(again) - duplicates
    click.echo(f"{accepted:,} accepted, {duplicates:,} there already, {len(again):,} rejected again")
    if again:
        Console().print(_again_table(again))
        raise click.exceptions.Exit(1)


@quarantine.command()
@_ids
@_all
@_contract
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(*, ids: tuple[str, ...], is_all: bool, contract: str | None, yes: bool) -> None:
    """Remove rejected rows for good: nobody will send them again.

    Example: nextbest quarantine drop 5f2c8a0112b34c56
    """
    settings = Settings.from_env()
    with closing(Quarantine(settings.rejected_events, load_contracts(settings.folder("contracts")))) as events:
        kept = _selected(events, ids, contract, is_all=is_all)
        if kept and not yes:
            click.confirm(f"drop {len(kept):,} rows for good?", abort=True)
        click.echo(f"{asyncio.run(events.drop([each.id for each in kept])):,} rows dropped")


def _selected(events: Quarantine, ids: tuple[str, ...], contract: str | None, *, is_all: bool) -> list[Kept]:
    if bool(ids) == is_all:
        raise click.UsageError("name the rows by their ids (`nextbest quarantine list` shows them), or say --all")
    kept = events.rows(contract=contract or "")
    return kept if is_all else chosen(kept, ids)


def _changes(said: tuple[str, ...]) -> dict[str, str]:
    for each in said:
        if not each.partition("=")[0] or "=" not in each:
            raise click.BadParameter(f"{each!r} is none: it takes COLUMN=VALUE", param_hint="--set")
    return {column: value for column, _, value in (each.partition("=") for each in said)}


def _events_listed(kept: list[Kept]) -> Group:
    """Two lines for each: a table would have no room for whole ids, which are what `retry` and `drop` are told."""
    lines: list[RenderableType] = []
    for each in kept:
        when, times = f"{each.last_at:%Y-%m-%d %H:%M}", f"{each.times:,} times" if each.times > 1 else "once"
        lines.append(_plain(f"{each.id}  {when}  {times}  {each.sender}  {each.contract}  {each.rule}"))
        lines.append(Padding(_plain(each.reason), (0, 0, 0, 4)))
    return Group(*lines)


def _again_table(again: list[tuple[Kept, Verdict]]) -> Table:
    table = Table("contract", "column", "rule", "reason", box=None)
    for each, verdict in again[:_SHOWN]:
        table.add_row(*map(_plain, (each.contract, verdict.column, verdict.rule, verdict.reason)))
    return table


def _deliveries_table(settings: Settings, contracts: Mapping[str, Contract], contract: str | None, rule: str) -> Table:
    """What was rejected of files, by delivery."""
    table, door = Table("contract", "source", "rejected", "rules", box=None), Door.of(settings)
    table.add_column("rows", overflow="fold")
    for name in [contract] if contract else contracts:
        for receipt in door.receipts(name):
            rules = {
                each: n for each, n in receipt.rejects_by_rule.items() if each.endswith(f".{rule}" if rule else "")
            }
            if rules:
                folder = settings.quarantine / name / f"batch={receipt.batch_id}"
                said = ", ".join(f"{each} {count:,}" for each, count in rules.items())
                cells = (name, receipt.source_name, f"{sum(rules.values()):,}", said, str(folder))
                table.add_row(*map(_plain, cells))
    return table


def _plain(text: str) -> Text:
    """Text that a terminal only shows: what was sent may be anything."""
    return Text("".join(each if each.isprintable() else "�" for each in text))
