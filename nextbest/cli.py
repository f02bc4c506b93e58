"""The command line: collects the commands that the rims declare under the entry point group `nextbest.commands`.

Belongs here: finding commands and printing errors. A command itself lives in `nextbest.commands` or in its rim.
"""

import errno
import sys
from importlib.metadata import entry_points

import click

from nextbest import __version__
from nextbest.errors import NextbestError

GROUP = "nextbest.commands"
_OF_THE_PLACE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What a file system says that is full, guarded, or not as it was thought to be."""


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
    """Run the command line. What a person can mend is shown without a stack trace.

    That is a `NextbestError`, however deep a framework wrapped it, and a place that cannot be written to.
    """
    try:
        cli()
    except Exception as error:
        known = _known_cause(error) or _place(error)
        if known is None:
            raise
        click.echo(f"nextbest: {known}", err=True)
        sys.exit(1)


def _known_cause(error: BaseException | None) -> NextbestError | None:
    while error is not None and not isinstance(error, NextbestError):
        error = error.__cause__ or error.__context__
    return error


def _place(error: Exception) -> str | None:
    """What is wrong with the place that was to be written to, if that is what the error says."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_PLACE:
        return None
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror}{where} (NEXTBEST_HOME says where state goes)"
