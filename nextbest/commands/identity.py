"""`nextbest identity review | link | split`: a person's word on which customers are one.

Belongs here: arguments and output. Does not belong here: what was proposed and what waits (`nextbest.links`), or what a
link does to State (`nextbest.state`).
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

import click
import msgspec
from rich.table import Table

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.link_files import ProposalsError, read_erased, read_proposals, read_verdicts
from nextbest.adapters.logs import open_log
from nextbest.adapters.states import open_state
from nextbest.commands.processes import console
from nextbest.envelope import Envelope
from nextbest.errors import NextbestError
from nextbest.identity import Limits
from nextbest.identity import link as linked
from nextbest.identity import unlink as unlinked
from nextbest.links import Pair, Proposal, pair_of, waiting, without
from nextbest.names import CustomerNames
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError

_by = click.option("--by", metavar="NAME", default="review", help="Who says so, kept in the log with it.")


class IdentityError(NextbestError):
    """Nothing was said of these customers; the message says why."""


@click.group()
def identity() -> None:
    """See which customers may be one person, link them, and take a link back.

    Example: nextbest identity review
    """


@identity.command()
@click.option("--limit", default=20, show_default=True, help="How many to show, the most probable first.")
def review(limit: int) -> None:
    """Show what the pipeline proposed and nobody has decided yet, with what speaks for and against it.

    Weights are in bits: +1 makes it twice as likely that the two are one person, -1 half. They add up to the
    probability.

    Example: nextbest identity review --limit 5
    """
    settings = Settings.from_env()
    found = read_proposals(settings.proposed_links)
    if found is None:
        raise IdentityError("nothing was proposed yet: `nextbest pipeline` looks for customers who are one person")
    with closing(open_log(settings)) as log:
        most = Limits.parse(settings.identity_limits).customers
        waits = waiting(without(found, read_erased(log)), read_verdicts(log), most)
    if not waits:
        click.echo("nothing waits for review")
        return
    table = Table("customer", "other", "probability", "why", box=None)
    for each in waits[:limit]:
        table.add_row(each.customer_id, each.other_id, f"{each.probability:.1%}", _why(each))
    console().print(table, highlight=False)
    click.echo(f"{len(waits):,} wait: `nextbest identity link A B` makes one person of two, `split A B` never does")


@identity.command()
@click.argument("customer_id")
@click.argument("other_id")
@_by
def link(customer_id: str, other_id: str, by: str) -> None:
    """Say that CUSTOMER_ID and OTHER_ID are one person; servers need not run.

    Example: nextbest identity link 439 web-20775110
    """
    settings = Settings.from_env()
    pair = _pair(settings, customer_id, other_id)
    probability = _probability(settings, pair)
    _append(settings, linked(*pair, datetime.now(UTC), by=by, probability=probability))
    click.echo(f"{customer_id} and {other_id} are one person from now on")


@identity.command()
@click.argument("customer_id")
@click.argument("other_id")
@_by
def split(customer_id: str, other_id: str, by: str) -> None:
    """Take back that CUSTOMER_ID and OTHER_ID are one person; no later run links them again.

    Example: nextbest identity split 439 web-20775110
    """
    settings = Settings.from_env()
    pair = _pair(settings, customer_id, other_id)
    _append(settings, unlinked(*pair, datetime.now(UTC), by=by))
    click.echo(f"{customer_id} and {other_id} are two people, whatever later runs of the pipeline find")
    for each in _between(settings, pair):
        click.echo(f"but {each} may join them still: `nextbest identity split {other_id} {each}` ends that")


def _pair(settings: Settings, customer_id: str, other_id: str) -> Pair:
    """Of names that rows and requests may have too: a customer that goes by another is found by nobody."""
    if customer_id == other_id:
        raise IdentityError(f"it takes two customers, and {customer_id} is one")
    names = CustomerNames(load_contracts(settings.folder("contracts"))["identities"])
    for each in (customer_id, other_id):
        try:
            names.meant_by(each.encode().decode())
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise IdentityError(f"{each!r} names nobody: {error}") from error
    return pair_of(customer_id, other_id)


def _probability(settings: Settings, pair: Pair) -> float | None:
    """How probable the model found it; a person's word needs none."""
    try:
        found = read_proposals(settings.proposed_links)
    except ProposalsError as error:
        click.echo(f"how probable it is is not known: {error}", err=True)
        return None
    return next((each.probability for each in found.proposals if each.pair == pair), None) if found else None


def _between(settings: Settings, pair: Pair) -> Sequence[str]:
    """What both were ever said to be one with, as far as State knows."""

    async def read() -> set[str]:
        one, other = [await state.neighbours([name]) for name in pair]
        return (one & other) - {*pair}

    with closing(open_state(settings)) as state:
        try:
            return sorted(asyncio.run(read()))
        except StateUnavailableError as error:
            click.echo(f"whether anything else joins them is not known: {error}", err=True)
            return ()


def _append(settings: Settings, entry: Envelope) -> None:
    """Say it to the log, from which it comes into State as everything does, now or when servers run."""
    with closing(open_log(settings)) as log:
        log.append_sync([entry])


def _why(proposal: Proposal) -> str:
    return ", ".join(f"{each.column} {each.level} {each.weight:+.1f}" for each in proposal.contributions)
