"""`nextbest keys`: a key is shown once, and never again."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nextbest.adapters.key_file import KeyFile, KeyFileError
from nextbest.commands.keys import keys
from nextbest.keys import found
from nextbest.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    return Settings.from_env()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keys, arguments)


def test_a_key_is_all_that_is_printed(settings: Settings) -> None:
    """So that a script can take it; what it is good for goes to standard error."""
    result = run("create", "--scopes", "events, decide", "--name", "shop", "--rate", "5")
    key = found(result.stdout.strip(), KeyFile(settings.api_keys).read())
    assert key is not None
    assert (key.name, key.scopes, key.rate_per_s) == ("shop", ("decide", "events"), 5)
    assert "decide, events" in result.stderr


def test_the_list_shows_no_secret(settings: Settings) -> None:
    """Names, scopes and limits; without keys, how to make one."""
    assert "nextbest keys create" in run("list").stdout
    secret = run("create", "--scopes", "decide", "--name", "shop").stdout.strip()
    shown = run("list").stdout
    assert "shop" in shown
    assert secret not in shown
    assert all(key.sha256 not in shown for key in KeyFile(settings.api_keys).read().values())


def test_a_revoked_key_is_gone(settings: Settings) -> None:
    """And the command says whose it was."""
    run("create", "--scopes", "decide", "--name", "shop")
    (key_id,) = KeyFile(settings.api_keys).read()
    assert run("revoke", key_id).stdout == f"key {key_id} of shop is revoked\n"
    assert KeyFile(settings.api_keys).read() == {}


@pytest.mark.usefixtures("settings")
def test_a_scope_that_is_none_is_refused() -> None:
    """With the one that was meant."""
    result = run("create", "--scopes", "decde")
    assert result.exit_code == 2
    assert "decide" in result.stderr


def test_a_whole_key_is_revoked_and_never_shown(settings: Settings) -> None:
    """Whoever has it at hand need not cut the id out; and what is mistyped of it is not repeated."""
    text = run("create", "--scopes", "decide").stdout.strip()
    mistyped = run("revoke", text[:-1])
    assert isinstance(mistyped.exception, KeyFileError)
    assert text[12:-1] not in str(mistyped.exception)
    assert run("revoke", text).stdout == f"key {text[3:11]} is revoked\n"
    assert KeyFile(settings.api_keys).read() == {}


def test_scopes_may_have_spaces_between(settings: Settings) -> None:
    """As a shell's words do; none at all are refused."""
    run("create", "--scopes", "decide events")
    [key] = KeyFile(settings.api_keys).read().values()
    assert key.scopes == ("decide", "events")
    assert run("create", "--scopes", " ").exit_code == 2
