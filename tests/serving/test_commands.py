"""`nextbest scale` and `nextbest roll` where they can do nothing (`test_under_load.py` has a server for them)."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nextbest.adapters.supervisor import ServiceError
from serving.commands import roll, scale


@pytest.mark.parametrize(("command", "words"), [(scale, ["2"]), (roll, [])])
def test_without_a_server_it_says_so(
    command: click.Command, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and no order is left for a server that starts later."""
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, ServiceError)
    assert str(result.exception) == f"no server runs in {tmp_path}: `nextbest up` starts one"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replicas", ["0", "65", "many"])
def test_a_number_that_cannot_be_is_refused(replicas: str) -> None:
    """As NEXTBEST_REPLICAS refuses it."""
    result = CliRunner().invoke(scale, [replicas])
    assert result.exit_code == 2
    assert "Invalid value for 'N'" in result.stderr
