import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.marts import publish
from nextbest.adapters.sources import load_source
from nextbest.settings import CHECKOUT, Settings

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
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the published marts of 60 households."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), households=60)
    door = Door(settings.landing, settings.quarantine, load_contracts(settings.folder("contracts")))
    door.prepare()
    source = load_source(settings)
    assert source is not None
    for contract in source.contracts():
        door.land(contract, source.read(contract), source_name=source.name)
    settings.warehouse.parent.mkdir(parents=True)
    project = settings.folder("dbt")
    models = ["--select", *(f"+{mart}" for mart in MARTS)]
    _run(
        settings,
        Path(sys.executable).with_name("dbt"),
        "run",
        *models,
        "--project-dir",
        project,
        "--profiles-dir",
        project,
    )
    publish(settings.warehouse, settings.marts, MARTS, "test")
    return settings


def _materialize(home: Settings) -> dict[str, int]:
    """What `materialize.py` says of the last eight days."""
    home.feast_registry.parent.mkdir(parents=True, exist_ok=True)
    repository = CHECKOUT / "feature_repo"
    _run(home, Path(sys.executable).with_name("feast"), "--chdir", repository, "apply")
    now = datetime.now(UTC).replace(microsecond=0)
    window = ["--start", (now - timedelta(days=8)).isoformat(), "--end", now.isoformat()]
    rows: dict[str, int] = json.loads(_run(home, sys.executable, repository / "materialize.py", *window))
    return rows


@pytest.fixture(name="materialize")
def materialize_fixture() -> Callable[[Settings], dict[str, int]]:
    return _materialize


@pytest.fixture(scope="session")
def materialized(home: Settings) -> dict[str, int]:
    """What came of it in that home."""
    return _materialize(home)


@pytest.fixture
def store(home: Settings, materialized: object, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ARG001  first
    """Feast's own client on that home."""
    from feast import FeatureStore  # noqa: PLC0415  takes seconds: not while tests are collected

    for variable, value in home.environment().items():
        monkeypatch.setenv(variable, value)
    return FeatureStore(repo_path=str(CHECKOUT / "feature_repo"))
