"""`nextbest pause ACTION` and `nextbest resume ACTION`: the kill switch of an action.

Belongs here: arguments and output. Does not belong here: the way of a switch through log and State
(`nextbest.switches`).
"""

import asyncio
import uuid
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from nextbest.adapters.logs import open_log
from nextbest.adapters.policy_archive import ArchiveError, newest_first, read
from nextbest.adapters.policy_files import read_policy
from nextbest.adapters.states import open_state
from nextbest.advice import did_you_mean
from nextbest.errors import NextbestError
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError
from nextbest.switches import Switch, switched, use

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
    """Use the switch and say what that changed.

    Raises:
        SwitchError: no such action, or State could not be told.

    """
    settings = Settings.from_env()
    if not _was_published(settings.policies_archive, action):
        _check(action, sorted(read_policy(settings.folder("policies")).actions))
    record = switched(switch, action, f"{switch}/{uuid.uuid4().hex}", datetime.now(UTC), reason=reason)
    with closing(open_log(settings)) as log, closing(open_state(settings)) as state:
        try:
            was_paused = asyncio.run(use(log, state, record))
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
