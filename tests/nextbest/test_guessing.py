"""What a table's columns are taken for: by their values alone, and by their names where values cannot say it."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from nextbest.guessing import Guess, GuessError, guess, is_id, words


def column(values: list[Any], name: str = "x", kind: pa.DataType | None = None) -> Guess:
    return guess(pa.table({name: pa.array(values, kind)})).columns[0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-20"], "BIGINT"),
        (["1", "2.5"], "DOUBLE"),
        (["17850.0", None], "DOUBLE"),
        (["007", "12"], "VARCHAR"),
        (["true", "false"], "BOOLEAN"),
        (["0", "1"], "BIGINT"),
        (["2026-01-31T08:00:00Z", "2026-01-31 08:00"], "TIMESTAMPTZ"),
        (["2026-02-30 08:00"], "VARCHAR"),
        (["nan", "inf"], "VARCHAR"),
        (["99999999999999999999"], "VARCHAR"),
        (["Käse", "茶"], "VARCHAR"),
        (["x" * 100_000], "VARCHAR"),
        ([None, None], "VARCHAR"),
        ([1, 2], "BIGINT"),
        ([1.0, None], "BIGINT"),
        ([1.5], "DOUBLE"),
        ([True], "BOOLEAN"),
        ([datetime(2026, 1, 1, tzinfo=UTC)], "TIMESTAMPTZ"),
        ([date(2026, 1, 1)], "VARCHAR"),
        ([["a"], []], "VARCHAR[]"),
    ],
)
def test_a_type_is_the_narrowest_that_loses_nothing(values: list[Any], expected: str) -> None:
    """What the door could not hold as it came is not promised."""
    assert column(values).physical_type == expected


def test_an_identifier_is_text_however_it_looks() -> None:
    """The next delivery may bring 85123A."""
    assert column(["22139", "85123"], "StockCode").physical_type == "VARCHAR"
    assert column([22139, 85123], "product_id").physical_type == "VARCHAR"
    assert column(["22139", "85123"], "Quantity").physical_type == "BIGINT"


def test_a_number_that_no_number_can_hold_is_text() -> None:
    """Beyond 64 bits, nothing that is left is exact."""
    assert column([2**63 + 1], kind=pa.uint64()).physical_type == "VARCHAR"


def test_a_category_of_pandas_is_the_text_it_stands_for() -> None:
    """Parquet keeps dictionaries."""
    assert column(["a", "b"], kind=pa.dictionary(pa.int8(), pa.string())).physical_type == "VARCHAR"


def test_a_number_that_is_none_is_said() -> None:
    """NaN in a column of numbers can be no other type: its row will be turned away, and the review says so."""
    found = column([1.5, float("nan")])
    assert found.physical_type == "DOUBLE"
    assert "1 values are none: their rows will be turned away" in found.evidence


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (["12/1/2010 8:26", "12/31/2010 18:05"], "%m/%d/%Y %H:%M"),
        (["31/12/2010 18:05:09"], "%d/%m/%Y %H:%M:%S"),
        (["31.12.2010"], "%d.%m.%Y"),
        (["2010-12-31"], "%Y-%m-%d"),
        ([date(2010, 12, 31)], "%Y-%m-%d"),
        (["12/31/10 8:26"], "%m/%d/%y %H:%M"),
        (["12/31/2010 8:26 PM"], "%m/%d/%Y %I:%M %p"),
        (["12/31/2010", "31/12/2010"], None),
        (["tea"], None),
    ],
)
def test_a_time_that_the_door_does_not_take_has_a_format(values: list[Any], form: str | None) -> None:
    """It stays text in the contract, and the mapping parses it; a time on a year before 1900 is none."""
    found = column(values, "when")
    assert (found.physical_type, found.time_format) == ("VARCHAR", form)


def test_days_and_months_that_cannot_be_told_apart_are_said() -> None:
    """The first of two possible formats is taken, and the review asks."""
    found = column(["1/2/2010", "3/4/2010"], "day")
    assert found.time_format == "%m/%d/%Y"
    assert "a time as %m/%d/%Y, or as %d/%m/%Y: which?" in found.evidence


def test_few_values_are_a_closed_list() -> None:
    """Each comes often; an identifier's, a person's and rare ones are none."""
    often = ["tea", "beer", None] * 30
    assert column(often, "kind").values == ("beer", "tea")
    assert column(often, "shop_id").values == ()
    assert column(often, "email").values == ()
    assert column(["tea", "beer"], "kind").values == ()


def test_required_and_least_value_rest_on_every_row() -> None:
    """Evidence names how many."""
    filled = column(["0", "7"], "units")
    assert (filled.required, filled.minimum) == (True, 0)
    assert filled.evidence == ("filled in 2 of 2 rows", "from 0 to 7")
    gaps = column(["-1", None], "units")
    assert (gaps.required, gaps.minimum) == (False, None)


def test_what_identifies_a_person_is_known_by_its_name() -> None:
    """Its values are then kept out of what checks show."""
    assert column(["ann@example.org"], "E_Mail").is_personal
    assert column(["Ann"], "firstName").is_personal
    assert not column(["tea"], "product_name").is_personal


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"name": ["a", "b"], "sku": ["1", "2"]}, ("sku",)),
        ({"name": ["a", "b"], "sku": ["1", "1"]}, ("name",)),
        ({"order_id": ["1", "1", "2"], "line_no": ["1", "2", "1"], "note": ["a", "a", "a"]}, ("order_id", "line_no")),
        (
            {"a_id": ["1", "1", "1", "2"], "b_id": ["1", "1", "2", "1"], "c_id": ["1", "2", "1", "1"]},
            ("a_id", "b_id", "c_id"),
        ),
        ({"order_id": ["1", "1"], "price": ["1.5", "2.5"]}, ()),
        ({"sku": ["1", None]}, ()),
        ({"sku": ["1"]}, ()),
        ({"sku": []}, ()),
    ],
)
def test_a_key_is_the_smallest_set_that_is_unique(table: dict[str, list[Any]], key: tuple[str, ...]) -> None:
    """Identifiers first; a measure is none, and one row proves nothing."""
    assert guess(pa.table({name: pa.array(values, pa.string()) for name, values in table.items()})).key == key


def test_the_evidence_of_a_key_counts_every_row() -> None:
    """Also those behind the sample that candidates are tried on."""
    values = [str(n) for n in range(6_000)]
    assert guess(pa.table({"sku": values})).key_evidence == "unique in 6,000 of 6,000 rows"
    assert guess(pa.table({"sku": [*values, "5999"]})).key == ()


def test_an_empty_table_has_columns_of_which_nothing_is_known() -> None:
    """No row: text, no key, nothing required."""
    found = guess(pa.table({"a": pa.array([], pa.string()), "b": pa.nulls(0)}))
    assert [(each.physical_type, each.required, each.values) for each in found.columns] == [("VARCHAR", False, ())] * 2


def test_what_cannot_land_is_left_out_and_named() -> None:
    """An index without a name, and a structure."""
    found = guess(pa.table([pa.array(["1"]), pa.array(["x"]), pa.array([{"a": 1}])], ["", "sku", "nested"]))
    assert [each.name for each in found.columns] == ["sku"]
    assert found.left_out == ("'nested' (struct<a: int64>)", "column 1 without a name")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table([pa.array(["1"]), pa.array(["2"])], ["a", "a"]), "the column 'a' occurs more than once"),
        (pa.table({"id": ["1"], "ID": ["2"]}), "the column 'ID' occurs more than once"),
        (pa.table([pa.array([{"a": 1}])], ["nested"]), "no column with a name and a type that can land"),
        (pa.table({}), "no column with a name and a type that can land"),
    ],
)
def test_a_table_that_no_contract_can_be_of(table: pa.Table, message: str) -> None:
    """The message says what to change."""
    with pytest.raises(GuessError, match=message):
        guess(table)


def test_words_of_a_name() -> None:
    """However people write them."""
    assert words("InvoiceNo") == ["invoice", "no"]
    assert words("customer-ID 2") == ["customer", "id", "2"]
    assert words("") == []
    assert is_id("CUSTOMERID")
    assert not is_id("Quantity")
