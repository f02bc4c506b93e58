"""`nextbest learning`: what answers have taught since the last training.

Belongs here: reading State and log, and output. Does not belong here: the figures (`nextbest.learning_status`).
"""

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.progress_bar import ProgressBar
from rich.table import Table

from nextbest.adapters.learned import in_use
from nextbest.adapters.logs import OpenLog, open_log
from nextbest.adapters.states import OpenState, open_state
from nextbest.commands.processes import console
from nextbest.learning_status import ActionStatus, LearningStatus, learning_status
from nextbest.moments import to_microseconds
from nextbest.rewards import WHY
from nextbest.settings import Settings
from nextbest.situation import PROPENSITY

_WIDTH = 12


@click.group()
def learning() -> None:
    """See what answers have taught since the last training.

    Example: nextbest learning status
    """


@learning.command()
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to FILE too.")
def status(path: Path | None) -> None:
    """Show of each action its contacts and answers, what they correct, and what it would take to be shown more.

    Contacts count once they were seen; those that have had little time to be answered count in part (`worth`). The
    correction is of the model's log odds, for the customer the action has mostly been shown to, with how unsure it is.
    The bar is the action's priority beside the best one's. Servers may run or not; nothing is changed.

    The status is 0, also where nothing has been learned yet; 1 if State, log, policy or models cannot be read; and 2 if
    the command was called wrongly.

    Example: nextbest learning status --json learning.json
    """
    settings = Settings.from_env()
    with closing(open_state(settings)) as state, closing(open_log(settings)) as log:
        found = asyncio.run(_status(settings, state, log))
    if found is None:
        click.echo("no policy and model set decide yet: `nextbest up` has them published")
        return
    if path:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    _show(found)


async def _status(settings: Settings, state: OpenState, log: OpenLog) -> LearningStatus | None:
    now = datetime.now(UTC)
    found = await in_use(settings, state, log, now)
    if found is None:
        return None
    models = found.model_set.models
    return learning_status(
        found.learned,
        found.policy,
        model_set_id=found.model_set.id,
        known=models[PROPENSITY].action_features if PROPENSITY in models else (),
        usage=found.usage,
        behind=found.behind,
        now=to_microseconds(now),
    )


def _show(found: LearningStatus) -> None:
    table = Table("action", "seen", "worth", "answers", "reward", "model", "correction", "p", "", "reach", "", box=None)
    best = max((each.priority for each in found.actions if each.priority), default=0.0)
    for each in sorted(found.actions, key=lambda each: (-each.seen, each.action)):
        table.add_row(*_row(each, best))
    console().print(table)
    click.echo(_time(found))
    click.echo(f"answers that taught nothing: {sum(found.not_learned_from.values()):,}")
    for why, count in found.not_learned_from.items():
        click.echo(f"  {count:,}: {WHY[why]}")  # type: ignore[index]  # it is one of them
    if not found.is_complete:
        click.echo(
            f"none of this is used yet: {found.records_behind:,} records of the log are still to be read, while "
            "`nextbest up` runs"
        )


def _row(each: ActionStatus, best: float) -> list[str | ProgressBar]:
    bar: str | ProgressBar = ""
    if each.priority is not None and best > 0.0:
        bar = ProgressBar(total=best, completed=max(each.priority, 0.0), width=_WIDTH)
    return [
        each.action,
        f"{each.seen:,}",
        f"{each.effective:,.0f}",
        f"{each.answered:,}",
        "" if each.mean_reward is None else f"{each.mean_reward:.2%}",
        "" if each.model_p is None else f"{each.model_p:.2%}",
        f"{each.correction_mean:+.2f} ± {each.correction_sd:.2f}",
        "" if each.p is None else f"{each.p:.2%}",
        bar,
        f"{each.reach:.0%}",
        each.next_step,
    ]


def _time(found: LearningStatus) -> str:
    known = found.time_to_convert
    if known.median_s is None or known.p90_s is None:
        return "no answer that is worth something yet: how long they take is not known"
    median, most = (_duration(timedelta(seconds=each)) for each in (known.median_s, known.p90_s))
    return (
        f"half of what answers are worth comes within {median}, nine tenths within {most} ({known.answers:,} answered)"
    )


def _duration(time: timedelta) -> str:
    """In the largest unit of which there are two or more."""
    for unit, name in ((timedelta(days=1), "days"), (timedelta(hours=1), "hours"), (timedelta(minutes=1), "minutes")):
        if time >= 2 * unit:
            return f"{time / unit:.0f} {name}"
    return f"{time.total_seconds():.0f} seconds"
