"""`nextbest pause` and `resume`: the kill switch from the command line."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.policy_files import FILES
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.commands.switches import pause, resume
from nextbest.settings import Settings
from nextbest.state import SnapshotScope

AT = datetime(2026, 3, 2, tzinfo=UTC)


ACTION = "bread"


@pytest.fixture
def settings(tmp_path: Path, document: dict[str, Any]) -> Settings:
    """A home with a small policy."""
    (tmp_path / "policies").mkdir()
    for name in FILES:
        (tmp_path / "policies" / f"{name}.yaml").write_text(yaml.safe_dump(document.get(name, {})))
    return Settings(home=tmp_path)


def _use(settings: Settings, command: click.Command, *arguments: str, **env: str) -> Result:
    return CliRunner(env={"NEXTBEST_HOME": str(settings.home), **env}).invoke(command, arguments)


def _paused(settings: Settings) -> tuple[str, ...]:
    with closing(SqliteState(settings.online_state)) as state:
        return asyncio.run(state.snapshot(None, SnapshotScope(AT, AT))).pauses


def test_a_paused_action_is_paused_until_it_is_resumed(settings: Settings) -> None:
    """It binds when the command returns, and using the switch twice says so."""
    first, second = _use(settings, pause, ACTION), _use(settings, pause, ACTION)
    assert first.output == f"{ACTION} is paused: no decision proposes it\n"
    assert second.output == f"{ACTION} is already paused: no decision proposes it\n"
    assert _paused(settings) == (ACTION,)
    assert _use(settings, resume, ACTION).output == f"{ACTION} is running: decisions may propose it\n"
    assert _paused(settings) == ()


def test_the_log_says_why(settings: Settings) -> None:
    """State that is rebuilt from the log knows of it, and a person finds the reason there."""
    _use(settings, pause, ACTION, "--reason", "recalled")
    with closing(SqliteLog(settings.event_log)) as log:
        ((_, record),) = log.read_sync(0, 10)
    assert (record.type, record.action, record.properties) == ("pause", ACTION, {"reason": "recalled"})


def test_an_unknown_action_is_refused_with_near_names(settings: Settings) -> None:
    """A slip of the finger is told before anybody believes that the action is stopped."""
    result = _use(settings, pause, f"{ACTION}x")
    assert result.exit_code == 1
    assert f"no action '{ACTION}x': " in str(result.exception)
    assert f"did you mean '{ACTION}'?" in str(result.exception)
    assert not settings.event_log.exists()


@pytest.mark.parametrize("edit", ["actions: [", "currency: USD\nactions: []\n"])
def test_what_was_published_can_be_paused_whatever_the_files_say(settings: Settings, edit: str) -> None:
    """Servers decide by the archive: files in the middle of an edit, or without the action already, keep nothing on."""
    read_and_archive(settings.folder("policies"), settings.policies_archive)
    (settings.folder("policies") / "actions.yaml").write_text(edit)
    assert _use(settings, pause, ACTION).exit_code == 0
    assert _paused(settings) == (ACTION,)


def test_a_state_that_is_down_is_told(settings: Settings) -> None:
    """The switch is in the log and binds later: that must not look like success."""
    result = _use(settings, pause, ACTION, NEXTBEST_STATE="redis://127.0.0.1:1/0")
    assert result.exit_code == 1
    assert f"the pause of {ACTION} is logged, and binds once" in str(result.exception)
