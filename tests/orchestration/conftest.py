"""A real run of the pipeline on a sample, and lineage read from dbt and Feast: once for all tests that look at it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nextbest.settings import Settings
from orchestration.commands import run
from orchestration.instance import RUN_MARK

HOUSEHOLDS = 150

_NOT_OURS = (
    # dagster-dbt and Feast parse SQL with a package that recommends its successor.
    "ignore:sqlglotrs is deprecated:DeprecationWarning",
    # Feast's DuckDB store is ibis, which calls DuckDB by a name that DuckDB has renamed.
    r"ignore:fetch_arrow_table\(\) is deprecated:DeprecationWarning",
    # Great Expectations looks for every cloud it could run in, and takes constants from where Python will drop them.
    "ignore:Please install grpcio-status:ImportWarning",
    "ignore:module 'sre_.*' is deprecated:DeprecationWarning",
    # Dagster reads the fields of its resources by a name that pydantic has replaced.
    "ignore:The `__fields__` attribute is deprecated:DeprecationWarning",
    # Dagster announces what may change in its own next versions wherever it uses it itself.
    "ignore::dagster.BetaWarning",
    "ignore::dagster.PreviewWarning",
    "ignore::dagster.SupersessionWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors; these are about calls between packages that are not ours."""
    for line in _NOT_OURS:
        config.addinivalue_line("filterwarnings", line)


@dataclass(frozen=True, slots=True)
class Home:
    """A home, and the way to run its pipeline in this process."""

    settings: Settings

    def run(self, **options: Any) -> tuple[dict[str, Any], str]:
        """The report and what was printed."""
        output = StringIO()
        with self.environment():
            _, report = run(self.settings, Console(file=output, width=200), **options)
        return report, output.getvalue()

    @contextmanager
    def environment(self) -> Iterator[None]:
        """What a process of this home sees; put back afterwards, so that the next test sees its own."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.settings.environment().items():
                patch.setenv(name, value)
            patch.delenv(RUN_MARK, raising=False)
            yield


@pytest.fixture(scope="session")
def home_of() -> Callable[[Settings], Home]:
    """The way to any home's pipeline."""
    return Home


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of its own with a sample of households; nothing has run in it yet."""
    return Home(Settings(home=tmp_path_factory.mktemp("home"), households=HOUSEHOLDS))


@pytest.fixture(scope="session")
def first_run(home: Home) -> dict[str, Any]:
    """The report of the first run in the home."""
    report, output = home.run()
    assert report["ok"], output
    return report


@pytest.fixture(scope="session")
def lineage_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home without data, of which lineage is known: what reads what is there before anything is built."""
    from orchestration.lineage import read_lineage  # noqa: PLC0415  it warns on import, which is let through from here on

    settings = Settings(home=tmp_path_factory.mktemp("lineage"))
    read_lineage(settings)
    assert not settings.warehouse.exists()
    return settings


@pytest.fixture
def empty_home(tmp_path: Path) -> Home:
    """A home that a test may break."""
    return Home(Settings(home=tmp_path, households=20))
