"""The command line: collects the commands that the rims declare under the entry point group `nextbest.commands`.

Belongs here: finding commands and printing errors. A command itself lives in `nextbest.commands` or in its rim.
"""

import sys
from importlib.metadata import entry_points

import click

from nextbest import __version__
from nextbest.errors import NextbestError

GROUP = "nextbest.commands"


class _Commands(click.Group):
    """Loads a command's module when it is called, so that `nextbest --help` and light commands start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return sorted(entry.name for entry in entry_points(group=GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's
        for entry in entry_points(group=GROUP, name=cmd_name):
            command: click.Command = entry.load()
            return command
        return None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nextbest")
def cli() -> None:
    """Decide the best thing to do next for one customer at one moment, and learn from what happens.

    Example: nextbest demo --once
    """


def main() -> None:
    """Run the command line; a `NextbestError`, however deep a framework wrapped it, is shown without a stack trace."""
    try:
        cli()
    except Exception as error:
        known = _known_cause(error)
        if known is None:
            raise
        click.echo(f"nextbest: {known}", err=True)
        sys.exit(1)


def _known_cause(error: BaseException | None) -> NextbestError | None:
    while error is not None and not isinstance(error, NextbestError):
        error = error.__cause__ or error.__context__
    return error
