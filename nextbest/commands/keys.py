"""`nextbest keys`: who may ask the API for what.

Belongs here: arguments and output. A key is printed once, alone on standard output, and kept nowhere. Does not belong
here: the file of keys (`nextbest.adapters.key_file`), or asking for them (serving).
"""

from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from nextbest.adapters.key_file import KeyFile
from nextbest.advice import did_you_mean
from nextbest.keys import SCOPES, Scope, id_of
from nextbest.settings import Settings

_RATE_PER_S = 1_000


def _scopes(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[Scope, ...]:
    """Scopes, with commas or spaces between them."""
    named = value.replace(",", " ").split() or [value]
    for each in named:
        if each not in SCOPES:
            hint = did_you_mean(each, SCOPES)
            raise click.BadParameter(f"there is no scope {each!r}: there are {', '.join(SCOPES)}{hint}")
    return tuple(scope for scope in SCOPES if scope in named)


@click.group()
def keys() -> None:
    """API keys: every request but those about the server's health needs one.

    Example: nextbest keys create --scopes decide,events --name shop
    """


@keys.command()
@click.option(
    "--scopes",
    required=True,
    callback=_scopes,
    metavar="SCOPES",
    help="What it is good for, with commas between: "
    + "; ".join(f"{scope}: {meaning}" for scope, meaning in SCOPES.items())
    + ".",
)
@click.option("--name", default="", help="Who uses it.")
@click.option(
    "--rate",
    default=_RATE_PER_S,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    help="Most requests a second; 0 for no limit.",
)
def create(*, scopes: tuple[Scope, ...], name: str, rate: int) -> None:
    """Make a key and print it: this is the only time it is shown.

    Servers that run take it at once.

    Example: KEY=$(nextbest keys create --scopes decide --name shop)
    """
    key, text = KeyFile(Settings.from_env().api_keys).create(name, scopes, rate, datetime.now(UTC))
    click.echo(f"key {key.id} is good for {', '.join(key.scopes)}; it is not shown again:", err=True)
    click.echo(text)


@keys.command("list")
def list_() -> None:
    """Show the keys there are, and nothing that would let anybody use one.

    Example: nextbest keys list
    """
    table = Table("id", "name", "scopes", "requests/s", "created", box=None)
    for key in KeyFile(Settings.from_env().api_keys).read().values():
        rate = f"{key.rate_per_s:,}" if key.rate_per_s else "no limit"
        table.add_row(key.id, key.name, ", ".join(key.scopes), rate, f"{key.created_at:%Y-%m-%d %H:%M}")
    Console().print(table if table.row_count else "there are no keys: `nextbest keys create` makes one")


@keys.command()
@click.argument("key_id", metavar="ID")
def revoke(key_id: str) -> None:
    """Revoke key ID: no replica takes it from now on. The whole key names itself too.

    Example: nextbest keys revoke 5f2c8a01
    """
    key = KeyFile(Settings.from_env().api_keys).revoke(id_of(key_id))
    click.echo(f"key {key.id}{f' of {key.name}' if key.name else ''} is revoked")
