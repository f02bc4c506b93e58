"""Data of one's own, as README says: files as people have them, landed by the command, through the whole pipeline.

One shop has files in the contracts' own columns; another has invoices in the manner of UCI's Online Retail, which this
code has not seen, and starts with `nextbest init`.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from nextbest.adapters.complete_journey import CompleteJourney
from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.policy_files import read_policy
from nextbest.adapters.supervisor import Supervisor, free_ports
from nextbest.settings import CHECKOUT, Settings
from orchestration.definitions import defs
from orchestration.defs.features import ONLINE
from orchestration.defs.resources import Workspace
from orchestration.instance import open_instance
from orchestration.unchanged import last_materialization

pytestmark = pytest.mark.integration

HOUSEHOLDS = 150
CUSTOMERS = 154
"""Four of the households have an account in the web shop too."""
ACTIONS = ("beers_ales", "coffee", "frozen_pizza")
DEPARTMENTS = ("grocery", "meat", "spirits")
MARTS = {
    "action_statistics",
    "category_affinity",
    "category_events",
    "clv_labels",
    "contact_response",
    "customer_profile",
    "customer_rfm",
    "decision_labels",
    "department_affinity",
    "propensity_labels",
}
PRODUCTS = [
    f"{kind} {thing}"
    for kind in ("WHITE", "RED", "VINTAGE", "JUMBO")
    for thing in ("TEA CUP", "LANTERN", "CAKE STAND", "BAG")
]
BUYERS, LINES = 120, 3_000


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """What the shops of these tests know, by contract."""
    demo = CompleteJourney(Settings(home=tmp_path_factory.mktemp("demo"), households=HOUSEHOLDS))
    return {contract: demo.read(contract) for contract in demo.contracts()}


def make_home(home: Path) -> Settings:
    http, dagster, mlflow = free_ports("127.0.0.1", 3)
    return Settings(home=home, source="none", http_port=http, dagster_port=dagster, mlflow_port=mlflow)


def nextbest(settings: Settings, *arguments: str | Path) -> None:
    """Run the command, as people type it."""
    environment = {**os.environ, **settings.environment()}
    command = [sys.executable, "-m", "nextbest", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def as_csv(table: pa.Table, path: Path) -> Path:
    """A spreadsheet's file: a list is JSON in its cell."""
    for number, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = [msgspec.json.encode(value).decode() for value in table.column(number).to_pylist()]
            table = table.set_column(number, field.name, pa.array(texts))
    pyarrow.csv.write_csv(table, path)
    return path


def as_parquet(table: pa.Table, path: Path) -> Path:
    pq.write_table(table, path)
    return path


def as_json_lines(table: pa.Table, path: Path) -> Path:
    """What a service writes: a field without a value is left out."""
    rows = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    path.write_bytes(msgspec.json.Encoder().encode_lines(rows))
    return path


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    document = yaml.safe_load(path.read_text())
    yield document
    written_out = json.loads(json.dumps(document))  # what is there twice would be an alias
    path.write_text(yaml.safe_dump(written_out, sort_keys=False))


def replace_members(entries: list[dict[str, Any]], prefix: str, members: tuple[str, ...]) -> None:
    """Give a family of features other members."""
    member = next(entry for entry in entries if entry["name"].startswith(prefix))
    others = [entry for entry in entries if not entry["name"].startswith(prefix)]
    entries[:] = [*others, *(member | {"name": f"{prefix}{name}"} for name in members)]


def say_what_can_be_proposed(home: Path) -> None:
    """Copy policies and SQL into the home, and name other actions and departments than the demo's."""
    for folder in ("policies", "dbt_project"):
        shutil.copytree(CHECKOUT / folder, home / folder, ignore=shutil.ignore_patterns("target", "logs"))
    marts = home / "dbt_project" / "models" / "marts"
    with edited(home / "policies" / "actions.yaml") as policy:
        pizza = next(action for action in policy["actions"] if action["id"] == "frozen_pizza")
        [banner, *_] = pizza["treatments"]
        policy["actions"] = [pizza | {"id": name, "treatments": [banner | {"id": f"{name}_home"}]} for name in ACTIONS]
    (home / "policies" / "experiments.yaml").unlink()
    with edited(home / "policies" / "contact_policy.yaml") as policy:
        for rules in ("rules", "suppressions"):
            policy[rules] = [rule for rule in policy[rules] if rule.get("only") != ["email"]]
    with edited(home / "policies" / "features.yaml") as policy:
        replace_members(policy["features"], "department_share_91d__", DEPARTMENTS)
    with edited(home / "dbt_project" / "dbt_project.yml") as project:
        project["vars"] |= {"actions": list(ACTIONS), "departments": list(DEPARTMENTS)}
    with edited(marts / "category_affinity.yml") as document:
        replace_members(document["models"][0]["columns"], "category_spend_182d__", ACTIONS)
    with edited(marts / "department_affinity.yml") as document:
        replace_members(document["models"][0]["columns"], "department_share_91d__", DEPARTMENTS)


@pytest.fixture(scope="module")
def shop(
    home_of: Callable[[Settings], Any], tables: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A shop with actions of its own, whose files have landed."""
    settings, folder = make_home(tmp_path_factory.mktemp("shop")), tmp_path_factory.mktemp("files")
    say_what_can_be_proposed(settings.home)
    nextbest(settings, "ingest", "customers", as_csv(tables["customers"], folder / "customers.csv"))
    nextbest(settings, "ingest", "products", as_parquet(tables["products"], folder / "products.parquet"))
    half = tables["transactions"].num_rows // 2
    months = [tables["transactions"].slice(0, half), tables["transactions"].slice(half)]
    files = [as_parquet(month, folder / f"{number}.parquet") for number, month in enumerate(months)]
    nextbest(settings, "ingest", "transactions", *files)
    nextbest(settings, "ingest", "contacts", as_csv(tables["contacts"], folder / "contacts.csv"))
    for contract in ("outcomes", "consents", "identities", "events"):
        nextbest(settings, "ingest", contract, as_json_lines(tables[contract], folder / f"{contract}.jsonl"))
    return home_of(settings)


def invoices(now: datetime) -> pa.Table:
    """Lines of the twelve weeks before `now`: returns, customers nobody knows, a bad debt, a blank description."""
    rng = random.Random(11)  # noqa: S311  a seeded test
    prices = {name: round(rng.uniform(0.4, 12), 2) for name in PRODUCTS}
    lines: list[tuple[object, ...]] = []
    number = 536_365
    while len(lines) < LINES:
        number += 1
        at = now - timedelta(minutes=rng.randrange(60, 12 * 7 * 24 * 60))
        when = f"{at.month}/{at.day}/{at.year} {at.hour}:{at.minute:02d}"
        customer = None if rng.random() < 0.2 else f"{12_346 + rng.randrange(BUYERS)}.0"
        country = rng.choices(("United Kingdom", "France", "EIRE"), (90, 6, 4))[0]
        sign, prefix = (-1, "C") if rng.random() < 0.05 else (1, "")
        for name in rng.choices(PRODUCTS, k=rng.randrange(1, 8)):
            code = str(20_000 + PRODUCTS.index(name))
            units = sign * rng.randrange(1, 25)
            lines.append((f"{prefix}{number}", code, name, units, when, prices[name], customer, country))
    lines.append(("A563185", "B", "Adjust bad debt", 1, when, -11_062.06, "12346.0", "United Kingdom"))
    lines.append((str(number + 1), "22139", None, 56, when, 0.0, "12346.0", "United Kingdom"))
    names = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "Customer ID", "Country")
    return pa.table(dict(zip(names, map(list, zip(*lines, strict=True)), strict=True)))


@pytest.fixture(scope="module")
def sold() -> pa.Table:
    """What the tills of the young shop printed."""
    return invoices(datetime.now(UTC))


@pytest.fixture(scope="module")
def young_shop(home_of: Callable[[Settings], Any], sold: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A shop that has sold for some weeks and proposed nothing yet: from its invoices to a project by one command."""
    folder = tmp_path_factory.mktemp("young")
    file = as_csv(sold, folder / "online_retail.csv")
    settings = replace(make_home(folder / "shop"), source="mappings")
    nextbest(settings, "init", settings.home, "--from", f"invoices={file}", "--currency", "GBP")
    nextbest(settings, "ingest", "invoices", file)
    return home_of(settings)


def rows_of_marts(settings: Settings) -> dict[str, int]:
    return {file.stem: pq.read_metadata(file).num_rows for file in (settings.marts / "current").glob("*.parquet")}


def online_customers(home: Any) -> dict[str, int]:
    """How many customers the online store holds, by feature view."""
    with home.environment(), open_instance(home.settings) as instance:
        last = last_materialization(instance, ONLINE)
    assert last is not None
    counts = {name: value.value for name, value in last.metadata.items() if name.startswith("customers in ")}
    return {name.removeprefix("customers in "): count for name, count in counts.items()}


def test_files_of_a_shop_go_all_the_way(shop: Any, tables: dict[str, pa.Table]) -> None:
    """Every row lands, every check passes, features are online, and a model is there or its gate says why not."""
    report, output = shop.run()
    assert report["ok"], output
    counts = {contract: table.num_rows for contract, table in tables.items()} | {"decisions": 0, "signals": 0}
    assert report["landed"] == {
        contract: {"received": rows, "landed": rows, "rejected": 0} for contract, rows in counts.items()
    }
    assert report["checks"]["failed"] == 0
    assert report["checks"]["passed"] > 60
    marts = rows_of_marts(shop.settings)
    assert marts.keys() == MARTS
    assert {mart for mart, rows in marts.items() if not rows} == {"decision_labels"}
    affinity = pq.read_schema(shop.settings.marts / "current" / "category_affinity.parquet").names
    assert {name for name in affinity if "__" in name} == {f"category_spend_182d__{name}" for name in ACTIONS}
    online = online_customers(shop)
    assert {view: count for view, count in online.items() if view != "customer_scores"} == dict.fromkeys(
        ("customer_profile", "customer_rfm", "department_affinity", "category_affinity", "contact_response"), CUSTOMERS
    )
    assert {model["name"]: model["version"] for model in report["models"]} == {
        "propensity": "1",
        "clv": "1",
        "intent": "1",
    }
    for model in report["models"]:
        why_not = f"models/{model['name']}: gate  version 1 does not become champion: "
        assert (model["alias"] == "champion") != (why_not in output), output


def sales(sold: pa.Table) -> dict[tuple[str, str], float]:
    """What was sold to somebody, in GBP by basket and product: without returns, strangers and bad debts."""
    amounts: dict[tuple[str, str], float] = {}
    for row in sold.to_pylist():
        if row["Customer ID"] and row["Quantity"] > 0 and row["UnitPrice"] >= 0:
            key = row["InvoiceNo"], row["StockCode"]
            amounts[key] = amounts.get(key, 0.0) + row["Quantity"] * row["UnitPrice"]
    return amounts


def test_invoices_become_decisions_by_init(young_shop: Any, sold: pa.Table) -> None:
    """A data set the code has not seen: its sales land under the contract, and nothing but them, and a policy decides.

    Too little to learn from is no failure: gates say what is missing, features are online, serving falls back.
    """
    report, output = young_shop.run()
    assert report["ok"], output
    expected = sales(sold)
    buyers = {row["Customer ID"] for row in sold.to_pylist() if row["Customer ID"]}
    assert {contract: counts for contract, counts in report["landed"].items() if counts["received"]} == {
        contract: {"received": rows, "landed": rows, "rejected": 0}
        for contract, rows in {
            "invoices": sold.num_rows,
            "customers": len(buyers),
            "products": len({product for _, product in expected}),
            "transactions": len(expected),
        }.items()
    }
    with young_shop.environment():
        door, graph = Workspace().door(), defs().resolve_asset_graph()
    landed = door.read("transactions").to_pylist()
    assert {(row["basket_id"], row["product_id"]): row["sales_value"] for row in landed} == pytest.approx(expected)
    assert {row["currency"] for row in landed} == {"GBP"}
    parents = {key.path[-1] for key in graph.get(dg.AssetKey(["landing", "transactions"])).parent_keys}
    assert parents == {"customers", "invoices", "products"}
    assert report["checks"]["failed"] == 0
    assert report["models"] == []
    assert "models/clv: gate  no version was trained: clv_labels: no cut-off has 91 days of history" in output
    assert "models/propensity: gate  no version was trained: propensity_labels: no campaign " in output
    marts = rows_of_marts(young_shop.settings)
    assert {mart for mart, rows in marts.items() if not rows} == {
        "category_events",
        "clv_labels",
        "decision_labels",
        "propensity_labels",
    }
    online = online_customers(young_shop)
    assert online.pop("customer_scores") == 0
    assert set(online.values()) == {len(buyers)}
    try:
        nextbest(young_shop.settings, "up")
        answer = decide(young_shop.settings, landed[0]["customer_id"])
    finally:
        nextbest(young_shop.settings, "down")
    assert Supervisor.of(young_shop.settings).running() == []
    assert (answer["tier"], answer["degraded"]) == ("fallback", ["no_model_set"])
    assert answer["policy_hash"] == read_policy(young_shop.settings.folder("policies")).hash
    assert answer["placements"][0]["slots"][0]["treatment"] == "brand_banner"


def decide(settings: Settings, customer_id: str) -> Any:
    body = {"customer": {"customer_id": customer_id}, "placements": ["home_banner"]}
    _, key = KeyFile(settings.api_keys).create("tests", ("decide",), 0, datetime.now(UTC))
    address, headers = f"http://{settings.host}:{settings.http_port}", {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{address}/v1/decisions", json=body, headers=headers, timeout=10)
    return answer.raise_for_status().json()
