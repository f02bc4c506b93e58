"""The command line says what it does, with an example, and reports an empty registry in words."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from models.commands import follow, mlflow, models
from nextbest.adapters.supervisor import MARK, NAME, Supervisor
from nextbest.commands.processes import follower_service, interface_services
from nextbest.errors import NextbestError
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
def test_a_version_that_no_gate_has_judged_says_so(settings: Settings, two_versions: object) -> None:
    """Its training was killed, or somebody registered it by hand: an empty cell says neither."""
    assert two_versions
    MlflowClient(settings.mlflow_uri, settings.mlflow_uri).delete_model_version_tag("clv", "2", "gate")
    result = CliRunner().invoke(models, ["list"], env=settings.environment())
    [row] = [line for line in result.output.splitlines() if "never judged" in line]
    assert "its training did not end" in row


@pytest.mark.parametrize("arguments", [["promote", "propensty", "1"], ["rollback", "x' or name='clv"]])
def test_a_model_that_there_is_not_is_refused_with_the_names_of_those_there_are(arguments: list[str]) -> None:
    """A typing error is no question to the registry."""
    result = CliRunner().invoke(models, arguments)
    assert result.exit_code == 2
    assert "'propensity', 'clv', 'churn'" in result.output


@pytest.mark.integration
@pytest.mark.parametrize("content", [b"no database at all, but long enough to be taken for one" * 9, b""])
def test_a_store_that_cannot_be_used_is_named_in_words(settings: Settings, content: bytes) -> None:
    """Which file, what is wrong, and that serving goes on; one that is empty is a new one."""
    settings.mlflow_artifacts.mkdir(parents=True)
    settings.mlflow_store.write_bytes(content)
    result = CliRunner().invoke(models, ["rollback", "clv"], env=settings.environment())
    assert isinstance(result.exception, NextbestError)
    known = f"{settings.mlflow_store} cannot be used: " if content else "clv had no champion before this one"
    assert known in str(result.exception)


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
