import json
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft201909Validator  # type: ignore[import-untyped]

from nextbest.adapters.contract_files import contracts_at, load_contracts
from nextbest.contracts import Contract, ContractError
from nextbest.settings import CHECKOUT

FOLDER = CHECKOUT / "data_contracts"
CONTRACTS = load_contracts(FOLDER)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_is_valid_odcs(path: Path) -> None:
    """The standard's own JSON schema finds no error, so that other tools read the files too."""
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text())
    assert not list(Draft201909Validator(schema).iter_errors(yaml.safe_load(path.read_text())))


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_every_contract_says_all_the_house_relies_on(contract: Contract) -> None:
    """Key, source, UTC times, owner, purpose, freshness, retention and a meaning for every column."""
    assert contract.key
    assert contract.field("source").enum == ("live", "import", "simulated")
    assert all(field.name.endswith("_at") for field in contract.fields if field.type == "timestamp")
    assert contract.owner
    assert contract.description
    assert contract.purposes
    assert contract.freshness
    assert contract.retention_days
    assert all(field.description for field in contract.fields)
    assert contract.event_time is None or contract.field(contract.event_time).required


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_every_reference_names_a_field_of_the_same_type(contract: Contract) -> None:
    """A foreign key that points nowhere would reject every row."""
    for field in contract.fields:
        if field.reference:
            target, _, column = field.reference.partition(".")
            assert CONTRACTS[target].field(column).arrow_type == field.arrow_type


def test_personal_data_stays_in_identities() -> None:
    """Everywhere else a customer is a pseudonym."""
    assert {name for name, contract in CONTRACTS.items() for field in contract.fields if field.is_pii} == {"identities"}


def test_a_folder_without_contracts_is_an_error(tmp_path: Path) -> None:
    """A door without contracts would let nothing in, and not say why."""
    with pytest.raises(ContractError, match="holds no contract"):
        load_contracts(tmp_path)


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
    with pytest.raises(ContractError, match="git ls-tree"):
        contracts_at(repository, revision)
