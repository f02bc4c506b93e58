import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.contracts import Contract, Field, Rule
from nextbest.validation import ContractViolation, Validated, validate

CUSTOMERS = {"customers.customer_id": pa.array(["ann", "bob"])}
PRODUCTS = {"products.product_id": pa.array(["tea"])}
SALES = Contract(
    name="sales",
    version="1.0.0",
    fields=(
        Field("sale_id", "string", "VARCHAR", key=True, rules=(Rule("required"), Rule("pattern", "^s[0-9]+$"))),
        Field("line", "integer", "BIGINT", key=True, rules=(Rule("required"), Rule("maximum", 9))),
        Field("customer_id", "string", "VARCHAR", rules=(Rule("reference", "customers.customer_id"),)),
        Field("product_id", "string", "VARCHAR", rules=(Rule("reference", "products.product_id", "warn"),)),
        Field("amount", "number", "DOUBLE", rules=(Rule("minimum", 0), Rule("minimum", 1, "warn"))),
        Field("currency", "string", "VARCHAR", rules=(Rule("enum", ("EUR", "USD")), Rule("min_length", 3))),
    ),
)
GOOD: dict[str, Any] = {
    "sale_id": "s1",
    "line": 1,
    "customer_id": "ann",
    "product_id": "tea",
    "amount": 2.5,
    "currency": "EUR",
}


def _validate(*rows: dict[str, Any], contract: Contract = SALES) -> Validated:
    return validate(contract, pa.Table.from_pylist([GOOD | row for row in rows]), CUSTOMERS | PRODUCTS)


def test_valid_rows_pass_in_the_contracts_schema() -> None:
    """Types become the contract's, and the order of columns too."""
    table = pa.table({name: [value] for name, value in reversed((GOOD | {"line": "1"}).items())})
    validated = validate(SALES, table, CUSTOMERS | PRODUCTS)
    assert validated.valid.schema == SALES.schema
    assert validated.valid.to_pylist() == [GOOD]
    assert not validated.rejected.num_rows


@pytest.mark.parametrize(
    ("change", "column", "rule", "value"),
    [
        ({"sale_id": None}, "sale_id", "required", None),
        ({"sale_id": "x"}, "sale_id", "pattern", "x"),
        ({"line": 10}, "line", "maximum", "10"),
        ({"line": 1.5}, "line", "type", "1.5"),
        ({"customer_id": "eve"}, "customer_id", "reference", "eve"),
        ({"amount": -1.0}, "amount", "minimum", "-1.0"),
        ({"amount": float("nan")}, "amount", "type", "nan"),
        ({"currency": "GBP"}, "currency", "enum", "GBP"),
    ],
)
def test_a_bad_row_says_which_rule_and_value(change: dict[str, Any], column: str, rule: str, value: str | None) -> None:
    """One bad row is found among good ones, with its number from 1 and the row itself."""
    validated = _validate({"sale_id": "s2"}, change, {"sale_id": "s3"})
    (reject,) = validated.rejected.to_pylist()
    assert (reject["row_number"], reject["column"], reject["rule"], reject["value"]) == (2, column, rule, value)
    assert json.loads(reject["row"])["product_id"] == "tea"
    assert validated.rejects_by_rule == {f"{column}.{rule}": 1}
    assert validated.valid["sale_id"].to_pylist() == ["s2", "s3"]


def test_the_first_row_keeps_a_repeated_key() -> None:
    """A rejected row takes no key away, so the good one after it lands."""
    validated = _validate({"currency": "GBP"}, {}, {"line": 2}, {"amount": 9.0})
    assert validated.valid["amount"].to_pylist() == [2.5, 2.5]
    assert [(each["row_number"], each["rule"], each["value"]) for each in validated.rejected.to_pylist()] == [
        (1, "enum", "GBP"),
        (4, "key", "s1, 1"),
    ]


def test_nulls_break_no_rule_but_required() -> None:
    """What is unknown is not wrong."""
    assert _validate({"customer_id": None, "product_id": None, "amount": None, "currency": None}).valid.num_rows == 1


def test_warnings_count_rows_that_landed() -> None:
    """A row that is rejected for another rule is not counted as a warning too."""
    validated = _validate(
        {"product_id": "gin"}, {"product_id": "gin", "currency": "GBP"}, {"sale_id": "s2", "amount": 0.5}
    )
    assert validated.warnings == {"product_id.reference": 1, "amount.minimum": 1}
    assert validated.valid.num_rows == 2


def test_a_wholly_bad_delivery_stops() -> None:
    """Where the contract asks for rows, a delivery without a valid one must not take the place of a good one."""
    field = Field("day", "integer", "BIGINT", key=True, rules=(Rule("required"),))
    contract = Contract(name="days", version="1.0.0", fields=(field,), min_rows=1)
    with pytest.raises(
        ContractViolation,
        match=r"rule row_count, 2 rows: 0 keep .* \(day.required: 2 rows, first row 1: it must have a value\)",
    ):
        validate(contract, pa.table({"day": pa.array([None, None], pa.int64())}))


def test_a_column_that_may_be_null_may_be_absent() -> None:
    """What the contract does not require lands as null, and a warning says that it never came."""
    contract = Contract(
        name="days",
        version="1.0.0",
        fields=(
            Field("day", "integer", "BIGINT", key=True, rules=(Rule("required"),)),
            Field("note", "string", "VARCHAR"),
        ),
    )
    validated = validate(contract, pa.table({"day": [1, 2]}))
    assert validated.valid.to_pylist() == [{"day": 1, "note": None}, {"day": 2, "note": None}]
    assert validated.warnings == {"note.absent": 2}


def test_a_rule_that_stops_stops_the_batch() -> None:
    """Nothing is divided when the contract says that nothing may land."""
    field = Field("sale_id", "string", "VARCHAR", key=True, rules=(Rule("enum", ("s1",), "stop"),))
    contract = Contract(name="sales", version="1.0.0", fields=(field,))
    with pytest.raises(
        ContractViolation, match=r"contract sales, column sale_id, rule enum, 2 rows: .*row 2"
    ) as violation:
        validate(contract, pa.table({"sale_id": ["s1", "x", "y"]}))
    assert (violation.value.contract, violation.value.column, violation.value.rule, violation.value.rows) == (
        "sales",
        "sale_id",
        "enum",
        2,
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"note": ["a", "b"]}), "contract days, column day, rule column, 2 rows: .*missing"),
        (pa.table([[1], [1], ["a"]], ["day", "day", "note"]), "column day, rule column, 1 rows: .*more than once"),
        (pa.table({"day": [1], "note": [1.5]}), "column note, rule type, 1 rows: the column is double"),
        (pa.table({"day": pa.nulls(0), "note": pa.nulls(0)}), "contract days, rule row_count, 0 rows"),
    ],
)
def test_a_delivery_of_another_shape_stops(table: pa.Table, message: str) -> None:
    """Missing, doubled and wrongly typed columns and too few rows are no matter of single rows."""
    fields = (Field("day", "integer", "BIGINT", key=True), Field("note", "string", "VARCHAR"))
    with pytest.raises(ContractViolation, match=message):
        validate(Contract(name="days", version="1.0.0", fields=fields, min_rows=1), table)


def test_an_undeclared_column_lands_nowhere_and_is_counted() -> None:
    """Personal data must not slip in by a column nobody declared: not into quarantine either."""
    validated = _validate({"email": "ann@example.com"}, {"email": "eve@example.com", "currency": "GBP"})
    assert validated.warnings == {"email.undeclared": 2}
    assert "email" not in validated.valid.column_names
    assert "eve" not in validated.rejected["row"][0].as_py()


def test_times_are_told_in_full() -> None:
    """A quarantined row shows a time as it came, nanoseconds included."""
    fields = (Field("at", "timestamp", "TIMESTAMPTZ", key=True),)
    times = pa.array([1_767_268_800_000_000_001], pa.timestamp("ns", tz="UTC"))
    validated = validate(Contract(name="times", version="1.0.0", fields=fields), pa.table({"at": times}))
    assert validated.rejected["value"].to_pylist() == ["2026-01-01 12:00:00.000000001Z"]


_cells = {
    "sale_id": st.sampled_from(["s1", "s2", "x", "", None]),
    "line": st.sampled_from(["1", "2", "99", "two", "1.5", None]),
    "customer_id": st.sampled_from(["ann", "eve", None]),
    "product_id": st.sampled_from(["tea", "gin", None]),
    "amount": st.one_of(st.none(), st.floats(width=32)),
    "currency": st.one_of(st.sampled_from(["EUR", "USD"]), st.text(max_size=2)),
}


@given(st.lists(st.fixed_dictionaries(_cells)), st.integers(1, 3))
def test_every_row_lands_or_is_rejected_with_a_rule(rows: list[dict[str, Any]], chunk: int) -> None:
    """Whatever comes: landed + rejected = received, each reject says why, and what landed is valid again."""
    schema = pa.schema([(name, pa.float64() if name == "amount" else pa.string()) for name in _cells])
    batches = [pa.RecordBatch.from_pylist(rows[i : i + chunk], schema) for i in range(0, len(rows), chunk)]
    validated = validate(SALES, pa.Table.from_batches(batches, schema), CUSTOMERS | PRODUCTS)
    assert validated.valid.num_rows + validated.rejected.num_rows == len(rows)
    assert sum(validated.rejects_by_rule.values()) == validated.rejected.num_rows
    assert None not in validated.rejected["rule"].to_pylist()
    again = validate(SALES, validated.valid, CUSTOMERS | PRODUCTS)
    assert again.valid.equals(validated.valid)
    assert again.warnings == validated.warnings


def test_a_unique_column_rejects_the_second_of_two_rows() -> None:
    """A null is no value, and a row that was rejected for something else takes nothing away."""
    fields = (
        Field("id", "string", "VARCHAR", key=True),
        Field("mail", "string", "VARCHAR", rules=(Rule("unique"), Rule("max_length", 4))),
    )
    table = pa.table({"id": ["1", "2", "3", "4", "5", "6"], "mail": ["a", "a", None, None, "b", "too long"]})
    validated = validate(Contract(name="people", version="1.0.0", fields=fields), table)
    assert validated.valid["id"].to_pylist() == ["1", "3", "4", "5"]
    assert validated.rejects_by_rule == {"mail.unique": 1, "mail.max_length": 1}


def test_a_contract_without_a_key_takes_a_row_twice() -> None:
    """What was imported as delivered may have none."""
    contract = Contract("raw", "1.0.0", (Field("note", "string", "VARCHAR"),))
    assert validate(contract, pa.table({"note": ["a", "a", None]})).valid.num_rows == 3
