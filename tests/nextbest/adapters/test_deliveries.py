from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.adapters.deliveries import from_pages, read_delivery
from nextbest.contracts import Contract, Field, Rule
from nextbest.validation import ContractViolation

NOTES = Contract(
    name="notes",
    version="1.0.0",
    fields=(
        Field("note_id", "string", "VARCHAR", key=True, rules=(Rule("required"),)),
        Field("stars", "integer", "BIGINT"),
        Field("tags", "array", "VARCHAR[]"),
    ),
)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_parquet_is_read_as_it_is(tmp_path: Path) -> None:
    """Its types are its own; casting is for validation."""
    table = pa.table({"note_id": [1], "stars": [2.0]})
    pq.write_table(table, tmp_path / "notes.parquet")
    assert read_delivery(NOTES, tmp_path / "notes.parquet").equals(table)


def test_csv_is_read_as_text(tmp_path: Path) -> None:
    """A leading zero is part of an id, an empty cell is null, and a line break may be quoted."""
    path = _write(tmp_path / "notes.csv", 'note_id,stars,tags\n007,x,"[""a""]"\n"two\nlines",,\n')
    assert read_delivery(NOTES, path).to_pylist() == [
        {"note_id": "007", "stars": "x", "tags": '["a"]'},
        {"note_id": "two\nlines", "stars": None, "tags": None},
    ]


def test_json_lines_keep_a_bad_value_in_its_row(tmp_path: Path) -> None:
    """A column of mixed types becomes text; an absent field is null, where that is allowed."""
    path = _write(tmp_path / "notes.jsonl", '{"note_id":"a","stars":1}\n\n{"note_id":"b","stars":"many"}\n')
    table = read_delivery(NOTES, path)
    assert table.to_pylist() == [
        {"note_id": "a", "stars": "1", "tags": None},
        {"note_id": "b", "stars": "many", "tags": None},
    ]
    assert read_delivery(NOTES, _write(path, '{"stars":1}\n')).column_names == ["stars", "tags"]


def test_no_json_lines_are_no_rows(tmp_path: Path) -> None:
    """An empty file of this format is a delivery of nothing; whether that is allowed, the contract says."""
    table = read_delivery(NOTES, _write(tmp_path / "notes.jsonl", ""))
    assert (table.num_rows, table.column_names) == (0, ["note_id", "stars", "tags"])


# No booleans and no decimal numbers: beside one of these, Arrow writes a whole number otherwise than by itself.
_JSON = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.lists(st.integers(0, 9) | st.text("ab", max_size=2), max_size=2),
)


@given(st.lists(st.tuples(st.sampled_from(["note_id", "stars", "other"]), _JSON), max_size=8), st.integers(1, 4))
def test_rows_in_pages_are_what_they_are_at_once(cells: list[tuple[str, Any]], size: int) -> None:
    """Whatever a page holds and the next does not: the values, and the type that all of them share."""
    rows = [{name: value} for name, value in cells]
    whole = from_pages(NOTES, [rows])
    paged = from_pages(NOTES, [rows[start : start + size] for start in range(0, len(rows), size)])
    assert paged.schema.equals(whole.schema)
    assert paged.to_pylist() == whole.to_pylist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.csv", b"", "cannot be read: Empty CSV file"),
        ("notes.csv", b"note_id,stars,tags\na,1,\nb", "cannot be read: .*Expected 3 columns, got 1"),
        ("notes.csv", b"note_id,stars,tags\n\xff\xfe,1,\n", "cannot be read: .*UTF8"),
        ("notes.csv", b"note_id,st\xe9rs,tags\na,1,\n", "cannot be read: 'utf-8' codec"),
        ("notes.parquet", b"", "cannot be read: Parquet file size is 0 bytes"),
        ("notes.parquet", b"PAR1 and then no more", "cannot be read: Parquet magic bytes not found"),
        ("notes.jsonl", b'{"note_id":"a"}\n{"note_id":', "cannot be read: line 2: .*truncated"),
        ("notes.jsonl", b"[1]\n", "cannot be read: line 1: .*object"),
        ("notes.jsonl", b'{"note_id":"a"}\n{"note_id":"\xe9"}\n', "cannot be read: line 2: 'utf-8' codec"),
        ("notes.jsonl", b'{"tags":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "cannot be read: line 1: .*recursion"),
        ("notes.jsonl", b'{"tags":' + b"[" * 200 + b"]" * 200 + b"}\n", "cannot be read: column tags nests deeper"),
        ("notes.json", b'[{"note_id":"a"},\n{"note_id":"b"}]', "cannot be read: line 1: .*object.*array"),
        ("notes.xlsx", b"PK", "is none of .parquet, .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Empty, truncated and foreign files stop with contract, file and cause."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ContractViolation, match=f"contract notes, .*rule readable, .*{name} {message}"):
        read_delivery(NOTES, tmp_path / name)


def test_parquet_with_text_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Parquet does not look into its strings; landed, such a value would stop whoever reads it."""
    latin = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xe9"]).buffers())
    pq.write_table(pa.table({"note_id": latin}), tmp_path / "notes.parquet")
    with pytest.raises(ContractViolation, match=r"notes.parquet cannot be read: .*UTF8"):
        read_delivery(NOTES, tmp_path / "notes.parquet")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Whatever its name ends in."""
    (tmp_path / "notes.parquet").mkdir()
    with pytest.raises(ContractViolation, match=r"notes.parquet cannot be read: .*is a directory"):
        read_delivery(NOTES, tmp_path / "notes.parquet")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It ends in the same kind of message as any other unreadable file."""
    with pytest.raises(ContractViolation, match="rule readable"):
        read_delivery(NOTES, tmp_path / "notes.parquet")
