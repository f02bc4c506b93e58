"""The command line as a whole: what it finds, how it fails, that every command is documented."""

import errno
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from nextbest import cli
from nextbest.errors import NextbestError
from nextbest.settings import CHECKOUT

COMMANDS = {entry.name: entry for entry in entry_points(group=cli.GROUP)}


def subcommands(command: click.Command) -> list[click.Command]:
    return list(command.commands.values()) if isinstance(command, click.Group) else [command]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    """A person learns a command from its help, and copies the example."""
    for command in subcommands(COMMANDS[name].load()):
        _, _, example = (command.help or "").partition("Example: ")
        assert "nextbest " in example, command.name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_documentation(name: str) -> None:
    """The README names every command."""
    assert f"`nextbest {name}" in (CHECKOUT / "README.md").read_text()


def test_an_error_of_ours_is_one_line_however_deep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frameworks wrap what our code raises; a person still reads only what to mend."""

    def fail() -> None:
        raise RuntimeError("while loading") from NextbestError("no such table")

    monkeypatch.setattr(cli, "cli", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "nextbest: no such table\n"


def test_a_home_that_is_a_file_is_said_in_one_line(tmp_path: Path) -> None:
    """A full disk or a folder of somebody else's is no defect of ours."""
    home = tmp_path / "home"
    home.touch()
    environment = {**os.environ, "NEXTBEST_HOME": str(home)}
    command = [sys.executable, "-m", "nextbest", "pipeline"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == f"nextbest: Not a directory: {home}/.nextbest/run (NEXTBEST_HOME says where state goes)\n"


def test_another_error_of_the_system_keeps_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that we forgot to write is a defect."""

    def fail() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "model.onnx")

    monkeypatch.setattr(cli, "cli", fail)
    with pytest.raises(FileNotFoundError):
        cli.main()


def test_an_unknown_error_keeps_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect is not dressed up as a mistake of the user's."""

    def fail() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(cli, "cli", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main()
