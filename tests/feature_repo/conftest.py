import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nextbest.adapters.marts import publish
from nextbest.settings import CHECKOUT, Settings

REPOSITORY = CHECKOUT / "feature_repo"
MARTS = [
    "customer_profile",
    "customer_rfm",
    "department_affinity",
    "category_affinity",
    "contact_response",
    "propensity_labels",
]


def _run(settings: Settings, *command: str | Path) -> str:
    folders = {"DBT_TARGET_PATH": str(settings.state / "target"), "DBT_LOG_PATH": str(settings.state / "logs")}
    done = subprocess.run(
        command, env={**os.environ, **settings.environment(), **folders}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def home(landed_home: Settings, built: "subprocess.CompletedProcess[str]") -> Settings:
    """A home with the published marts of 60 households."""
    assert built.returncode == 0, built.stdout
    publish(landed_home.warehouse, landed_home.marts, MARTS, "test")
    return landed_home


def _apply(home: Settings) -> None:
    """Tell Feast's registry of that home what the repository declares."""
    home.feast_registry.parent.mkdir(parents=True, exist_ok=True)
    _run(home, sys.executable, REPOSITORY / "apply.py")


def _materialize(home: Settings) -> dict[str, int]:
    """What `materialize.py` says of the last eight days."""
    now = datetime.now(UTC).replace(microsecond=0)
    window = ["--start", (now - timedelta(days=8)).isoformat(), "--end", now.isoformat()]
    rows: dict[str, int] = json.loads(_run(home, sys.executable, REPOSITORY / "materialize.py", *window))
    return rows


@pytest.fixture(name="apply")
def apply_fixture() -> Callable[[Settings], None]:
    return _apply


@pytest.fixture(name="materialize")
def materialize_fixture() -> Callable[[Settings], dict[str, int]]:
    return _materialize


@pytest.fixture(scope="session")
def materialized(home: Settings) -> dict[str, int]:
    """What came of it in that home."""
    _apply(home)
    return _materialize(home)


@pytest.fixture
def store(home: Settings, materialized: object, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ARG001  first
    """Feast's own client on that home."""
    from feast import FeatureStore  # noqa: PLC0415  takes seconds: not while tests are collected

    for variable, value in home.environment().items():
        monkeypatch.setenv(variable, value)
    return FeatureStore(repo_path=str(REPOSITORY))
