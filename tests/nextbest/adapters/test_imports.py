"""Other people's tables, from files and from real databases."""

import sqlite3
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextbest.adapters.imports import ImportTableError, is_database, label, read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shop's files and databases."""
    (tmp_path / "stock.csv").write_text('Sku,"Unit Price"\n007,1.50\n12,\n', encoding="utf-8")
    (tmp_path / "stock.jsonl").write_text('{"sku": "7", "price": 1.5}\n{"sku": "8"}\n')
    pq.write_table(pa.table({"sku": [7], "at": [datetime(2026, 1, 1)]}), tmp_path / "stock.parquet")  # noqa: DTZ001
    with closing(sqlite3.connect(tmp_path / "shop.db")) as con:
        con.execute('CREATE TABLE "the stock" (sku TEXT, price NUMERIC, mixed)')
        con.execute("INSERT INTO \"the stock\" VALUES ('007', 1.5, 1), ('12', NULL, 'x')")
        con.execute("CREATE TABLE bare (sku TEXT)")
        con.commit()
    with closing(duckdb.connect(tmp_path / "shop.duckdb")) as con:
        con.execute("CREATE TABLE stock AS SELECT '007' AS sku, 1.5::DECIMAL(9, 2) AS price")
    return tmp_path


def test_a_csv_is_text(folder: Path) -> None:
    """No value is judged before a type is guessed: 007 is not 7."""
    table = read_table(str(folder / "stock.csv"))
    assert table.to_pydict() == {"Sku": ["007", "12"], "Unit Price": ["1.50", None]}


def test_parquet_and_json_lines_keep_their_types(folder: Path) -> None:
    """They say what they hold."""
    assert read_table(str(folder / "stock.parquet"))["sku"].to_pylist() == [7]
    assert read_table(str(folder / "stock.jsonl")).to_pydict() == {"sku": ["7", "8"], "price": [1.5, None]}


def test_tables_of_databases(folder: Path) -> None:
    """SQLite, whose columns may mix types, and DuckDB; a table without rows keeps its columns."""
    stock = read_table(f"sqlite:///{folder}/shop.db#the stock")
    assert stock.to_pydict() == {"sku": ["007", "12"], "price": [1.5, None], "mixed": ["1", "x"]}
    nothing = read_table(f"sqlite:///{folder}/shop.db#bare")
    assert (nothing.num_rows, nothing.column_names) == (0, ["sku"])
    assert read_table(f"duckdb:///{folder}/shop.duckdb#stock").to_pydict() == {
        "sku": ["007"],
        "price": [Decimal("1.50")],
    }


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("nowhere.csv", "there is no file nowhere.csv"),
        ("sqlite:///nowhere.db#stock", "there is no file nowhere.db"),
        ("duckdb:///nowhere.duckdb#stock", "there is no file nowhere.duckdb"),
        ("sqlite:///{folder}/shop.db", "names no table: write sqlite:///shop.db#stock"),
        ("sqlite:///{folder}/shop.db#stocks", "cannot be read: no such table: stocks"),
        ("duckdb:///{folder}/shop.duckdb#stocks", "cannot be read: .*stocks"),
        ("sqlite:///{folder}/stock.csv#stock", "cannot be read: file is not a database"),
        ("nosuch://host/shop#stock", "needs a driver that is not installed"),
        ("postgresql://ann:secret@127.0.0.1:1/shop#stock", r"^postgresql://ann:\*\*\*@127.0.0.1:1/shop#stock "),
    ],
)
def test_what_cannot_be_read_says_why(folder: Path, location: str, message: str) -> None:
    """In one sentence, without the password; asking makes no file."""
    before = set(folder.iterdir())
    with pytest.raises(ImportTableError, match=message):
        read_table(location.format(folder=folder))
    assert set(folder.iterdir()) == before
    assert not Path("nowhere.db").exists()


def test_a_file_that_is_broken_says_how_to_mend_it(folder: Path) -> None:
    """What could not be landed later is not imported; old files are often in another encoding."""
    (folder / "latin.csv").write_bytes("name\nKäse\n".encode("latin-1"))
    with pytest.raises(
        ImportTableError, match=r"cannot be read: .* save it as UTF-8, such as iconv -f latin1 -t utf-8"
    ):
        read_table(str(folder / "latin.csv"))
    (folder / "semicolons.csv").write_text("sku;price\n7;1,5\n")
    with pytest.raises(ImportTableError, match="separates its columns by ';': save it with commas"):
        read_table(str(folder / "semicolons.csv"))
    (folder / "stock.xlsx").touch()
    with pytest.raises(ImportTableError, match=r"stock.xlsx is none of .parquet, .csv"):
        read_table(str(folder / "stock.xlsx"))


def test_a_location_is_shown_without_its_password() -> None:
    """Receipts and contracts are read by many."""
    assert label("postgresql://ann:secret@host/shop#stock") == "postgresql://ann:***@host/shop#stock"
    assert label("some/folder/stock.csv") == "stock.csv"
    assert is_database("sqlite:///shop.db#stock")
    assert not is_database("stock#1.csv")
