import shutil
import subprocess
from pathlib import Path

import pytest

from nextbest.adapters.contract_files import RevisionError, contracts_at, load_contracts, path_in_repository
from nextbest.contracts import Contract, ContractError
from nextbest.settings import CHECKOUT

FOLDER = CHECKOUT / "data_contracts"
CONTRACTS = load_contracts(FOLDER)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_every_contract_keeps_the_grammar_of_the_house(contract: Contract) -> None:
    """Where a row comes from is in it, and moments are named so; what every contract must say is checked elsewhere."""
    assert contract.field("source").enum == ("live", "import", "simulated")
    assert all(field.name.endswith("_at") for field in contract.fields if field.type == "timestamp")


def test_a_folder_without_contracts_is_an_error(tmp_path: Path) -> None:
    """A door without contracts would let nothing in, and not say why."""
    with pytest.raises(ContractError, match="holds no contract"):
        load_contracts(tmp_path)


def test_a_contract_that_a_folder_lacks_is_named(tmp_path: Path) -> None:
    """A home that keeps contracts of its own learns what a newer version wants of it."""
    shutil.copy(FOLDER / "events.odcs.yaml", tmp_path)
    held = load_contracts(tmp_path)
    assert held["events"] == CONTRACTS["events"]
    with pytest.raises(ContractError, match=r"holds no contract signals.*copy signals\.odcs\.yaml there"):
        held["signals"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.odcs.yaml", "name: [", "a.odcs.yaml is no ODCS v3 contract"),
        ("a.odcs.yaml", "just text", "a.odcs.yaml is no ODCS v3 contract"),
        ("a.odcs.yaml", "surprise: 1", "a.odcs.yaml is no ODCS v3 contract"),
        ("a.odcs.yaml", "name: Käse".encode("latin-1"), "a.odcs.yaml is no ODCS v3 contract: .*utf-8"),
        ("a.odcs.yaml", "[" * 5_000 + "]" * 5_000, "a.odcs.yaml is no ODCS v3 contract: .*recursion"),
        ("a.odcs.yaml", "name: 2026-02-30", "a.odcs.yaml is no ODCS v3 contract: day is out of range"),
        ("a.odcs.yaml", (FOLDER / "events.odcs.yaml").read_text(), "a.odcs.yaml holds the contract events"),
    ],
)
def test_a_file_that_is_no_contract_is_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    """Whoever edits a contract learns which file is wrong."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ContractError, match=message):
        load_contracts(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository whose first commit has no contract and whose second has one, since removed."""
    folder = tmp_path / "project" / "data_contracts"
    folder.mkdir(parents=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "--message", "nothing")
    (folder / "events.odcs.yaml").write_text((FOLDER / "events.odcs.yaml").read_text())
    git("add", ".")
    git("commit", "--message", "one contract")
    (folder / "events.odcs.yaml").unlink()
    return folder


def test_reads_the_contracts_of_a_revision(repository: Path) -> None:
    """What is in the folder now does not matter, nor that it was not there before."""
    assert contracts_at(repository, "HEAD") == {"events": CONTRACTS["events"]}
    assert contracts_at(repository, "HEAD~1") == {}


@pytest.mark.parametrize("revision", ["nowhere", "--help"])
def test_an_unknown_revision_is_an_error(repository: Path, revision: str) -> None:
    """It is not the same as a revision without contracts, and never an option of git."""
    with pytest.raises(RevisionError, match="git ls-tree"):
        contracts_at(repository, revision)


def test_without_git_there_is_no_revision(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and the folder is still known by its name."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RevisionError, match="git is not installed"):
        contracts_at(repository, "HEAD")
    assert path_in_repository(repository) == "data_contracts"


def test_knows_where_it_is_in_its_repository(repository: Path, tmp_path: Path) -> None:
    """Reports name files as the repository does; a folder in none is named by itself."""
    assert path_in_repository(repository) == "project/data_contracts"
    assert path_in_repository(tmp_path) == ""
