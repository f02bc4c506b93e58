"""A project appears whole or not at all, loads, and its parts name the same things."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.imports import ImportTableError
from nextbest.adapters.landing import Door
from nextbest.adapters.mappings import Mappings
from nextbest.adapters.policy_files import read_policy, review
from nextbest.adapters.policy_schemas import stale_schemas
from nextbest.adapters.projects import Project, ProjectError, next_commands, write_project
from nextbest.drafts.mappings import Shop
from nextbest.guessing import GuessError
from nextbest.policy_schema import modeline
from nextbest.settings import CHECKOUT, Settings

SHOP = Shop("GBP", "Europe/London", datetime(2026, 3, 1, tzinfo=UTC))
ORDERS = pa.table(
    {
        "order_id": ["1", "1", "2", "3"],
        "sku": ["a", "b", "a", "c"],
        "client_id": ["ann", "ann", "bob", "eve"],
        "sold_at": ["2026-02-01T08:00:00Z"] * 4,
        "amount": ["2.5", "9.0", "4.0", "1.0"],
    }
)


@pytest.fixture
def locations(tmp_path: Path) -> dict[str, str]:
    """Orders as CSV, clients as Parquet, stock in SQLite."""
    pyarrow.csv.write_csv(ORDERS, tmp_path / "orders.csv")
    pq.write_table(pa.table({"client_id": ["ann", "bob"]}), tmp_path / "clients.parquet")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as con:
        con.execute("CREATE TABLE stock (sku TEXT, category TEXT, department TEXT)")
        stock = [("a", "Tea", "Food & Drink"), ("b", "Tea Pots", "Home"), ("c", "Cake", "Food & Drink")]
        con.executemany("INSERT INTO stock VALUES (?, ?, ?)", stock)
        con.commit()
    files = {"orders": "orders.csv", "clients": "clients.parquet"}
    return {name: str(tmp_path / file) for name, file in files.items()} | {
        "stock": f"sqlite:///{tmp_path}/shop.db#stock"
    }


@pytest.fixture
def project(tmp_path: Path, locations: dict[str, str]) -> Project:
    return write_project(tmp_path / "shop", locations, SHOP)


def test_contracts_load_and_hold_the_shops_currency(project: Project) -> None:
    """nextbest's own, widened, and one per table."""
    contracts = load_contracts(project.folder / "data_contracts")
    assert contracts.keys() == {*load_contracts(CHECKOUT / "data_contracts"), "orders", "clients", "stock"}
    assert contracts["transactions"].field("currency").enum == ("GBP",)
    assert [contracts[name].key for name in ("orders", "clients", "stock")] == [
        ("order_id", "sku"),
        ("client_id",),
        ("sku",),
    ]


def test_the_policy_is_right_and_the_warehouse_names_the_same(project: Project) -> None:
    """Best-selling categories are actions, in policy, variables and the columns of their marts."""
    policy = read_policy(project.folder / "policies")
    assert sorted(policy.actions) == project.actions == ["tea", "tea_pots"]
    assert policy.actions["tea"].value == 3.25
    variables = yaml.safe_load((project.folder / "dbt_project" / "dbt_project.yml").read_text())["vars"]
    assert variables["actions"] == project.actions
    assert variables["departments"] == ["home", "food_drink"]
    marts = project.folder / "dbt_project" / "models" / "marts"
    for mart, members in (("category_affinity", project.actions), ("department_affinity", variables["departments"])):
        [model] = yaml.safe_load((marts / f"{mart}.yml").read_text())["models"]
        names = [column["name"].split("__")[1] for column in model["columns"] if "__" in column["name"]]
        assert names == members
    features = yaml.safe_load((project.folder / "policies" / "features.yaml").read_text())["features"]
    assert {each["name"].split("__")[1] for each in features if "__" in each["name"]} == {"home", "food_drink"}


def test_an_editor_finds_the_schemas_of_the_policy(project: Project) -> None:
    """Every file says where its schema is, and it is there; nothing about the policy is odd."""
    policies = project.folder / "policies"
    assert review(policies).findings == ()
    assert stale_schemas(policies, write=False) == []
    assert all(path.read_text().startswith(modeline(path.stem)) for path in policies.glob("*.yaml"))


def test_what_the_queries_yield_is_judged_as_the_door_will(project: Project) -> None:
    """A customer that the clients do not hold is said at once."""
    assert project.mapped["transactions"].rejects_by_rule == {"customer_id.reference": 1}
    assert {name: each.valid.num_rows for name, each in project.mapped.items()} == {
        "customers": 2,
        "products": 3,
        "transactions": 3,
    }


def test_its_source_supplies_what_init_said(project: Project, locations: dict[str, str]) -> None:
    """What lands of the files is mapped to the same rows."""
    settings = Settings(home=project.folder, source="mappings")
    source = Mappings(settings)
    assert source.contracts() == ["customers", "products", "transactions"]
    assert source.reads("customers") == ["clients"]
    door = Door(settings.landing, settings.quarantine, load_contracts(settings.folder("contracts")))
    door.land_file("orders", Path(locations["orders"]))
    assert source.read("transactions").num_rows == 4


def test_its_guide_says_what_to_type(project: Project) -> None:
    """The commands are in the summary and in the folder's README; what a shell needs is quoted."""
    commands = next_commands(project)
    assert commands[0] == f"source {project.folder}/env.sh"
    assert [command.split()[:3] for command in commands[1:4]] == [
        ["nextbest", "ingest", name] for name in ("orders", "clients", "stock")
    ]
    assert commands[3].endswith("shop.db#stock'")
    assert commands[4:] == ["nextbest pipeline", "nextbest up"]
    guide = (project.folder / "README.md").read_text()
    assert all(command in guide for command in commands)
    assert not list(project.folder.parent.glob(".shop.*"))


def test_nothing_that_is_there_is_overwritten(tmp_path: Path, locations: dict[str, str]) -> None:
    """A folder with anything in it stays as it is; an empty one is used."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep")
    with pytest.raises(ProjectError, match="mine is there already, and nothing in it is overwritten"):
        write_project(folder, locations, SHOP)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    assert write_project(folder, locations, SHOP).folder == folder


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (
            "transactions=orders.csv",
            ProjectError,
            "transactions is a contract of nextbest's own: .* raw_transactions",
        ),
        ("My Orders=orders.csv", ProjectError, "'My Orders' cannot be a contract's name"),
        ("other=nowhere.csv", ImportTableError, "there is no file"),
        ("other=twice.csv", GuessError, r"other \(twice.csv\): the column 'a' occurs more than once"),
    ],
)
def test_half_a_project_is_never_left(
    tmp_path: Path, locations: dict[str, str], table: str, error: type[Exception], message: str
) -> None:
    """Whatever is wrong with the last of several tables."""
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    name, file = table.split("=")
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(error, match=message):
        write_project(tmp_path / "shop", locations | {name: str(tmp_path / file)}, SHOP)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_without_sales_there_are_templates_and_a_placeholder(tmp_path: Path, locations: dict[str, str]) -> None:
    """The project loads all the same, and says that a query is missing."""
    project = write_project(tmp_path / "shop", {"stock": locations["stock"]}, SHOP)
    assert project.mapped == {}
    assert list(read_policy(project.folder / "policies").actions) == ["first_offer"]
    with pytest.raises(Exception, match="holds no query"):
        Mappings(Settings(home=project.folder)).contracts()


def test_a_table_without_rows_is_imported_and_not_landed(tmp_path: Path, locations: dict[str, str]) -> None:
    """Its contract has its columns; there is nothing to type for it."""
    (tmp_path / "empty.csv").write_text("sku,stock level\n")
    project = write_project(tmp_path / "shop", locations | {"levels": str(tmp_path / "empty.csv")}, SHOP)
    contract = load_contracts(project.folder / "data_contracts")["levels"]
    assert [field.name for field in contract.fields] == ["sku", "stock level"]
    assert not any("ingest levels" in command for command in next_commands(project))
