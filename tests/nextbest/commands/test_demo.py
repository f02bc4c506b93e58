import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from nextbest.adapters.supervisor import Service, Supervisor
from nextbest.commands import processes
from nextbest.commands.demo import Demo, DemoError, Report
from nextbest.commands.demo import demo as command
from nextbest.settings import Settings

OUTCOME = {
    "landed": {"customers": {"received": 2, "landed": 1, "rejected": 1}},
    "checks": {"passed": 3, "failed": 1, "warned": 0},
    "models": [],
    "seconds": {"landing": 1.5},
}


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    settings = Settings(home=tmp_path)
    return Demo(settings, Supervisor.of(settings), Console(quiet=True), Report())


def _pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let `script` be what runs in place of the pipeline; its last argument is where the outcome goes."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nfor path; do :; done\n{script}\n")
    stand_in.chmod(0o700)
    monkeypatch.setattr(processes, "PYTHON", str(stand_in))


def test_a_failed_pipeline_is_in_the_report(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which checks failed is what its reader wants to know."""
    _pipeline(tmp_path, monkeypatch, f"echo '{json.dumps(OUTCOME)}' > $path; exit 1")
    with pytest.raises(DemoError, match="ended with status 1"):
        demo.prepare_and_train()
    assert {name: getattr(demo.report, name) for name in OUTCOME} == OUTCOME


def test_a_pipeline_that_said_nothing_is_an_error(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended before there was anything to report."""
    _pipeline(tmp_path, monkeypatch, "exit 2")
    with pytest.raises(DemoError, match="ended with status 2"):
        demo.prepare_and_train()
    assert demo.report == Report()


def test_servers_that_a_person_started_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo starts its own: it says so, and does not end what runs."""
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    supervisor = Supervisor.of(Settings(home=tmp_path))
    process = supervisor.start(Service(name="serving", argv=["sleep", "60"]))
    try:
        result = CliRunner().invoke(command, ["--once"])
        assert isinstance(result.exception, DemoError)
        assert "serving of this home run already" in str(result.exception)
        assert process.poll() is None
    finally:
        supervisor.stop_all(grace_s=1)
        process.wait(timeout=10)
