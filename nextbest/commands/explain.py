"""`nextbest replay` and `nextbest why-not`: what a decision was made of, after the fact.

Belongs here: arguments and output. Does not belong here: finding a decision (`nextbest.adapters.decisions`), deciding
again (`nextbest.replay`), or the search for what would have to change (`nextbest.why_not`).
"""

import sys

import click
import msgspec

import nextbest
from nextbest import replay as replaying
from nextbest import why_not as asking
from nextbest.adapters.decisions import find
from nextbest.records import DecisionRecord
from nextbest.settings import Settings

_SHOWN = 10
"""Differences that are shown before they are only counted."""
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


@click.command()
@click.argument("decision_id", metavar="ID")
@_AS_JSON
def replay(decision_id: str, *, as_json: bool) -> None:
    """Decide again what decision ID decided, from its record, and compare.

    The record is in the event log, its policy in the archive that `nextbest serve` keeps, its models in their bundle.
    Servers may run or not; nothing is changed.

    The status is 0 if both are identical, bit for bit; 1 if they differ, or if a part of the decision is missing; and 2
    if the command was called wrongly.

    Example: nextbest replay 5e8c2f0a91b34d7c8f6e0d1a2b3c4d5e
    """
    decision = find(Settings.from_env(), decision_id)
    again = replaying.replay(decision.record, decision.policy, decision.models)
    found = replaying.differences(decision.record, again)
    if as_json:
        click.echo(
            msgspec.json.encode(
                {
                    "decision_id": decision_id,
                    "identical": not found,
                    "code_version": {"recorded": decision.record.code_version, "again": nextbest.__version__},
                    "differences": [each._asdict() for each in found],
                }
            )
        )
    else:
        _show(decision.record, found)
    sys.exit(1 if found else 0)


def _show(record: DecisionRecord, found: list[replaying.Difference]) -> None:
    shadow = f", shadow policy {record.shadow}" if record.shadow else ""
    about = f"decision {record.decision_id} ({record.mode}{shadow}, {record.occurred_at:%Y-%m-%d %H:%M:%S} UTC)"
    if found:
        click.echo(f"{about}: {len(found)} differences")
        for each in found[:_SHOWN]:
            click.echo(f"  {each.place}: recorded {_written(each.recorded)}, now {_written(each.again)}")
        if len(found) > _SHOWN:
            click.echo(f"  and {len(found) - _SHOWN} more (--json has them all)")
    else:
        click.echo(f"{about}: identical, bit for bit")
    if record.code_version != nextbest.__version__:
        click.echo(f"decided by nextbest {record.code_version}, and again by {nextbest.__version__}")


def _written(value: object) -> str:
    return "nothing" if value is None else msgspec.json.encode(value).decode()


@click.command("why-not")
@click.argument("decision_id", metavar="ID")
@click.argument("action")
@click.option("--placement", help="Of the decision; without it, the one in which least would have to change.")
@_AS_JSON
def why_not(decision_id: str, action: str, placement: str | None, *, as_json: bool) -> None:
    """Say why decision ID did not choose ACTION, and the smallest change that makes it the first choice.

    First everything that stopped the action, each with what lifts it; then, if it still is not first, the one number of
    its priority that has to change least. `do_nothing` is an action too. Servers may run or not; nothing is changed.

    The status is 0 if there is an answer; 1 if there is none, for a part of the decision is missing, or the decision
    never had to do with the action; and 2 if the command was called wrongly.

    Example: nextbest why-not 5e8c2f0a91b34d7c8f6e0d1a2b3c4d5e seafood_frozen --placement home_banner
    """
    decision = find(Settings.from_env(), decision_id)
    answer = asking.why_not(decision.record, decision.policy, decision.models, action, placement)
    click.echo(msgspec.json.encode(answer) if as_json else answer.text)
