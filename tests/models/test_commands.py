"""The command line says what it does, with an example, and reports an empty registry in words."""

import pytest
from click.testing import CliRunner

from models.commands import follow, models
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
