"""A contract's new major version in the pipeline: readers meet the new columns, or are told what to write."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.csv
import pytest
import yaml
from click.testing import CliRunner, Result

from nextbest.adapters.landing import Door
from nextbest.settings import CHECKOUT, Settings
from orchestration.contract_commands import contracts
from orchestration.defs import landing, quality, resources

AT = "2026-03-01T12:00:00Z"
CUSTOMERS = {"customer_id": ["ann"], "time_zone": ["Europe/Berlin"], "updated_at": [AT], "source": ["import"]}
PRODUCTS = {"product_id": ["tea", "gin"], "department": ["DRINKS"] * 2, "source": ["import"] * 2}
AMOUNTS = ("sales_value", "retail_discount", "coupon_discount", "coupon_match_discount")
SALES = {
    "basket_id": ["b1", "b1"],
    "product_id": ["tea", "gin"],
    "customer_id": ["ann"] * 2,
    "store_id": ["s1"] * 2,
    "quantity": [1, 2],
    **{name: [0.5, 2.5] for name in AMOUNTS},
    "currency": ["USD"] * 2,
    "occurred_at": [AT] * 2,
    "source": ["import"] * 2,
}
MIGRATION = "select * exclude (sales_value), sales_value as revenue, 'main' as till_id from landed"
SHOP = """
import pyarrow as pa

class Shop:
    name = "shop"

    def __init__(self, settings): ...

    def contracts(self):
        return ("transactions",)

    def fingerprint(self, contract):
        return "1"

    def read(self, contract):
        return pa.table({sales})
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Customers, products and a file of transactions have landed; then the contract of the last got a new major."""
    settings = Settings(home=tmp_path, source="none")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    shutil.copytree(CHECKOUT / "data_contracts", tmp_path / "data_contracts")
    door = Door.of(settings)
    for contract, rows in (("customers", CUSTOMERS), ("products", PRODUCTS), ("transactions", SALES)):
        path = tmp_path / f"{contract}.csv"
        pyarrow.csv.write_csv(pa.table(rows), path)
        door.land_file(contract, path)
    path = tmp_path / "data_contracts" / "transactions.odcs.yaml"
    document = yaml.safe_load(path.read_text().replace("version: 2.2.0", "version: 3.0.0"))
    columns = document["schema"][0]["properties"]
    next(each for each in columns if each["name"] == "sales_value")["name"] = "revenue"
    columns.append({"name": "till_id", "logicalType": "string", "physicalType": "VARCHAR", "required": True})
    path.write_text(yaml.safe_dump(document))
    return settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _write_migration(settings: Settings) -> Path:
    path = settings.folder("contracts") / "migrations" / "transactions" / "2-to-3.sql"
    path.write_text(MIGRATION)
    return path


def _check(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Run the checks of the contract, the first step that reads what has landed."""
    selection = dg.AssetSelection.checks_for_assets(landing.landing_key("transactions"))
    definitions = dg.Definitions.merge(
        landing.defs(),
        quality.defs(),
        resources.defs(),
        dg.Definitions(jobs=[dg.define_asset_job("check", selection)]),
    )
    return definitions.resolve_job_def("check").execute_in_process(instance=instance, raise_on_error=False)


def _said(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    data: Any = failed.step_failure_data
    return str(data.user_failure_data.description)


def _as_staging_reads(settings: Settings) -> list[dict[str, Any]]:
    files = f"{settings.landing}/transactions/batch=*/**/*.parquet"
    table = duckdb.read_parquet(files, union_by_name=True, hive_partitioning=False).to_arrow_table()
    columns = [name for name in ("product_id", "sales_value", "revenue", "till_id") if name in table.column_names]
    rows: list[dict[str, Any]] = table.select(columns).sort_by([("product_id", "descending")]).to_pylist()
    return rows


def test_a_reader_meets_the_new_columns_alone(home: Settings, instance: dg.DagsterInstance) -> None:
    """The first step that reads carries what has landed; the suite of the new version passes on it."""
    _write_migration(home)
    result = _check(instance)
    assert result.success
    evaluations = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert all(evaluations[name].passed for name in ("schema", "keys", "references", "values"))
    assert evaluations["values"].metadata["rows"].value == 2
    assert _as_staging_reads(home) == [
        {"product_id": "tea", "revenue": 0.5, "till_id": "main"},
        {"product_id": "gin", "revenue": 2.5, "till_id": "main"},
    ]


def test_without_a_migration_the_step_says_what_to_write(home: Settings, instance: dg.DagsterInstance) -> None:
    """The failed step names the file and the batches, and nothing has changed."""
    before = Door.of(home).receipts("transactions")
    result = _check(instance)
    assert not result.success
    said = _said(result)
    assert f"{home.home}/data_contracts/migrations/transactions/2-to-3.sql is missing: write it as one SELECT" in said
    assert before[0].batch_id in said
    assert Door.of(home).receipts("transactions") == before


def test_what_the_source_delivers_anew_needs_no_migration(
    home: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The landing step takes the place of the source's own batch; what was landed by hand is for a migration."""
    new = {"revenue" if name == "sales_value" else name: values for name, values in SALES.items()}
    (home.home / "shop.py").write_text(SHOP.format(sales=new | {"till_id": ["t1", "t2"]}))
    monkeypatch.syspath_prepend(str(home.home))
    monkeypatch.setenv("NEXTBEST_SOURCE", "shop:Shop")
    (batch,) = (home.landing / "transactions").glob("batch=*/_receipt.json")
    batch.write_text(batch.read_text().replace(f"{home.home}/transactions.csv", "shop"))
    assets = next(each for each in landing.defs().assets or () if isinstance(each, dg.AssetsDefinition))
    result = dg.materialize([assets], instance=instance, resources={"workspace": resources.Workspace()})
    assert result.success
    assert _check(instance).success
    assert [row["till_id"] for row in _as_staging_reads(home)] == ["t1", "t2"]


def _migrate(settings: Settings) -> Result:
    return CliRunner(env=settings.environment()).invoke(contracts, ["migrate"])


def test_the_command_shows_what_was_migrated(home: Settings) -> None:
    """A row per batch with its versions and rows; the second time there is nothing to do."""
    _write_migration(home)
    result = _migrate(home)
    assert result.exit_code == 0
    assert "1 batches migrated, 0 contracts could not be" in result.output
    assert {"transactions", "2.2.0", "3.0.0"} <= set(result.output.replace("│", " ").split())
    assert "0 batches migrated, 0 contracts could not be" in _migrate(home).output


def test_the_command_says_what_is_missing(home: Settings) -> None:
    """One line per contract, on standard error; the status is 1."""
    result = _migrate(home)
    assert result.exit_code == 1
    assert "0 batches migrated, 1 contracts could not be" in result.stdout
    assert "transactions/2-to-3.sql is missing" in result.stderr
