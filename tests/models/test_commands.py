"""The command line says what it does, with an example, and reports an empty registry in words."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest
from click.testing import CliRunner

from models.commands import follow, mlflow, models
from nextbest.adapters.supervisor import MARK, NAME, Supervisor
from nextbest.commands.processes import follower_service, interface_services
from nextbest.settings import Settings


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["promote", "--help"]])
def test_every_command_of_models_shows_an_example(arguments: list[str]) -> None:
    """Nobody has to read the source."""
    result = CliRunner().invoke(models, arguments)
    assert result.exit_code == 0
    assert "Example: nextbest models" in result.output


def test_follow_shows_an_example() -> None:
    """Nobody has to read the source."""
    assert "Example: nextbest follow" in CliRunner().invoke(follow, ["--help"]).output


@pytest.mark.integration
def test_a_new_home_has_no_models_and_says_how_to_get_them(settings: Settings) -> None:
    """An empty table helps nobody."""
    result = CliRunner().invoke(models, ["list"], env=settings.environment())
    assert result.exit_code == 0, result.output
    assert "nextbest pipeline" in result.output


@pytest.mark.integration
def test_following_once_ends_by_itself(settings: Settings) -> None:
    """As the demo uses it: publish what is there, and go."""
    result = CliRunner().invoke(follow, ["--once"], env=settings.environment())
    assert result.exit_code == 0, result.output
    assert "nothing to publish" in result.output


@pytest.mark.integration
def test_a_follower_that_somebody_typed_is_found(settings: Settings) -> None:
    """`nextbest status` shows it, and `nextbest down` ends it."""
    command = [sys.executable, "-m", "nextbest", "follow"]
    with subprocess.Popen(command, env=os.environ | settings.environment(), stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while Supervisor.of(settings).services() != {follower_service().name: process.pid}:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert Supervisor.of(settings).stop_all() == [process.pid]
        finally:
            process.kill()


@pytest.mark.integration
def test_mlflow_that_somebody_typed_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server starts with the mark and the name that `nextbest up` gives it."""
    started: list[Mapping[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda _, __, environment: started.append(environment))
    result = CliRunner().invoke(mlflow, env=settings.environment())
    assert result.exit_code == 0, result.output
    ((mark, name),) = [(environment[MARK], environment[NAME]) for environment in started]
    assert mark == Supervisor.of(settings).mark
    assert name in {service.name for service in interface_services(settings)}
