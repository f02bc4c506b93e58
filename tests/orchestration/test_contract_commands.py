"""`nextbest contracts check`: what it says, writes and returns."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nextbest.lineage import Column, Lineage
from nextbest.settings import CHECKOUT
from orchestration import contract_commands
from orchestration.contract_commands import contracts

RENAMED = ("products.odcs.yaml", "name: package_size", "name: size")
RAISED = ("products.odcs.yaml", "version: 1.1.0", "version: 2.0.0")
READER = Column("dbt model", "stg_products", "package_size")
LINEAGE = Lineage({Column("contract", "products", "package_size"): [READER]})


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The contracts of the checkout in a home and git repository of their own."""
    folder = tmp_path / "data_contracts"
    shutil.copytree(CHECKOUT / "data_contracts", folder)
    for arguments in (["init"], ["add", "."], ["commit", "--message", "contracts"]):
        _git(tmp_path, *arguments)
    return folder


@pytest.fixture
def folder(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That repository, whose products somebody reads: finding out who really does takes seconds, once is enough."""
    monkeypatch.setattr(contract_commands, "read_lineage", lambda *_: LINEAGE)
    return repository


def _check(folder: Path, *arguments: str, against: str | None = "HEAD") -> Result:
    revision = ["--against", against] if against else []
    return CliRunner(env={"NEXTBEST_HOME": str(folder.parent)}).invoke(contracts, ["check", *revision, *arguments])


def _edit(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))


def _migrate_products(folder: Path) -> None:
    path = folder / "migrations" / "products" / "1-to-2.sql"
    path.parent.mkdir(parents=True)
    path.write_text("select * exclude (package_size), package_size as size from landed")


def test_no_change_passes(folder: Path) -> None:
    """The status of an unchanged folder is 0."""
    result = _check(folder)
    assert result.exit_code == 0
    assert "0 changes against HEAD: 0 breaking, 0 minor, 0 compatible; 0 problems, 0 warnings" in result.output


def test_without_a_revision_the_contracts_are_checked_themselves(folder: Path) -> None:
    """Every mistake at once, with file and line; nothing is compared."""
    assert _check(folder, against=None).output == "10 contracts, 0 problems\n"
    _edit(folder, "products.odcs.yaml", "required: true", "requird: true")
    _edit(folder, "events.odcs.yaml", "team:\n  name: digital-channels\n", "")
    for against in (None, "HEAD"):
        result = _check(folder, against=against)
        assert result.exit_code == 1
        line = 1 + (folder / "products.odcs.yaml").read_text().partition("requird")[0].count("\n")
        mistake = f"data_contracts/products.odcs.yaml:{line}: schema.0.properties.0.requird: the standard knows"
        assert mistake in result.output
        assert "data_contracts/events.odcs.yaml:1: `team` does not say who answers for it" in result.output
    assert "they are compared with HEAD once these are mended" in result.output


def test_a_breaking_change_fails_until_it_has_version_and_migration(folder: Path) -> None:
    """Each step says what the next one is; in the end it passes, and still tells whom it hits."""
    _edit(folder, *RENAMED)
    result = _check(folder)
    assert result.exit_code == 1
    assert "renamed to size?" in result.output
    assert "version 1.1.0 must become 2.0.0 or higher: a new major version for package_size" in result.output
    _edit(folder, *RAISED)
    result = _check(folder)
    assert result.exit_code == 1
    assert "data_contracts/migrations/products/1-to-2.sql is missing: one DuckDB SELECT over `landed`" in result.output
    _migrate_products(folder)
    result = _check(folder)
    assert result.exit_code == 0
    assert "1 breaking, 1 minor, 1 compatible; 0 problems, 1 warnings" in result.output


def test_a_migration_that_gives_other_columns_fails(folder: Path) -> None:
    """It is named with what is wrong."""
    _edit(folder, *RENAMED)
    _edit(folder, *RAISED)
    _migrate_products(folder)
    _edit(folder, "migrations/products/1-to-2.sql", "as size", "as length")
    result = _check(folder)
    assert result.exit_code == 1
    assert "data_contracts/migrations/products/1-to-2.sql:1: `size` is missing" in result.output


@pytest.mark.integration
def test_consumers_are_named_in_the_table_and_in_the_report(repository: Path) -> None:
    """By the lineage of the project, which still reads what was renamed."""
    _edit(repository, *RENAMED)
    result = _check(repository, "--json", str(repository.parent / "out.json"))
    assert "stg_products" in result.output
    report = json.loads((repository.parent / "out.json").read_text())
    assert report["against"] == "HEAD"
    consumers = {row["change"]["kind"]: row["consumers"] for row in report["changes"]}
    assert consumers == {"field-removed": ["dbt model stg_products.package_size"], "field-added": []}
    assert {finding["rule"] for finding in report["findings"]} == {"field-removed", "field-added", "version-too-low"}


def test_a_contract_is_removed_after_it_was_deprecated(folder: Path) -> None:
    """At once it is refused; released as deprecated first, it may go."""
    path = folder / "contacts.odcs.yaml"
    text = path.read_text()
    path.unlink()
    result = _check(folder)
    assert result.exit_code == 1
    assert "removed while active: release it with `status: deprecated` first" in result.output
    path.write_text(text.replace("status: active", "status: deprecated").replace("version: 1.0.1", "version: 1.1.0"))
    assert _check(folder).exit_code == 0
    _git(folder, "commit", "--all", "--message", "deprecated")
    path.unlink()
    assert _check(folder).exit_code == 0


def test_a_deprecated_contract_that_is_read_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it is named: they change first."""
    reader = Column("dbt model", "stg_contacts", "contact_id")
    lineage = Lineage({Column("contract", "contacts", "contact_id"): [reader]})
    monkeypatch.setattr(contract_commands, "read_lineage", lambda *_: lineage)
    path = folder / "contacts.odcs.yaml"
    path.write_text(path.read_text().replace("status: active", "status: deprecated"))
    _git(folder, "commit", "--all", "--message", "deprecated")
    path.unlink()
    result = _check(folder)
    assert result.exit_code == 1
    assert "removed while it is still read by dbt model stg_contacts.contact_id: change them first" in result.output


def test_reports_for_machines_are_written_when_it_fails(folder: Path) -> None:
    """Each change is a result at its line; a contract that asks for something is a failed case."""
    _edit(folder, *RENAMED)
    sarif, junit = folder.parent / "out.sarif", folder.parent / "out.xml"
    assert _check(folder, "--sarif", str(sarif), "--junit", str(junit)).exit_code == 1
    levels = {each["ruleId"]: each["level"] for each in json.loads(sarif.read_text())["runs"][0]["results"]}
    assert levels == {"field-removed": "error", "field-added": "error", "version-too-low": "error"}
    assert '<testsuite name="nextbest contracts check" tests="10" failures="1"' in junit.read_text()


@pytest.mark.parametrize(
    ("revision", "advice"), [("nowhere", "git fetch origin nowhere"), ("origin/main", "git fetch origin main")]
)
def test_an_unknown_revision_is_a_matter_of_usage(folder: Path, revision: str, advice: str) -> None:
    """The status is 2, and the message says how to get the revision."""
    result = _check(folder, against=revision)
    assert result.exit_code == 2
    assert advice in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    """A command is learnt from its help."""
    output = CliRunner().invoke(contracts, arguments).output
    assert "nextbest contracts check --against origin/main" in output
