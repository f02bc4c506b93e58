"""`nextbest pause ACTION` and `nextbest resume ACTION`: the kill switch of an action.

Belongs here: arguments and output, and the entry of the log that says it. What it does to State is `nextbest.state`.
"""

import asyncio
import uuid
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from nextbest.adapters.policy_archive import ArchiveError, newest_first, read
from nextbest.adapters.policy_files import read_policy
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.advice import did_you_mean
from nextbest.envelope import Envelope
from nextbest.errors import NextbestError
from nextbest.intake import Switch, switched
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, StateUnavailableError

_reason = click.option("--reason", metavar="TEXT", default="", help="Why, kept in the log with it.")


class SwitchError(NextbestError):
    """The switch was not used, or does not bind yet; the message says which."""


@click.command()
@click.argument("action")
@_reason
def pause(action: str, reason: str) -> None:
    """Stop ACTION: no decision proposes it any more, on any replica, until it is resumed.

    Example: nextbest pause frozen_pizza --reason "recalled by the supplier"
    """
    _switch("pause", action, reason)


@click.command()
@click.argument("action")
@_reason
def resume(action: str, reason: str) -> None:
    """Let decisions propose ACTION again.

    Example: nextbest resume frozen_pizza
    """
    _switch("resume", action, reason)


def _switch(switch: Switch, action: str, reason: str) -> None:
    """Log it first, since State is rebuilt from the log, then bring it into State, so that it binds at once.

    Raises:
        SwitchError: no such action, or State could not be told.

    """
    settings = Settings.from_env()
    if not _was_published(settings.policies_archive, action):
        _check(action, sorted(read_policy(settings.folder("policies")).actions))
    record = switched(switch, action, f"{switch}/{uuid.uuid4().hex}", datetime.now(UTC), reason=reason)
    with closing(SqliteLog(settings.event_log)) as log:
        log.append_sync([record])
    with closing(open_state(settings)) as state:
        try:
            was_paused = asyncio.run(_tell(state, record))
        except StateUnavailableError as error:
            said = f"the {switch} of {action} is logged, and binds once the event processor has brought it into State"
            raise SwitchError(f"{said}: {error}") from error
    is_paused = switch == "pause"
    already = "already " if was_paused == is_paused else ""
    meaning = "no decision proposes it" if is_paused else "decisions may propose it"
    click.echo(f"{action} is {already}{'paused' if is_paused else 'running'}: {meaning}")


def _was_published(archive: Path, action: str) -> bool:
    """Whether a policy that decides, or did, has the action: no mistake in the files keeps a recall waiting."""
    for name in newest_first(archive):
        with suppress(ArchiveError):
            if action in {each.id for each in read(archive, name).actions.actions}:
                return True
    return False


def _check(action: str, known: list[str]) -> None:
    if action not in known:
        raise SwitchError(
            f"the policy has no action {action!r}: it has {len(known)}, in actions.yaml{did_you_mean(action, known)}"
        )


async def _tell(state: OpenState, record: Envelope) -> bool:
    """Bring `record` into State; returns whether its action was paused before."""
    before = await state.snapshot(None, SnapshotScope(record.occurred_at, record.occurred_at))
    await state.apply([record], None)
    return record.action in before.pauses
