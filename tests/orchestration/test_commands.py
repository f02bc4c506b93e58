"""Tests of `orchestration.commands`: what is said before anything runs."""

import fcntl
from pathlib import Path

import pytest
from click.testing import CliRunner

from nextbest.settings import Settings
from orchestration.commands import PipelineError, pipeline


def test_a_home_has_one_pipeline_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one would train the same models again: it is refused, and says why."""
    settings = Settings(home=tmp_path)
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    settings.run.mkdir(parents=True)
    with (settings.run / "pipeline.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = CliRunner().invoke(pipeline)
    assert isinstance(result.exception, PipelineError)
    assert "a pipeline runs already in" in str(result.exception)
