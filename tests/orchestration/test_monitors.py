"""Tests of `orchestration.monitors`: what a contract promises of a delivery as a whole."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Freshness
from nextbest.settings import CHECKOUT
from orchestration.monitors import Landed, Verdict, judge, monitored_columns, promised_monitors

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
TRANSACTIONS, PRODUCTS = CONTRACTS["transactions"], CONTRACTS["products"]
NOW = datetime(2026, 11, 25, 4, tzinfo=UTC)
ROWS_A_DAY = 60


def _sales(days: int = 120, newest: datetime = NOW) -> pa.Table:
    """Sixty lines a day, with prices that scatter; the newest is `newest`."""
    random = np.random.default_rng(0)
    count = days * ROWS_A_DAY
    minutes = np.arange(count) * (24 * 60 // ROWS_A_DAY)
    schema = pa.schema([TRANSACTIONS.schema.field(name) for name in monitored_columns(TRANSACTIONS)])
    columns: dict[str, Any] = {
        "occurred_at": [newest - timedelta(minutes=int(each)) for each in minutes],
        "store_id": [f"s{row % 9}" for row in range(count)],
        "quantity": random.integers(1, 9, count),
        "sales_value": random.lognormal(1, 0.6, count).round(2),
        "retail_discount": np.zeros(count),
        "coupon_discount": np.zeros(count),
        "coupon_match_discount": np.zeros(count),
        "currency": ["USD"] * count,
        "source": ["import"] * count,
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _judge(contract: Contract, monitor: str, rows: pa.Table, **landed: Any) -> Verdict:
    given: dict[str, Any] = {"landed_at": NOW, "version": "v1", "history": Path("none.json"), "now": NOW}
    return judge(contract, monitor, Landed(rows=rows, **(given | landed)))


def _since(rows: pa.Table, days: int) -> np.ndarray[Any, Any]:
    return np.array([(NOW - each).days < days for each in rows["occurred_at"].to_pylist()])


def test_honest_data_passes() -> None:
    """Nothing is wrong with a shop that sells as it always did."""
    rows = _sales()
    for monitor in promised_monitors(TRANSACTIONS):
        assert _judge(TRANSACTIONS, monitor, rows).passed


def test_what_is_older_than_promised_is_stale() -> None:
    """Newest value, age and limit are said; seven days are fine, eight are not."""
    assert _judge(TRANSACTIONS, "freshness", _sales(newest=NOW - timedelta(days=7))).passed
    stale = _judge(TRANSACTIONS, "freshness", _sales(newest=NOW - timedelta(days=8)))
    assert not stale.passed
    assert stale.said == "newest occurred_at: 2026-11-17 04:00 UTC, 8 days ago; the limit is 7"


def test_what_comes_through_the_log_is_fresh_too() -> None:
    """The newest of both is how fresh the table is; only deliveries have a usual day."""
    old, new = _sales(newest=NOW - timedelta(days=8)), _sales(newest=NOW)
    assert _judge(TRANSACTIONS, "freshness", old, logged=new).passed
    assert not _judge(TRANSACTIONS, "freshness", old, logged=new.slice(0, 0)).passed


def test_a_mistyped_year_keeps_nothing_fresh() -> None:
    """The newest value up to now counts, not the newest."""
    rows = _sales(newest=NOW - timedelta(days=8))
    future = rows.slice(0, 1).set_column(0, "occurred_at", pa.array([NOW + timedelta(days=999)], rows.schema[0].type))
    assert not _judge(TRANSACTIONS, "freshness", pa.concat_tables([rows, future])).passed


def test_without_a_column_the_delivery_is_fresh_or_not() -> None:
    """What has no time of its own is as old as its delivery; what never came cannot be old."""
    contract = msgspec.structs.replace(PRODUCTS, freshness=Freshness(days=2))
    rows = PRODUCTS.schema.empty_table()
    assert _judge(contract, "freshness", rows, landed_at=NOW - timedelta(days=2)).passed
    assert not _judge(contract, "freshness", rows, landed_at=NOW - timedelta(days=3)).passed
    assert _judge(contract, "freshness", rows, landed_at=None).said == "nothing has landed yet, so nothing is old"


def test_half_a_day_and_a_day_twice_are_noticed() -> None:
    """The last complete day against the same weekday of the weeks before."""
    rows = _sales()
    yesterday = np.array([each.date() == NOW.date() - timedelta(days=1) for each in rows["occurred_at"].to_pylist()])
    half = rows.filter(pa.array(~yesterday | (np.arange(rows.num_rows) % 2 == 0)))
    twice = pa.concat_tables([rows, rows.filter(pa.array(yesterday))])
    found = [_judge(TRANSACTIONS, "volume", each) for each in (half, twice)]
    assert [each.passed for each in found] == [False, False]
    assert found[0].said.startswith("30 rows of Tuesday 2026-11-24, -50.0% against a median of 60")


def test_shifted_prices_are_noticed() -> None:
    """Four weeks of prices a third up: the column is named, and shown before and after."""
    rows = _sales()
    prices = np.where(_since(rows, 28), 1.4, 1) * rows["sales_value"].to_numpy()
    index = rows.schema.get_field_index("sales_value")
    found = _judge(TRANSACTIONS, "drift", rows.set_column(index, "sales_value", pa.array(prices)))
    assert not found.passed
    assert found.said.startswith("sales_value: PSI 0.")
    assert [row["column"] for row in found.table if row["verdict"] == "drifted"] == ["sales_value"]
    assert found.picture.startswith("![sales_value](data:image/png;base64,")


@pytest.mark.parametrize(("monitor", "days"), [("volume", 20), ("drift", 100)])
def test_too_little_history_passes_and_says_so(monitor: str, days: int) -> None:
    """A young shop is not alarmed by its youth."""
    for rows in (_sales(days), _sales(0)):
        found = _judge(TRANSACTIONS, monitor, rows)
        assert found.passed
        assert found.said.startswith("too little history")


def test_a_snapshot_is_compared_with_the_last_different_one(tmp_path: Path) -> None:
    """Asked again about one delivery the answer is the same, though it is kept the first time it is asked."""
    brands = {"v1": ["National"] * 900 + ["Private"] * 100, "v2": ["National"] * 500 + ["Private"] * 200}
    verdicts = {}
    for version, names in brands.items():
        columns = {field.name: pa.nulls(len(names), field.type) for field in PRODUCTS.schema}
        table = pa.table(columns | {"brand": names}, schema=PRODUCTS.schema)
        history = tmp_path / "kept" / "products.json"
        verdicts[version] = [
            [_judge(PRODUCTS, monitor, table, version=version, history=history) for monitor in ("volume", "drift")]
            for _ in range(2)
        ]
        assert verdicts[version][0] == verdicts[version][1]
    assert [each.said.partition(":")[0] for each in verdicts["v1"][0]] == ["too little history"] * 2
    volume, drift = verdicts["v2"][0]
    assert (volume.passed, drift.passed) == (False, False)
    assert volume.said == "700 rows, -30.0% against 1,000 in the delivery before; the limit is 20%"
    assert drift.said.startswith("brand: PSI 0.")


def test_what_identifies_somebody_is_not_profiled() -> None:
    """Keys, references and pseudonyms are in no profile, which is kept for long."""
    looked_at = {name for contract in CONTRACTS.values() for name in monitored_columns(contract)}
    assert looked_at.isdisjoint({"customer_id", "basket_id", "product_id", "identifier_hmac", "value"})
