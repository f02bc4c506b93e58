import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.sources import load_source
from nextbest.settings import CHECKOUT, Settings

PROJECT = CHECKOUT / "dbt_project"

Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home in which the data of 60 households has landed."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), households=60)
    door = Door(settings.landing, settings.quarantine, load_contracts(settings.folder("contracts")))
    door.prepare()
    source = load_source(settings)
    assert source is not None
    for contract in source.contracts():
        door.land(contract, source.read(contract), source_name=source.name)
    return settings


@pytest.fixture(scope="session")
def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture(scope="session")
def dbt(home: Settings, yesterday: date) -> Dbt:
    """Run dbt on that home, as of yesterday; the output and exit code are the test's to judge."""
    home.warehouse.parent.mkdir(parents=True)
    folders = {"DBT_TARGET_PATH": str(home.state / "target"), "DBT_LOG_PATH": str(home.state / "logs")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        options = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--vars", f"as_of: '{yesterday}'"]
        return subprocess.run(
            [Path(sys.executable).with_name("dbt"), *arguments, *options],
            env={**os.environ, **home.environment(), **folders},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def built(dbt: Dbt) -> "subprocess.CompletedProcess[str]":
    """`dbt build` of everything: models, data tests and unit tests."""
    return dbt("build")


@pytest.fixture
def warehouse(home: Settings, built: "subprocess.CompletedProcess[str]") -> Iterator[duckdb.DuckDBPyConnection]:
    """What `dbt build` made of that home, to read."""
    assert built.returncode == 0, built.stdout
    with duckdb.connect(home.warehouse, read_only=True) as connection:
        yield connection
