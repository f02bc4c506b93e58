"""Seeded violations of the real contracts: each is caught in the right way, and the message says what to mend.

A row that breaks a rule is rejected and the rest lands; what is wrong with the delivery as a whole stops it, and what
before stays; what the contract lets in with a warning lands and is counted.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.advice import explain, misnamed
from nextbest.contracts import Rule
from nextbest.settings import CHECKOUT
from nextbest.validation import ContractViolation

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
AT = "2026-03-01T12:00:00Z"
Row = dict[str, Any]
Rows = list[Row]
File = tuple[str, bytes]
GOOD: dict[str, Row] = {
    "customers": {"customer_id": "ann", "time_zone": "Europe/Berlin", "updated_at": AT, "age_band": "25-34"},
    "products": {"product_id": "tea", "department": "DRINKS", "category": "TEA", "brand": "National"},
    "transactions": {
        "basket_id": "b",
        "product_id": "tea",
        "customer_id": "ann",
        "store_id": "s1",
        "quantity": 1,
        "sales_value": 2.5,
        "retail_discount": 0.0,
        "coupon_discount": 0.0,
        "coupon_match_discount": 0.0,
        "currency": "USD",
        "occurred_at": AT,
    },
    "contacts": {
        "contact_id": "c",
        "customer_id": "ann",
        "campaign_id": "8",
        "campaign_type": "Type A",
        "channel": "mail",
        "offers": ["beef"],
        "assignment": "all",
        "contacted_at": AT,
        "ended_at": AT,
    },
    "events": {
        "event_id": "e",
        "customer_id": "ann",
        "type": "click",
        "channel": "web",
        "action": "beef",
        "occurred_at": AT,
        "received_at": AT,
    },
    "identities": {
        "kind": "email",
        "identifier_hmac": "a" * 64,
        "customer_id": "ann",
        "value": "a@b.c",
        "linked_at": AT,
    },
}
IDS = {
    "customers": "customer_id",
    "products": "product_id",
    "transactions": "basket_id",
    "contacts": "contact_id",
    "events": "event_id",
    "identities": "linked_at",
}


def _rows(contract: str) -> Rows:
    """Three good rows with keys of their own, the first of them known to whoever refers to it."""
    row = GOOD[contract] | {"source": "import"}
    if contract == "identities":
        return [row | {"identifier_hmac": digit * 64} for digit in "abc"]
    return [row | {IDS[contract]: f"{row[IDS[contract]]}{end}"} for end in ("", "2", "3")]


def _json(rows: Rows) -> File:
    return "jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()


def _csv(rows: Rows) -> File:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    return "csv", "\n".join(lines).encode()


def _parquet(table: pa.Table) -> File:
    sink = BytesIO()
    pq.write_table(table, sink)
    return "parquet", sink.getvalue()


def _rows_as_parquet(rows: Rows) -> File:
    return _parquet(pa.Table.from_pylist(rows))


WRITERS: dict[str, Callable[[Rows], File]] = {"csv": _csv, "jsonl": _json, "parquet": _rows_as_parquet}


def second(**values: Any) -> Callable[[Rows], File]:
    """The second row says something else."""
    return lambda rows: _json([rows[0], rows[1] | values, rows[2]])


def every(**values: Any) -> Callable[[Rows], File]:
    return lambda rows: _json([row | values for row in rows])


def renamed(old: str, new: str) -> Callable[[Rows], File]:
    return lambda rows: _json([{new if key == old else key: value for key, value in row.items()} for row in rows])


def typed(column: str, values: pa.Array) -> Callable[[Rows], File]:
    """A Parquet file with a column of another type."""

    def spoil(rows: Rows) -> File:
        table = pa.Table.from_pylist(rows)
        return _parquet(table.set_column(table.column_names.index(column), column, values))

    return spoil


def raw(suffix: str, change: Callable[[bytes], bytes]) -> Callable[[Rows], File]:
    """A file whose bytes are damaged."""
    return lambda rows: (suffix, change(WRITERS[suffix](rows)[1]))


@dataclass(frozen=True)
class Case:
    """One way to break a contract, the way it must be caught, and what the message must say."""

    name: str
    contract: str
    spoil: Callable[[Rows], File]
    way: Literal["reject", "stop", "warn"]
    said: str


def reject(name: str, contract: str, spoil: Callable[[Rows], File], said: str) -> Case:
    return Case(name, contract, spoil, "reject", said)


def stop(name: str, contract: str, spoil: Callable[[Rows], File], said: str) -> Case:
    return Case(name, contract, spoil, "stop", said)


def warn(name: str, contract: str, spoil: Callable[[Rows], File], said: str) -> Case:
    return Case(name, contract, spoil, "warn", said)


def _nested(depth: int) -> Any:
    value: Any = "beef"
    for _ in range(depth):
        value = [value]
    return value


MANY = [f"offer_{number}" for number in range(50_000)]
CASES = [
    # Rows: the bad one is in quarantine with rule and value, the good ones land.
    reject(
        "null", "products", second(department=None), "department.required: 1 rows, first row 2: it must have a value"
    ),
    reject(
        "not in the list",
        "customers",
        second(age_band="older"),
        "age_band.enum: 1 rows, first row 2 is 'older': it takes 19-24, 25-34, 35-44, 45-54, 55-64, 65+",
    ),
    reject(
        "nearly in the list",
        "transactions",
        second(currency="usd"),
        "currency.enum: 1 rows, first row 2 is 'usd': it takes USD; did you mean 'USD'?",
    ),
    reject(
        "below the minimum",
        "transactions",
        second(sales_value=-0.01),
        "sales_value.minimum: 1 rows, first row 2 is '-0.01': it takes nothing below 0",
    ),
    reject(
        "above the maximum",
        "transactions",
        second(quantity=1_000_000_001),
        "quantity.maximum: 1 rows, first row 2 is '1000000001': it takes nothing above 1000000000",
    ),
    reject(
        "before the first day",
        "transactions",
        second(occurred_at="1999-12-31T23:59:59Z"),
        "occurred_at.minimum: 1 rows, first row 2 is '1999-12-31T23:59:59Z': it takes nothing below "
        "2000-01-01T00:00:00Z",
    ),
    reject(
        "pattern",
        "events",
        second(action="Beef!"),
        "action.pattern: 1 rows, first row 2 is 'Beef!': it takes what matches ^[a-z0-9]+(_[a-z0-9]+)*$",
    ),
    reject(
        "too short",
        "contacts",
        second(campaign_id=""),
        "campaign_id.min_length: 1 rows, first row 2 is '': its length is 1 or more",
    ),
    reject(
        "unknown reference",
        "contacts",
        second(customer_id="nobody"),
        "customer_id.reference: 1 rows, first row 2 is 'nobody': it takes a customer_id that customers has",
    ),
    reject(
        "repeated key",
        "transactions",
        second(basket_id="b"),
        "basket_id, product_id.key: 1 rows, first row 2 is 'b, tea': one row may have this basket_id, product_id",
    ),
    reject(
        "a fraction of a whole number",
        "transactions",
        second(quantity=1.5),
        "quantity.type: 1 rows, first row 2 is '1.5': it takes an integer",
    ),
    reject(
        "no number",
        "transactions",
        second(sales_value="2,50"),
        "sales_value.type: 1 rows, first row 2 is '2,50': it takes a number",
    ),
    reject(
        "a number beyond all",
        "transactions",
        second(sales_value="1e400"),
        "sales_value.type: 1 rows, first row 2 is '1e400': it takes a number",
    ),
    reject(
        "a whole number beyond 64 bits",
        "transactions",
        second(quantity="9223372036854775808"),
        "quantity.type: 1 rows, first row 2 is '9223372036854775808': it takes an integer",
    ),
    reject(
        "not a number",
        "transactions",
        typed("sales_value", pa.array([1.0, float("nan"), 2.0])),
        "sales_value.type: 1 rows, first row 2 is 'nan': it takes a number",
    ),
    reject(
        "infinity",
        "transactions",
        typed("retail_discount", pa.array([1.0, float("inf"), 2.0])),
        "retail_discount.type: 1 rows, first row 2 is 'inf': it takes a number",
    ),
    reject(
        "no time",
        "transactions",
        second(occurred_at="yesterday"),
        "occurred_at.type: 1 rows, first row 2 is 'yesterday': it takes a timestamp",
    ),
    reject(
        "a day that is none",
        "transactions",
        second(occurred_at="2026-02-30T12:00:00Z"),
        "occurred_at.type: 1 rows, first row 2 is '2026-02-30T12:00:00Z': it takes a timestamp",
    ),
    reject(
        "a malformed list",
        "contacts",
        second(offers='["beef"'),
        "offers.type: 1 rows, first row 2 is '[\"beef\"': it takes an array",
    ),
    reject(
        "numbers in a list of texts",
        "contacts",
        second(offers="[1, 2]"),
        "offers.type: 1 rows, first row 2 is '[1, 2]': it takes an array",
    ),
    reject(
        "no keyed hash, of a contract with personal data",
        "identities",
        second(identifier_hmac="ann@example.com"),
        "identifier_hmac.pattern: 1 rows, first row 2: it takes what matches ^[0-9a-f]{64}$",
    ),
    # The delivery as a whole: nothing lands.
    stop(
        "a missing column",
        "transactions",
        renamed("customer_id", "cust_id"),
        "contract transactions, column customer_id, rule column, 3 rows: the column is missing; the contract does not "
        "name cust_id, which came; is cust_id the customer_id?",
    ),
    stop(
        "a doubled column",
        "products",
        raw("csv", lambda data: data.replace(b"category", b"department")),
        "contract products, column department, rule column, 3 rows: the column occurs more than once",
    ),
    stop(
        "a wrong type",
        "transactions",
        typed("quantity", pa.array([True, False, True])),
        "contract transactions, column quantity, rule type, 3 rows: the column is bool, the contract says BIGINT",
    ),
    stop(
        "an empty delivery",
        "products",
        raw("csv", lambda data: data.split(b"\n")[0] + b"\n"),
        "contract products, rule row_count, 0 rows: ",
    ),
    stop(
        "too few valid rows",
        "customers",
        every(source="imported"),
        "contract customers, rule row_count, 3 rows: 0 keep the contract (source.enum: 3 rows, first row 1 is "
        "'imported': it takes live, import, simulated; did you mean 'import'?), which asks for 1 or more",
    ),
    stop(
        "truncated Parquet",
        "transactions",
        raw("parquet", lambda data: data[: len(data) // 2]),
        "contract transactions, rule readable, 0 rows: ",
    ),
    stop(
        "a CSV without its header",
        "customers",
        raw("csv", lambda data: data.split(b"\n", 1)[1]),
        "contract customers, column customer_id, time_zone, updated_at, source, rule column, 2 rows: the columns are "
        "missing; the contract does not name ",
    ),
    stop(
        "text that is not UTF-8",
        "products",
        raw("csv", lambda data: data.replace(b"TEA", b"TH\xc9")),
        "contract products, rule readable, 0 rows: ",
    ),
    stop(
        "a broken line of JSON",
        "events",
        raw("jsonl", lambda data: data[:-10]),
        "delivery.jsonl cannot be read: line 3: Input data was truncated",
    ),
    stop(
        "endless nesting",
        "contacts",
        every(offers=_nested(60)),
        "column offers nests deeper than 50 lists or objects",
    ),
    stop(
        "a file of another kind", "events", lambda _: ("xlsx", b"PK"), "delivery.xlsx is none of .parquet, .csv, .json"
    ),
    # What the contract lets in: the rows land and are counted.
    warn("an undeclared column", "products", every(shelf="7"), "shelf.undeclared: 3"),
    warn("an absent optional column", "products", raw("csv", lambda data: data), "package_size.absent: 3"),
    warn(
        "a misspelt optional column",
        "products",
        renamed("category", "categry"),
        "column categry is not in the contract and did not land; did you mean 'category'?",
    ),
    warn("a product that is not in the catalogue", "transactions", second(product_id="gin"), "product_id.reference: 1"),
    warn("a quantity of zero", "transactions", second(quantity=0), "quantity.minimum: 1"),
]


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing that holds good rows of every contract of these tests."""
    root = tmp_path_factory.mktemp("landing")
    for name in GOOD:
        _land(_door(root), root, name, _json(_rows(name)))
    return root


def _door(root: Path) -> Door:
    return Door(root / "landing", root / "quarantine", CONTRACTS)


def _land(door: Door, root: Path, contract: str, file: File) -> Any:
    path = root / f"delivery.{file[0]}"
    path.write_bytes(file[1])
    return door.land_file(contract, path)


def test_the_seeds_are_many() -> None:
    """Good rows are good, so that what is caught is what was spoilt; at least 25 ways are tried."""
    assert len({case.name for case in CASES}) == len(CASES) >= 25
    assert {case.way for case in CASES} == {"reject", "stop", "warn"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_violation_is_caught(landing: Path, case: Case) -> None:
    """In the way the contract says, with the words a person needs."""
    contract, rows = CONTRACTS[case.contract], _rows(case.contract)
    door = _door(landing)
    good = _land(door, landing, case.contract, _json(rows))
    assert (good.landed, good.rejected) == (3, 0)
    assert not [name for name in good.warnings if not name.endswith(".absent")]
    before = door.receipts(case.contract)
    file = case.spoil(copy.deepcopy(rows))
    if case.way == "stop":
        with pytest.raises(ContractViolation) as violation:
            _land(door, landing, case.contract, file)
        assert case.said in str(violation.value)
        assert door.receipts(case.contract) == before
        return
    receipt = _land(door, landing, case.contract, file)
    if case.way == "reject":
        assert (receipt.received, receipt.landed, receipt.rejected) == (3, 2, 1)
        assert explain(contract, door.rejected(receipt)) == [case.said]
    else:
        assert (receipt.landed, receipt.rejected) == (3, 0)
        counted = [f"{name}: {count}" for name, count in receipt.warnings.items()]
        assert [line for line in [*counted, *misnamed(contract, receipt.warnings)] if line.startswith(case.said)]


def test_a_rule_that_stops_says_what_is_allowed(tmp_path: Path) -> None:
    """A contract may stop the batch for a single row."""
    products = CONTRACTS["products"]
    brand = msgspec.structs.replace(products.field("brand"), rules=(Rule("enum", ("National", "Private"), "stop"),))
    fields = tuple(brand if field.name == "brand" else field for field in products.fields)
    contracts = {"products": msgspec.structs.replace(products, fields=fields)}
    door = Door(tmp_path / "landing", tmp_path / "quarantine", contracts)
    said = (
        "contract products, column brand, rule enum, 1 rows: the contract stops the batch for it, first in row 2, "
        "'Privat': it takes National, Private; did you mean 'Private'?"
    )
    with pytest.raises(ContractViolation) as violation:
        _land(door, tmp_path, "products", second(brand="Privat")(_rows("products")))
    assert str(violation.value) == said


def test_a_row_names_every_rule_it_breaks(landing: Path) -> None:
    """Mending the first alone would bring it back; a value of a wrong type is not called missing as well."""
    file = second(quantity="many", sales_value=-1, currency="EUR")(_rows("transactions"))
    door = _door(landing)
    (reject,) = door.rejected(_land(door, landing, "transactions", file)).to_pylist()
    assert (reject["column"], reject["rule"]) == ("quantity", "type")
    assert reject["also"] == "sales_value.minimum, currency.enum"


def test_a_long_list_is_no_violation(landing: Path) -> None:
    """Length has no bound that a contract does not set; it lands as it came."""
    door = _door(landing)
    assert _land(door, landing, "contacts", second(offers=MANY)(_rows("contacts"))).landed == 3
    assert MANY in door.read("contacts", ["offers"])["offers"].to_pylist()
