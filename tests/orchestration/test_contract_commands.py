import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nextbest.settings import CHECKOUT
from orchestration.contract_commands import contracts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The contracts of the checkout in a home and git repository of their own."""
    folder = tmp_path / "data_contracts"
    shutil.copytree(CHECKOUT / "data_contracts", folder)
    for arguments in (["init"], ["add", "."], ["commit", "--message", "contracts"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)
    return folder


def _check(folder: Path, against: str = "HEAD") -> Result:
    return CliRunner(env={"NEXTBEST_HOME": str(folder.parent)}).invoke(contracts, ["check", "--against", against])


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def test_no_change_passes(folder: Path) -> None:
    """The status of an unchanged folder is 0."""
    result = _check(folder)
    assert result.exit_code == 0
    assert "0 changes against HEAD" in result.output


def test_a_removed_and_a_retyped_field_fail(folder: Path) -> None:
    """Each is a row of the table, and the status is 1."""
    _edit(folder / "products.odcs.yaml", "name: package_size", "name: size")
    _edit(folder / "transactions.odcs.yaml", "physicalType: BIGINT", "physicalType: DOUBLE")
    result = _check(folder)
    assert result.exit_code == 1
    assert "package_size" in result.output
    assert "field removed" in result.output
    assert "BIGINT" in result.output
    assert "2 of them breaking" in result.output


def test_a_new_major_version_permits_them(folder: Path) -> None:
    """The table still says so, and the status is 0."""
    _edit(folder / "products.odcs.yaml", "name: package_size", "name: size")
    _edit(folder / "products.odcs.yaml", "version: 1.0.0", "version: 2.0.0")
    result = _check(folder)
    assert result.exit_code == 0
    assert "new major version" in result.output


def test_a_removed_contract_fails(folder: Path) -> None:
    """Its consumers have nothing left to read."""
    (folder / "contacts.odcs.yaml").unlink()
    result = _check(folder)
    assert result.exit_code == 1
    assert "contract removed" in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    """A command is learnt from its help."""
    assert "Example: nextbest contracts check --against" in CliRunner().invoke(contracts, arguments).output
