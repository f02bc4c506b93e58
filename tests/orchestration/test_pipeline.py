"""Tests of the whole pipeline: real data of a sample of households, real dbt, Feast and MLflow, in this process."""

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from nextbest.adapters.complete_journey import CompleteJourney
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.marts import live_history_file, scores_file
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope
from nextbest.intake import envelope
from nextbest.settings import Settings
from orchestration.commands import pipeline
from orchestration.definitions import defs
from orchestration.instance import open_instance
from orchestration.unchanged import last_evaluation

pytestmark = pytest.mark.integration

CUSTOMERS = 154
"""The 150 households of the sample, of whom four have an account in the web shop too."""


def test_everything_lands(first_run: dict[str, Any]) -> None:
    """Nothing is lost, and what the contracts say holds."""
    landed = first_run["landed"]
    assert landed["customers"] == {"received": CUSTOMERS, "landed": CUSTOMERS, "rejected": 0}
    assert landed["products"]["landed"] > 90_000
    assert landed["transactions"]["landed"] > 50_000
    assert all(each["landed"] + each["rejected"] == each["received"] for each in landed.values())
    assert first_run["checks"]["passed"] > 100
    assert first_run["checks"]["failed"] == 0


def test_the_report_says_what_checks_cost(first_run: dict[str, Any]) -> None:
    """The steps that check, and the part that tests have of the warehouse's."""
    steps = first_run["seconds"]["quality"] + first_run["seconds"]["reconciliation"]
    assert steps < first_run["checks_seconds"] < steps + first_run["seconds"]["warehouse"]
    share = first_run["checks_seconds"] / sum(first_run["seconds"].values())
    assert first_run["checks_share"] == pytest.approx(share, abs=0.001)


def test_models_are_registered(first_run: dict[str, Any]) -> None:
    """All that there is enough for are there with their metrics, whatever the gate makes of a sample this small."""
    versions = {model["name"]: model["version"] for model in first_run["models"]}
    assert versions == {"propensity": "1", "clv": "1", "intent": "1"}
    assert all(model["metrics"] for model in first_run["models"])


def test_serving_gets_what_it_needs(home: Any, first_run: dict[str, Any]) -> None:
    """Features are published and online; every landed consent and identity is in the event log once."""
    settings: Settings = home.settings
    assert (settings.marts / "current" / "customer_rfm.parquet").is_file()
    assert settings.feast_online.is_file()
    log = SqliteLog(settings.event_log)
    kinds = [record.contract for _, record in log.read_sync(0, 10_000)]
    log.close()
    assert kinds.count("consents") == first_run["landed"]["consents"]["landed"]
    assert kinds.count("identities") == first_run["landed"]["identities"]["landed"]


def test_the_run_is_in_the_instance(home: Any, first_run: dict[str, Any]) -> None:
    """The UI shows the run of the command line, with its numbers and the pictures of each model."""
    with home.environment(), open_instance(home.settings) as instance:
        run = instance.get_run_by_id(first_run["run_id"])
        assert run is not None
        assert run.is_success
        event = instance.get_latest_materialization_event(dg.AssetKey(["landing", "customers"]))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["landed"].value == CUSTOMERS
        trained = instance.get_latest_materialization_event(dg.AssetKey(["models", "clv"]))
        assert trained is not None
        assert trained.asset_materialization is not None
        for figure in ("calibration", "gain"):
            picture = str(trained.asset_materialization.metadata[figure].value)
            assert picture.startswith(f"![{figure}](data:image/png;base64,iVBOR")


def test_an_unchanged_run_skips(home: Any, first_run: dict[str, Any]) -> None:
    """A second run does nothing again, and still reports everything."""
    report, output = home.run()
    assert report["ok"], output
    assert {"landing/transactions", "marts/customer_rfm", "models/propensity", "features/online_store"} <= set(
        report["skipped"]
    )
    assert report["landed"] == first_run["landed"]
    assert report["checks"] == first_run["checks"]
    assert report["models"] == first_run["models"]


def test_the_log_is_landed_by_day(home: Any, first_run: dict[str, Any]) -> None:
    """Outcomes in the event log land as the delivery of the day they arrived; only what reads them is built again."""
    today, yesterday = datetime.now(UTC), datetime.now(UTC) - timedelta(days=1)
    log = SqliteLog(home.settings.event_log)
    log.append_sync([_outcome(home, "o1", yesterday), _outcome(home, "o2", today), _outcome(home, "o3", today)])
    log.close()
    report, output = home.run()
    assert report["ok"], output
    assert report["landed"]["outcomes"]["landed"] == first_run["landed"]["outcomes"]["landed"] + 3
    assert "staging/stg_outcomes" not in report["skipped"]
    assert {"staging/stg_transactions", "marts/customer_profile", "features/snapshot", "models/clv"} <= set(
        report["skipped"]
    )
    assert _received(home, "outcomes") == {f"log-{yesterday:%Y-%m-%d}": 1, f"log-{today:%Y-%m-%d}": 2}


@pytest.mark.usefixtures("first_run")
def test_a_day_is_backfilled(home: Any) -> None:
    """One day that is gone is landed anew by its partition, as the UI does it, and nothing doubles."""
    before = _received(home, "outcomes")
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    (batch,) = (home.settings.landing / "outcomes").glob(f"batch=*log-{day}*")
    shutil.rmtree(batch)
    assert _received(home, "outcomes") == {name: rows for name, rows in before.items() if day not in name}
    with home.environment(), open_instance(home.settings) as instance:
        job = defs().resolve_job_def("feedback_job")
        result = job.execute_in_process(instance=instance, partition_key=day)
        assert result.success
        assert day in instance.get_materialized_partitions(dg.AssetKey(["feedback", "outcomes"]))
    assert _received(home, "outcomes") == before


@pytest.mark.usefixtures("first_run")
def test_a_selection_runs_alone(home: Any, tmp_path: Path) -> None:
    """The command takes Dagster's own syntax and does nothing else."""
    assert list(_selected(home, tmp_path, "group:serving")["seconds"]) == ["serving"]


@pytest.mark.usefixtures("first_run")
def test_what_is_made_in_one_step_is_made_whole(home: Any, tmp_path: Path) -> None:
    """Who asks for one table of what came in gets all that come in with it, and no stack of calls."""
    assert _selected(home, tmp_path, 'key:"feedback/decisions"')["seconds"].keys() == {"feedback", "quality"}


def _selected(home: Any, folder: Path, select: str) -> dict[str, Any]:
    """What the command reports of a selection."""
    path = folder / "report.json"
    with home.environment():
        result = CliRunner().invoke(pipeline, ["--select", select, "--json", str(path)])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(path.read_text())
    assert report["ok"]
    return report


@pytest.mark.usefixtures("first_run")
def test_a_selection_that_is_none_is_said(home: Any) -> None:
    """A typing error ends with the option's name, before anything runs."""
    with home.environment():
        result = CliRunner().invoke(pipeline, ["--select", "group landing"])
        nothing = CliRunner().invoke(pipeline, ["--select", "group:trainin"])
    assert result.exit_code == nothing.exit_code == 2
    assert "--select" in result.output
    assert "group:trainin names no asset: there are the groups" in " ".join(nothing.output.split())


@pytest.mark.usefixtures("first_run")
def test_the_report_and_the_scores_follow_the_registry(home: Any) -> None:
    """Someone moves the alias between runs: nothing is trained, the report says so, and what may serve scores."""
    client = MlflowClient(home.settings.mlflow_uri, home.settings.mlflow_uri)
    select = 'key:"models/clv" or key:"scoring/customer_scores"'
    client.set_registered_model_alias("clv", "champion", "1")
    report, output = home.run(select=select)
    assert report["ok"], output
    scores = scores_file(home.settings.marts)
    assert not pq.read_table(scores)["clv_91d"].drop_null().to_pylist()  # its gate did not let it through
    client.set_model_version_tag("clv", "1", "gate", "passed")
    aliases = {}
    for name in ("promoted", "demoted"):
        if name == "promoted":
            client.set_registered_model_alias("clv", "champion", "1")
        else:
            client.delete_registered_model_alias("clv", "champion")
        report, output = home.run(select=select)
        assert report["ok"], output
        assert report["skipped"] == ["models/clv"]
        [model] = report["models"]
        aliases[name] = (model["version"], model["alias"])
        assert "does not become champion: " in output
        if name == "promoted":
            assert len(pq.read_table(scores)["clv_91d"].drop_null()) == CUSTOMERS
    assert aliases == {"promoted": ("1", "champion"), "demoted": ("1", None)}


@pytest.mark.usefixtures("first_run")
def test_live_features_of_past_contacts_are_made_when_asked_for(home: Any) -> None:
    """The pipeline leaves them out; by themselves they are made once, a row for every customer and contact."""
    path = live_history_file(home.settings.marts)
    assert not path.exists()
    for skipped in ([], ["features/live_history"]):
        report, output = home.run(select='key:"features/live_history"')
        assert report["ok"], output
        assert report["skipped"] == skipped
    made = pq.read_table(path).to_pandas()
    labels = pq.read_table(home.settings.marts / "current" / "propensity_labels.parquet").to_pandas()
    assert len(made) == len(labels[["customer_id", "contacted_at"]].drop_duplicates())
    assert (made["live_purchase_value_7d"] > 0).mean() > 0.5
    assert made["live_cart_value"].notna().all()


@pytest.mark.usefixtures("first_run")
def test_a_broken_landing_stops_before_dbt(home: Any) -> None:
    """Rows that someone changed behind the door fail their contract's check, one click away; no model reads them."""
    part = next((home.settings.landing / "consents").glob("batch=*complete*/day=*/part-0.parquet"))
    good, table = part.read_bytes(), pq.read_table(part, partitioning=None)
    purpose = table.schema.get_field_index("purpose")
    pq.write_table(table.set_column(purpose, "purpose", pa.array(["fun"] * table.num_rows)), part)
    try:
        report, output = home.run(select='key:"landing/consents"+1', full=True)
    finally:
        part.write_bytes(good)
    assert not report["ok"]
    assert report["checks"]["failed"] == 1
    assert "landing/consents: values  purpose: enum ('marketing', 'personalization', 'analytics')" in output
    assert "warehouse" not in report["seconds"]
    failed = _evaluation(home, "landing/consents", "values")
    assert failed.metadata["data docs"].value == f"{home.settings.dagster_url}/quality/data_docs/consents.html"
    assert failed.metadata["failed rows"].value == f"{home.settings.dagster_url}/quality/failed_rows/consents.html"
    page = home.settings.quality / "failed_rows" / "consents.html"
    assert "<td>fun</td>" in page.read_text()
    mended, output = home.run(select='key:"landing/consents"')
    assert mended["ok"], output
    assert mended["checks"] == {"passed": 4, "failed": 0, "warned": 0}
    assert not page.exists()


@pytest.mark.usefixtures("first_run")
def test_a_mart_that_lost_spend_is_not_published(home: Any) -> None:
    """What dbt built and tested does not add up any more: the check shows where, and the snapshot waits."""
    warehouse = home.settings.warehouse
    good = warehouse.read_bytes()
    with closing(duckdb.connect(warehouse)) as connection:
        connection.execute("UPDATE marts.customer_rfm SET spend_364d = spend_364d / 2 WHERE spend_364d > 1000")
    try:
        report, output = home.run(select='key:"marts/customer_rfm" or key:"features/snapshot"')
    finally:
        warehouse.write_bytes(good)
    assert not report["ok"]
    assert "marts/customer_rfm: reconciliation  marts.customer_rfm lacks " in output
    assert "features" not in report["seconds"]
    stages = str(_evaluation(home, "marts/customer_rfm", "reconciliation").metadata["stages"].value)
    assert [line.split("|")[1].strip() for line in stages.splitlines()[2:]] == [
        "intermediate.int_customer_days",
        "marts.customer_rfm",
        "difference",
    ]


def _evaluation(home: Any, asset: str, check: str) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), check)
    with home.environment(), open_instance(home.settings) as instance:
        found = last_evaluation(instance, key)
    assert found is not None
    return found


@pytest.mark.usefixtures("first_run")
def test_what_reads_a_model_that_failed_a_check_is_built_again(home: Any) -> None:
    """Someone may have mended the model: it and what reads it are built and tested anew, and nothing beside them."""
    failed = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(["intermediate", "int_product_counts"]),
        check_name="int_product_counts_has_a_unique_key",
        passed=False,
        metadata={},
    )
    with home.environment(), open_instance(home.settings) as instance:
        instance.report_runless_asset_event(failed)
    report, output = home.run(select="group:intermediate or group:marts")
    assert report["ok"], output
    built = {"intermediate/int_product_counts", "marts/customer_rfm"}
    assert built.isdisjoint(report["skipped"])
    assert {"intermediate/int_customer_days", "marts/category_affinity"} <= set(report["skipped"])


class Broken(CompleteJourney):
    """A source whose transactions lack a column."""

    def read(self, contract: str) -> pa.Table:
        table = super().read(contract)
        return table.drop_columns(["sales_value"]) if contract == "transactions" else table


def test_a_missing_column_stops_the_run(
    empty_home: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command ends with contract, column, rule and rows; nothing of the delivery lands, nothing after it runs.

    Whoever listens hears of it once.
    """
    monkeypatch.setattr("orchestration.defs.landing.load_source", Broken)
    monkeypatch.setattr("orchestration.defs.resources.load_source", Broken)
    report = tmp_path / "report.json"
    with receiver() as (url, heard), empty_home.environment():
        monkeypatch.setenv("NEXTBEST_ALERT_WEBHOOK", url)
        result = CliRunner().invoke(pipeline, ["--json", str(report)])
    assert result.exit_code != 0
    assert [told["error"] for told in heard] == ["step landing ended with ContractViolation"]
    message = str(result.exception)
    assert "contract transactions, column sales_value, rule " in message
    assert "rows" in message
    written = json.loads(report.read_text())
    assert written["ok"] is False
    assert written["landed"]["transactions"] == {"received": 0, "landed": 0, "rejected": 0}
    assert written["landed"]["customers"]["landed"] == 20
    assert "warehouse" not in written["seconds"]


def _outcome(home: Any, outcome_id: str, at: datetime) -> Envelope:
    contracts = load_contracts(home.settings.folder("contracts"))
    door = Door(home.settings.landing, home.settings.quarantine, contracts)
    row = {
        "outcome_id": outcome_id,
        "customer_id": door.keys("customers", "customer_id")[0].as_py(),
        "action": "cheese",
        "kind": "redemption",
        "currency": "USD",
        "occurred_at": at,
        "source": "simulated",
    }
    return envelope(contracts["outcomes"], row, at)


def _received(home: Any, contract: str) -> dict[str, int]:
    """Rows received from the event log, by delivery."""
    door = Door(home.settings.landing, home.settings.quarantine, load_contracts(home.settings.folder("contracts")))
    return {each.source_name: each.received for each in door.receipts(contract) if each.source_name.startswith("log-")}
