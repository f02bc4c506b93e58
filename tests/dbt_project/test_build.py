import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta

import duckdb
import pytest

from nextbest.adapters.complete_journey import CompleteJourney
from nextbest.adapters.complete_journey.mapping import connect
from nextbest.adapters.complete_journey.trial import features_of
from nextbest.adapters.contract_files import load_contracts
from nextbest.settings import Settings
from nextbest.source import slug

pytestmark = pytest.mark.integration

Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


def test_build_passes_every_test(warehouse: duckdb.DuckDBPyConnection) -> None:
    """On real data every model is built, every data test and unit test holds, and every mart has rows."""
    marts = warehouse.execute(
        "select table_name from information_schema.tables where table_schema = 'marts'"
    ).fetchall()
    rows = {name: warehouse.execute(f"select count(*) from marts.{name}").fetchall()[0][0] for (name,) in marts}  # noqa: S608  names of our own
    assert len(rows) == 10
    assert all(rows.values()), rows


def test_labels_of_decisions_are_what_the_trial_gave(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Every decision is a row with its draw; nothing is seen of nothing; responses come to it too, but less often."""
    [row] = warehouse.execute(
        "select count(*), count(draw), sum(is_complete::int),"
        " count(case when action = 'do_nothing' and is_seen then 1 end),"
        " count(case when is_answered and not any_response_7d and is_complete then 1 end),"
        " avg(case when action = 'do_nothing' then any_response_7d::int end), avg(any_response_7d::int)"
        " from marts.decision_labels"
    ).fetchall()
    decisions, draws, complete, seen_nothing, late, anyway, response = row
    assert decisions == draws == 8 * 60
    assert complete == 7 * 60
    assert seen_nothing == 0
    assert late < 10
    assert 0 < anyway < 0.3
    assert 0 < response < 0.4


def test_customers_of_the_trial_answer_by_the_marts_features(
    warehouse: duckdb.DuckDBPyConnection, home: Settings
) -> None:
    """The truth of an answer can be told from what a model is shown, row by row."""
    source = CompleteJourney(home)
    rows = warehouse.execute(
        "select customer_id, as_of, recency_days, response_rate_364d, category_spend_182d__cheese"
        " from marts.customer_rfm join marts.contact_response using (customer_id, as_of)"
        " join marts.category_affinity using (customer_id, as_of)"
    ).fetchall()
    marts = {(customer, as_of): features for customer, as_of, *features in rows}
    households = [int(customer) for customer in {customer for customer, _ in marts} if customer.isdigit()]
    [(last,)] = warehouse.execute("select ends_at from intermediate.int_history").fetchall()
    with closing(connect(source.shift, households)) as con:
        found = features_of(con, last - timedelta(weeks=9), last, ["cheese"])
    assert len(found) == 60
    for customer, known in found.items():
        assert len(known) == 10
        for monday, features in known.items():
            recency_days, response_rate, cheese = marts[customer, monday]
            assert (features["recency_days"] or 9999) == recency_days
            assert features["response_rate_364d"] == pytest.approx(response_rate)
            assert features.get("category_spend_182d__cheese", 0.0) == pytest.approx(cheese)


def test_staging_has_the_columns_of_the_contracts(warehouse: duckdb.DuckDBPyConnection, home: Settings) -> None:
    """No field is dropped or renamed between a contract and staging, and none appears but ids made from names."""
    for name, contract in load_contracts(home.folder("contracts")).items():
        described = warehouse.execute(f"describe staging.stg_{name}").fetchall()
        columns = [column for column, *_ in described]
        added = ["department_id", "category_id"] if name == "products" else []
        assert sorted(columns) == sorted([*(field.name for field in contract.fields), *added])


def test_ids_of_categories_are_ids_of_actions(warehouse: duckdb.DuckDBPyConnection) -> None:
    """SQL and Python turn a name into the same id: else features would miss their action."""
    names = warehouse.execute(
        "select distinct category, category_id from staging.stg_products where category is not null"
        " union select distinct department, department_id from staging.stg_products"
    ).fetchall()
    assert len(names) > 100
    assert [(name, id_) for name, id_ in names if slug(name) != id_] == []


def test_asset_keys_follow_the_folders(home: Settings, warehouse: duckdb.DuckDBPyConnection) -> None:  # noqa: ARG001  built
    """A model's schema is its folder, so that its Dagster key says its layer, and sources are the landing assets."""
    manifest = json.loads((home.state / "target" / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert {(node["schema"], node["path"].split("/")[0]) for node in models} == {
        (layer, layer) for layer in ("staging", "intermediate", "marts")
    }
    contracts = {("landing", name) for name in load_contracts(home.folder("contracts"))}
    assert {(source["source_name"], source["name"]) for source in manifest["sources"].values()} == contracts


def test_the_spine_is_every_monday_and_the_last_midnight(warehouse: duckdb.DuckDBPyConnection, yesterday: date) -> None:
    """The variable `as_of` says the last midnight; before it there is one every Monday, for every customer."""
    days = [day for (day,) in warehouse.execute("select as_of_day from intermediate.int_as_of order by 1").fetchall()]
    assert days[-1] == yesterday
    assert {day.weekday() for day in days[:-1]} == {0}
    assert days[-2] >= yesterday - timedelta(days=7)
    [(rows,)] = warehouse.execute("select count(*) from marts.customer_rfm").fetchall()
    [(customers,)] = warehouse.execute("select count(*) from staging.stg_customers").fetchall()
    assert rows == customers * len(days)


def test_documentation_is_generated(dbt: Dbt, home: Settings, built: object) -> None:  # noqa: ARG001  built before
    """`dbt docs generate` writes the catalogue of every model and source."""
    done = dbt("docs", "generate", "--no-compile")
    assert done.returncode == 0, done.stdout
    catalogue = json.loads((home.state / "target" / "catalog.json").read_text())
    assert "model.nextbest.customer_rfm" in catalogue["nodes"]
