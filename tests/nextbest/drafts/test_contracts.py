"""A draft of a contract is a contract, and takes every row that it was drafted from."""

import json
from pathlib import Path
from typing import Any

import open_data_contract_standard
import pyarrow as pa
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft201909Validator  # type: ignore[import-untyped]

from nextbest.contracts import contract_from_odcs
from nextbest.drafts.contracts import contract_yaml, with_currency
from nextbest.guessing import guess
from nextbest.validation import validate

SCHEMA = json.loads((Path(open_data_contract_standard.__file__).parent / "schema.json").read_text())
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.none() | st.sampled_from(["1", "007", "2.5", "true", "2026-01-01T00:00:00Z", "1/2/2026", "nan"]) | TEXTS
NAMES = st.sampled_from(["Customer ID", "e-mail", "StockCode", "line"]) | TEXTS.filter(bool)
TABLES = st.integers(0, 30).flatmap(
    lambda rows: st.dictionaries(NAMES, st.lists(VALUES, min_size=rows, max_size=rows), min_size=1, max_size=4)
)


def drafted(table: pa.Table, origin: str = "a.csv") -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(contract_yaml("raw", origin, guess(table)))
    return document


@given(TABLES)
def test_no_row_is_turned_away_by_a_guess_that_it_taught(columns: dict[str, list[str | None]]) -> None:
    """Whatever names and values are: the draft is read, keeps the names, and the delivery it is of lands whole."""
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    document = drafted(table)
    document["schema"][0].pop("quality")
    contract = contract_from_odcs(document)
    assert [field.name for field in contract.fields] == list(columns)
    assert validate(contract, table).valid.num_rows == table.num_rows


def test_a_draft_is_valid_by_the_standard() -> None:
    """Every kind of column, and a list: other tools read it too."""
    table = pa.table(
        {
            "Customer ID": ["1", "2"] * 30,
            "order_id": [str(n) for n in range(60)],
            "kind": ["tea", "beer"] * 30,
            "price": ["1.5", "0"] * 30,
            "is_new": ["true", "false"] * 30,
            "at": ["2026-01-01T00:00:00Z"] * 60,
            "phone": ["+1"] * 60,
            "tags": [["a"]] * 60,
        }
    )
    document = drafted(table)
    assert [error.message for error in Draft201909Validator(SCHEMA).iter_errors(document)] == []
    contract = contract_from_odcs(document)
    assert contract.key == ("order_id",)
    assert contract.field("kind").enum == ("beer", "tea")
    assert contract.field("price").rule("minimum") is not None
    assert contract.field("phone").is_pii
    assert {rule.on_violation for field, rule in contract.rules() if not field.key} == {"warn"}


def test_every_guess_is_marked_with_its_evidence() -> None:
    """A person finds them with grep; a strange file name cannot end the comment."""
    text = contract_yaml("raw", "odd\nname.csv", guess(pa.table({"sku": ["1", "2"], "units": ["3", None]})))
    assert "# raw, as delivered: written by `nextbest init` from 2 rows of odd?name.csv." in text
    assert "# review: key sku: unique in 2 of 2 rows" in text
    assert '- name: "units"  # review: filled in 1 of 2 rows; from 3 to 3' in text


def test_currency_is_the_shops() -> None:
    """The closed list of the demo gives way."""
    assert with_currency("validValues: [USD]", "GBP") == "validValues: [GBP]"
