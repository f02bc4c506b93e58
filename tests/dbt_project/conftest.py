import subprocess
from collections.abc import Iterator

import duckdb
import pytest

from nextbest.settings import Settings


@pytest.fixture(scope="session")
def home(landed_home: Settings) -> Settings:
    """The home that dbt builds the warehouse of."""
    return landed_home


@pytest.fixture
def warehouse(home: Settings, built: "subprocess.CompletedProcess[str]") -> Iterator[duckdb.DuckDBPyConnection]:
    """What `dbt build` made of that home, to read."""
    assert built.returncode == 0, built.stdout
    with duckdb.connect(home.warehouse, read_only=True) as connection:
        yield connection
