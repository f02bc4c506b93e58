"""The lineage of this project, read once: who is hit when a field changes."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from models.inputs import READINGS
from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Field
from nextbest.lineage import Column, Lineage
from nextbest.settings import CHECKOUT, Settings
from orchestration.lineage import mapped, read_lineage
from orchestration.sql_lineage import LineageError

pytestmark = pytest.mark.integration

_CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
_FEAST = """
import json, feature_services
from feast import FeatureService
services = [each for each in vars(feature_services).values() if isinstance(each, FeatureService)]
print(json.dumps(sorted({(v.name, f.name) for s in services for v in s.feature_view_projections for f in v.features})))
"""


@pytest.fixture(scope="module")
def home(lineage_home: Settings) -> Settings:
    return lineage_home


@pytest.fixture(scope="module")
def lineage(home: Settings) -> Lineage:
    return read_lineage(home)


def test_a_field_hits_everything_that_is_made_of_it(lineage: Lineage) -> None:
    """From staging to the rules of the policy, each found in what reads it."""
    hit = set(lineage.consumers("transactions", "sales_value"))
    assert hit >= {
        Column("dbt model", "stg_transactions", "sales_value"),
        Column("dbt model", "customer_rfm", "spend_91d"),
        Column("feature view", "customer_rfm", "spend_91d"),
        Column("model", "clv", "spend_91d"),
        Column("model", "clv", ""),  # its labels
        Column("feature view", "customer_scores", "clv_91d"),
        Column("policy", "features", "spend_91d"),
        Column("policy", "beef", ""),
    }
    assert Column("feature view", "customer_profile", "age_band_ordinal") not in hit


def test_a_field_of_an_event_hits_live_features(lineage: Lineage) -> None:
    """By way of the log; what no state is made of does not."""
    live = {Column("feature view", "live", "live_state"), Column("policy", "features", "live_cart_value")}
    assert live <= set(lineage.consumers("events", "value"))
    assert not live & set(lineage.consumers("events", "session_id"))


def test_a_field_that_filters_is_read_too(lineage: Lineage) -> None:
    """No mart shows when a customer was updated, but which rows they have depends on it."""
    assert Column("dbt model", "customer_profile", "is_married") in lineage.consumers("customers", "updated_at")


def test_a_field_that_nobody_reads_is_only_its_staging_column(lineage: Lineage) -> None:
    """What is hit is not more than what reads."""
    assert lineage.consumers("products", "package_size") == (Column("dbt model", "stg_products", "package_size"),)


@pytest.mark.parametrize("contract", _CONTRACTS.values(), ids=lambda contract: contract.name)
def test_every_field_reaches_its_staging_model(lineage: Lineage, contract: Contract) -> None:
    """Under its own name: a contract's field is named once."""
    for field in contract.fields:
        assert Column("dbt model", f"stg_{contract.name}", field.name) in lineage.consumers(contract.name, field.name)


def test_what_identifies_a_person_stays_in_staging(lineage: Lineage) -> None:
    """Found by following it, whatever it is renamed to: no mart, feature, model, rule or log entry is made of PII."""
    pii = [(each.name, field.name) for each in _CONTRACTS.values() for field in each.fields if field.is_pii]
    assert pii
    for contract, field in pii:
        assert lineage.consumers(contract, field) == (Column("dbt model", f"stg_{contract}", field),)


def test_views_are_those_of_feast(lineage: Lineage, home: Settings) -> None:
    """Every feature that Feast's own objects hold is in the graph, and no other."""
    environment = {**os.environ, **home.environment()}
    command = [sys.executable, "-c", _FEAST]
    done = subprocess.run(
        command, cwd=CHECKOUT / "feature_repo", env=environment, capture_output=True, text=True, check=True
    )
    found = {each for readers in lineage.readers.values() for each in readers if each.kind == "feature view"}
    assert sorted([each.owner, each.name] for each in found) == json.loads(done.stdout)


def test_models_are_those_that_train(lineage: Lineage) -> None:
    """Each with features of its service, and with its labels."""
    found = {each for readers in lineage.readers.values() for each in readers if each.kind == "model"}
    assert {each.owner for each in found} == READINGS.keys()
    assert {each.owner for each in found if not each.name} == READINGS.keys()


class _ReadAnewError(Exception):
    """dbt or Feast is asked."""


@pytest.mark.parametrize(("before", "after", "is_kept"), [("", "", True), ("beef > 0.0", "beef > 1.0", False)])
def test_the_graph_is_kept_until_something_changes(
    lineage: Lineage,
    home: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: str,
    after: str,
    is_kept: bool,
) -> None:
    """The second time starts no dbt and no Feast, unless a rule of the policy is another one."""

    def read_anew(*_: Any, **__: Any) -> None:
        raise _ReadAnewError

    shutil.copytree(home.state / "lineage", tmp_path / ".nextbest" / "lineage")
    shutil.copytree(CHECKOUT / "policies", tmp_path / "policies")
    actions = tmp_path / "policies" / "actions.yaml"
    actions.write_text(actions.read_text().replace(before, after))
    monkeypatch.setattr(subprocess, "run", read_anew)
    with nullcontext() if is_kept else pytest.raises(_ReadAnewError):
        assert read_lineage(Settings(home=tmp_path)) == lineage


def test_a_mapping_reads_the_fields_of_a_contract_of_ones_own() -> None:
    """What is made of an imported table is hit when the table's contract changes; a field that only filters counts."""
    fields = [Field(name, "string", "VARCHAR") for name in ("Code", "Price", "Note")]
    stock = Contract(name="stock", version="1.0.0", fields=tuple(fields))
    contracts = {"stock": stock, "products": load_contracts(CHECKOUT / "data_contracts")["products"]}
    query = """select "Code" as product_id, 'all' as department from stock where "Price" > '0'"""
    found = set(mapped({"products": query}, contracts))
    made = [Column("contract", "products", name) for name in ("product_id", "department")]
    assert found == {
        (Column("contract", "stock", "Code"), made[0]),
        *((Column("contract", "stock", "Price"), column) for column in made),
    }
    with pytest.raises(LineageError, match=r"mappings/products.sql: .*colour"):
        list(mapped({"products": 'select "Colour" as product_id from stock'}, contracts))
