"""`nextbest policy usage`: how much of each volume and budget is used up, and how far new actions have come.

Belongs here: the table. The counting is State's (`nextbest.ledger`).
"""

import asyncio
from contextlib import closing
from datetime import UTC, datetime

import click
from rich.progress_bar import ProgressBar
from rich.table import Table

from nextbest.adapters.policy_files import read_policy
from nextbest.adapters.states import open_state
from nextbest.commands.processes import console
from nextbest.messages import Limit
from nextbest.policy import Policy
from nextbest.policy_compiler import MILLIONTHS
from nextbest.records import Usage
from nextbest.settings import Settings

_WIDTH = 20


@click.command()
def usage() -> None:
    """Show what is used of volumes and budgets in this period, and how often new actions were seen.

    Reserved is what was decided and may still be seen; it comes back when it expires. An impression that comes after
    that counts all the same, and is an overrun.

    Example: nextbest policy usage
    """
    settings, now = Settings.from_env(), datetime.now(UTC)
    policy = read_policy(settings.folder("policies"))
    with closing(open_state(settings)) as state:
        found = asyncio.run(state.snapshot(None, policy.scope(now))).usage
        overruns = asyncio.run(state.overruns())
    table = Table("action", "of", "period", "seen", "reserved", "most", "", box=None)
    for limit in policy.limits:
        table.add_row(*_row(limit, found.get(limit.counter(now), Usage()), policy, now))
    console().print(table)
    click.echo(f"{overruns} impressions came after their reservation had expired")


def _row(limit: Limit, used: Usage, policy: Policy, now: datetime) -> list[str | ProgressBar]:
    action, _, of = limit.name.partition("/")
    period = limit.counter(now).rpartition("@")[2]
    most = limit.most
    ramp = policy.arbitration.ramp
    if most is None and ramp:  # a new action is on its way to everybody
        most = round(ramp.impressions)
    share = 0 if not most else min(used.seen + used.held, most)
    bar = ProgressBar(total=most or 1, completed=share, width=_WIDTH)
    amounts = [_amount(limit, amount, policy) for amount in (used.seen, used.held, most)]
    return [action, of, period, *amounts, bar]


def _amount(limit: Limit, amount: int | None, policy: Policy) -> str:
    if amount is None:
        return ""
    return f"{amount / MILLIONTHS:,.2f} {policy.currency}" if limit.is_money else f"{amount:,}"
