"""`nextbest log status | replay | compact`: the event log of a home, and the State that is made of it.

Belongs here: arguments and output. Does not belong here: what is asked of log and State (`nextbest.log_status`), or how
State follows the log (`nextbest.following`).
"""

import asyncio
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from nextbest.adapters import log_retention
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.files import write_whole
from nextbest.adapters.landing import Door
from nextbest.adapters.log_landing import day_of, landed_days
from nextbest.adapters.logs import behind, open_log
from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.adapters.states import open_state
from nextbest.commands.parameters import ReportFile
from nextbest.commands.processes import console
from nextbest.envelope import Envelope
from nextbest.errors import NextbestError
from nextbest.following import BATCH_RECORDS, step
from nextbest.log import LogUnavailableError
from nextbest.log_status import FollowingStatus, LogStatus, status_of_following, status_of_log
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError

_CLEARING_S = 600.0
_SHOWN = 10


class NoLogError(NextbestError):
    """The home has no event log yet."""


@click.group()
def log() -> None:
    """Look at the event log, make State anew from it, and let go of what is too old.

    Example: nextbest log status
    """


@log.command()
@click.option("--json", "report", type=ReportFile(), help="Write all of it to this file.")
def status(report: Path | None) -> None:
    """Show what came in, how far State and what else is made of it are behind, and what could not be taken.

    Servers need not run.

    Example: nextbest log status --json log.json
    """
    settings, now = Settings.from_env(), datetime.now(UTC)
    _check_there_is_one(settings)
    found, following, mistake = asyncio.run(_status(settings, now))
    copy = asyncio.run(_copy(settings))
    skipped, landed = SkippedRecords(settings.skipped_records).read(), _landed_until(settings)
    if report:
        content: dict[str, Any] = {
            "at": now,
            "log": _address(settings),
            **msgspec.to_builtins(found),
            "copy": copy,
            "state": following or {"unavailable": mistake},
            "landed_until": landed,
            "skipped": skipped,
        }
        write_whole(report, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    table = Table(box=None, show_header=False)
    table.add_row("log", f"{_address(settings)}  ({found.log_id})")
    table.add_row("records", f"{found.last_offset:,} came in so far")
    rates = (
        f"{found.per_second_last_minute:,.1f} in the last minute, {found.per_second_last_hour:,.1f} in the last hour"
    )
    table.add_row("per second", rates)
    if said := _copy_said(copy):
        table.add_row("copy", said)
    for name, value in _state_rows(following, mistake):
        table.add_row(name, value)
    table.add_row("landed", f"up to {landed}" if landed else "nothing yet")
    table.add_row("skipped", f"{skipped.count:,} records could not be brought into State")
    for each in skipped.last[-_SHOWN:]:
        table.add_row(
            "", f"{each.event_id}  ({each.type}, offset {each.offset:,}): {each.error}, {each.skipped_at:%F %T}"
        )
    console().print(table, highlight=False)
    console().print(_last_hour(found), highlight=False)


@log.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def replay(*, yes: bool) -> None:
    """Empty State and make it anew from the event log; servers may run, and decide by fallbacks meanwhile.

    Consents, identifiers, pauses, arms, interactions, contacts and what they take of volumes come from the log. The
    published policy and models stay. Features that a pipeline computes are not in the log: `nextbest pipeline` brings
    those.

    Example: nextbest log replay --yes
    """
    settings = Settings.from_env()
    _check_there_is_one(settings)
    if not yes:
        question = "State is emptied and made anew from the event log; until then decisions are fallbacks. Go on?"
        click.confirm(question, abort=True)
    applied = asyncio.run(_replay(settings))
    click.echo(f"State has all of the log again: {applied:,} records")
    if said := _copy_said(asyncio.run(_copy(settings))):
        click.echo(f"of what has come to this home: {said}")


@log.command()
@click.option("--dry-run", is_flag=True, help="Show what would leave, and leave it.")
def compact(*, dry_run: bool) -> None:
    """Let go of what is older than its contract allows, and of words that later ones have replaced.

    The schedule `nightly_upkeep` does the same every night. What has not landed yet stays, and so does everything of
    the last 35 days; a State made anew from what is left decides as one made from all of it.

    Example: nextbest log compact --dry-run
    """
    settings = Settings.from_env()
    _check_there_is_one(settings)
    contracts = load_contracts(settings.folder("contracts"))
    with closing(open_log(settings)) as opened, console().status("looking at what the log has"):
        gone = log_retention.compact(opened, Door.of(settings), contracts, datetime.now(UTC), is_dry=dry_run)
    if not (gone.removed or gone.emptied or gone.batches):
        click.echo("nothing is old enough to go")
        return
    console().print(_gone(gone), highlight=False)
    if dry_run:
        click.echo("all of it is still there: without --dry-run it goes")


def _gone(gone: log_retention.Compaction) -> Table:
    table = Table("contract", "records gone", "records emptied", "deliveries gone", box=None)
    for name in sorted({*gone.removed, *gone.emptied, *gone.batches}):
        counts = (each.get(name, 0) for each in (gone.removed, gone.emptied, gone.batches))
        table.add_row(name or "(none)", *(f"{count:,}" for count in counts))
    return table


async def _status(settings: Settings, now: datetime) -> tuple[LogStatus, FollowingStatus | None, str]:
    """What log and State say; of a State that cannot be asked, why."""
    with closing(open_log(settings)) as opened, closing(open_state(settings)) as state:
        found = await status_of_log(opened, now)
        try:
            return found, await status_of_following(opened, state, now), ""
        except StateUnavailableError as error:
            return found, None, str(error)


async def _copy(settings: Settings) -> dict[str, Any] | None:
    """How far the home's copy of a log elsewhere is behind, or why nobody knows; none where the log is in the home."""
    try:
        waits = await behind(settings)
    except LogUnavailableError as error:
        return {"unavailable": str(error)}
    return None if waits is None else {"behind_messages": waits}


def _copy_said(copy: dict[str, Any] | None) -> str:
    if copy is None:
        return ""
    return copy.get("unavailable") or f"{copy['behind_messages']:,} messages of the topic wait"


def _state_rows(following: FollowingStatus | None, mistake: str) -> list[tuple[str, str]]:
    if following is None:
        return [("State", mistake)]
    mark = "has caught up" if following.is_caught_up else "is being rebuilt: decisions are fallbacks until it has all"
    waits = following.oldest_unprocessed_seconds
    rows = [("State", f"{mark}, up to offset {following.applied_offset:,}")]
    oldest = "" if waits is None else f", the oldest for {waits:,.1f} s"
    rows.append(("lag", f"{following.lag_records:,} records wait{oldest}"))
    return [*rows, *((name, f"{records:,} records wait") for name, records in following.projections.items())]


def _last_hour(found: LogStatus) -> Table:
    table = Table("last hour", "type", "records", box=None)
    about = "about " if found.is_estimated else ""
    for each in found.last_hour:
        table.add_row(each.contract or "(none)", each.type, f"{about}{each.records:,}")
    return table


async def _replay(settings: Settings) -> int:
    """Empty State, and apply the log until all is there; the event processor, where one runs, does the same beside."""
    skipped = SkippedRecords(settings.skipped_records)

    def skip(log_id: str, offset: int, record: Envelope, error: Exception) -> None:
        skipped.add(log_id, offset, record, error, datetime.now(UTC))

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        closing(open_log(settings)) as opened,
        closing(open_state(settings, _CLEARING_S)) as state,
        Progress(*columns, console=console()) as progress,
    ):
        last = await opened.last_offset()
        task, offset = progress.add_task("records read", total=last), 0
        while page := await opened.read(offset, BATCH_RECORDS):  # State stays while the log cannot take its place
            offset = page[-1][0]
            progress.update(task, completed=offset)
        task = progress.add_task("records applied", total=last)
        await state.clear()
        while not (made := await step(opened, state, skip)).is_end:
            progress.update(task, completed=made.offset)
        progress.update(task, completed=made.offset, total=made.offset)
        return made.offset


def _check_there_is_one(settings: Settings) -> None:
    """Opening a file that is not there would make it.

    Raises:
        NoLogError: there is none.

    """
    if not settings.log_url and not settings.event_log.is_file():
        raise NoLogError(
            f"there is no event log {settings.event_log}: nothing came in yet (NEXTBEST_HOME says which home it is)"
        )


def _address(settings: Settings) -> str:
    """Where the log is."""
    return settings.log_url or str(settings.event_log)


def _landed_until(settings: Settings) -> str | None:
    """The last day whose arrivals have landed for the warehouse; none where nothing has, or no contract can be read."""
    with suppress(NextbestError):
        return max(map(day_of, landed_days(Door.of(settings)).values()), default=None)
    return None
