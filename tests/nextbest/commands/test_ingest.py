import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nextbest.commands.ingest import ingest
from nextbest.validation import ContractViolation

CONSENT = {
    "consent_id": "c1",
    "customer_id": "ann",
    "purpose": "marketing",
    "status": "granted",
    "regime": "opt_in",
    "occurred_at": "2026-03-01T12:00:00Z",
    "source": "live",
}


def _write(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def _ingest(home: Path, *arguments: str | Path) -> Result:
    return CliRunner(env={"NEXTBEST_HOME": str(home)}).invoke(ingest, [str(each) for each in arguments])


def test_prints_a_receipt_per_file(tmp_path: Path) -> None:
    """What came, landed and was turned away for which rule, and where those rows are."""
    good = _write(tmp_path / "good.csv", CONSENT)
    mixed = _write(tmp_path / "mixed.csv", CONSENT | {"consent_id": "c2"}, CONSENT | {"status": "maybe"})
    result = _ingest(tmp_path, "consents", good, mixed)
    assert result.exit_code == 0
    assert "good-csv" in result.output
    assert "status.enum: 1" in result.output
    assert "quarantine/consents" in result.output.replace("\n", "")


def test_says_what_would_be_right(tmp_path: Path) -> None:
    """For each broken rule the first row and value, what is allowed and what was probably meant; for a column too."""
    rows = [CONSENT | {"consent_id": "c2"}, CONSENT | {"status": "Granted"}]
    path = _write(tmp_path / "mixed.csv", *({**row, "sources": "x"} for row in rows))
    output = _ingest(tmp_path, "consents", path).output
    assert (
        "status.enum: 1 rows, first row 2 is 'Granted': it takes granted, withdrawn; did you mean 'granted'?" in output
    )
    assert "column sources is not in the contract" not in output
    products = [{"product_id": "tea", "department": "DRINKS", "source": "import", "categry": "TEA"}]
    output = _ingest(tmp_path, "products", _write(tmp_path / "products.csv", *products)).output
    assert "column categry is not in the contract and did not land; did you mean 'category'?" in output


def test_an_unknown_contract_is_told_the_nearest(tmp_path: Path) -> None:
    """With all that there are."""
    result = _ingest(tmp_path, "consent", _write(tmp_path / "good.csv", CONSENT))
    assert "did you mean 'consents'?" in str(result.exception)


def test_a_broken_file_is_an_error_with_a_message(tmp_path: Path) -> None:
    """The command line prints it in one line; nothing landed."""
    path = _write(tmp_path / "short.csv", {"consent_id": "c1"})
    result = _ingest(tmp_path, "consents", path)
    assert isinstance(result.exception, ContractViolation)
    columns = "customer_id, purpose, status, regime, occurred_at, source"
    assert str(result.exception) == (
        f"contract consents, column {columns}, rule column, 1 rows: the columns are missing"
    )
    assert not (tmp_path / ".nextbest" / "landing").exists()


def test_a_snapshot_is_one_file(tmp_path: Path) -> None:
    """The second file would silently replace the first."""
    files = [_write(tmp_path / name, CONSENT) for name in ("a.csv", "b.csv")]
    result = _ingest(tmp_path, "customers", *files)
    assert result.exit_code == 2
    assert "name one file" in result.output


def test_a_table_of_a_database_lands_as_a_file_does(tmp_path: Path) -> None:
    """The same address again replaces what it brought; a file that is not there is refused at once."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as con:
        con.execute(f"CREATE TABLE yes ({', '.join(CONSENT)})")
        con.execute("INSERT INTO yes VALUES (?, ?, ?, ?, ?, ?, ?)", list(CONSENT.values()))
        con.commit()
    for _ in range(2):
        result = _ingest(tmp_path, "consents", f"sqlite:///{tmp_path}/shop.db#yes")
        assert result.exit_code == 0, result.output
    assert len(list((tmp_path / ".nextbest" / "landing" / "consents").glob("batch=*"))) == 1
    assert _ingest(tmp_path, "consents", "nowhere.csv").exit_code == 2


@pytest.mark.parametrize("option", ["--help"])
def test_help_has_an_example(option: str) -> None:
    """A command is learnt from its help."""
    assert "Example: nextbest ingest transactions" in CliRunner().invoke(ingest, [option]).output
