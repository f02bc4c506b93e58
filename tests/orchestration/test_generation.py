"""What is made of the contracts is up to date, and says what lineage and the contracts say."""

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from nextbest.adapters.contract_files import load_contracts
from nextbest.lineage import Column, Kind, Lineage
from nextbest.settings import CHECKOUT, Settings
from orchestration.contract_commands import contracts
from orchestration.generation import MARK, dbt_files, generate
from orchestration.lineage import read_lineage
from orchestration.privacy import leaks

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
PII = Column("contract", "identities", "value")


@pytest.fixture(scope="module")
def home(lineage_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the checkout's contracts, into which everything was generated."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    shutil.copytree(lineage_home.state / "lineage", settings.state / "lineage")
    assert generate(settings, write=True)
    return settings


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A home with contracts and a dbt project of its own."""
    for name in ("data_contracts", "dbt_project"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("target", "logs"))
    return tmp_path


def _check(home: Path) -> Result:
    return CliRunner(env={"NEXTBEST_HOME": str(home)}).invoke(contracts, ["generate", "--check"])


def _pages(home: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (home / "docs" / "contracts").iterdir()}


def test_dbt_knows_the_contracts_as_they_are() -> None:
    """Whoever edits a contract runs `make generate`, or this fails."""
    assert dbt_files(CHECKOUT / "dbt_project", CONTRACTS).stale() == []


def test_the_pages_tell_the_contracts_as_they_are(home: Settings) -> None:
    """The same for docs/contracts/, which also tells who reads what; every contract has its page there."""
    assert _pages(CHECKOUT) == _pages(home.home)
    assert {f"{name}.md" for name in CONTRACTS} < _pages(home.home).keys()


def test_what_is_generated_says_so_and_stays(home: Settings) -> None:
    """The first lines name the command, and a second run has nothing to do."""
    assert all(MARK in "".join(text.splitlines()[:2]) for text in _pages(home.home).values())
    assert generate(home, write=True) == []
    result = _check(home.home)
    assert result.exit_code == 0
    assert "up to date" in result.output


def test_the_page_of_a_contract_that_is_gone_goes(home: Settings) -> None:
    """A page that somebody wrote beside stays."""
    folder = home.home / "docs" / "contracts"
    left, written = folder / "left.md", folder / "written.md"
    left.write_text(f"<!-- {MARK} -->\n")
    written.write_text("By hand.\n")
    assert generate(home, write=False) == [left]
    assert generate(home, write=True) == [left]
    assert not left.exists()
    assert written.read_text() == "By hand.\n"
    written.unlink()


def test_an_edited_contract_makes_files_stale(own: Path) -> None:
    """The status is 1 and the files are named; nothing is written."""
    contract = own / "data_contracts" / "products.odcs.yaml"
    contract.write_text(contract.read_text().replace("Who makes it.", "The maker."))
    staging = own / "dbt_project" / "models" / "staging"
    before = (staging / "stg_products.yml").read_text()
    result = _check(own)
    assert result.exit_code == 1
    assert f"not up to date: {staging / '_sources.yml'}" in result.output
    assert f"not up to date: {staging / 'stg_products.yml'}" in result.output
    assert "stg_customers" not in result.output
    assert (staging / "stg_products.yml").read_text() == before


def test_a_contract_without_a_model_is_a_source_alone(own: Path) -> None:
    """Nobody has to model everything that lands."""
    raw = msgspec.structs.replace(CONTRACTS["products"], name="raw")
    files = dbt_files(own / "dbt_project", CONTRACTS | {"raw": raw})
    assert [path.name for path in files.write()] == ["_sources.yml"]
    assert "- name: raw" in (own / "dbt_project" / "models" / "staging" / "_sources.yml").read_text()


def test_what_identifies_a_person_stays_in_staging(home: Settings) -> None:
    """No mart, feature view, model, policy or event is made of it: the graph of who reads what says so."""
    lineage = read_lineage(home)
    assert [str(reader) for reader in lineage.consumers("identities", "value")] == ["dbt model stg_identities.value"]
    assert leaks(CONTRACTS, lineage) == []


@pytest.mark.parametrize("kind", ["dbt model", "feature view", "model", "policy", "event log"])
def test_a_leak_is_found(kind: Kind) -> None:
    """Also behind staging, whatever reads it."""
    staged = Column("dbt model", "stg_identities", "value")
    end = Column(kind, "reader", "mail")
    lineage = Lineage({PII: [staged], staged: [end]})
    assert leaks(CONTRACTS, lineage) == [("identities.value", end)]
