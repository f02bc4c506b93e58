from pathlib import Path
from typing import Any

import pytest
import yaml

from nextbest.adapters.contract_files import load_contracts
from nextbest.settings import CHECKOUT

PROJECT = CHECKOUT / "dbt_project"
MODELS = sorted((PROJECT / "models").rglob("*.sql"))
FEATURE_MARTS = ["customer_profile", "customer_rfm", "department_affinity", "category_affinity", "contact_response"]


def _variables() -> dict[str, Any]:
    variables: dict[str, Any] = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    return variables


def _documented(model: Path) -> dict[str, Any]:
    [document] = yaml.safe_load(model.with_suffix(".yml").read_text())["models"]
    assert isinstance(document, dict)
    return document


def _tests(model: Path, name: str) -> list[dict[str, Any]]:
    return [test[name] for test in _documented(model)["data_tests"] if name in test]


def test_actions_are_those_of_the_policy() -> None:
    """A column of `category_affinity` exists for every action that is not new, and for no other."""
    policy = yaml.safe_load((CHECKOUT / "policies" / "actions.yaml").read_text())
    assert _variables()["actions"] == sorted(each["id"] for each in policy["actions"] if "starting" not in each)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_every_model_is_described_and_has_a_key(model: Path) -> None:
    """One YAML per model, under its name, with a description and the key of its rows."""
    document = _documented(model)
    assert document["name"] == model.stem
    assert document["description"]
    assert len(_tests(model, "unique_key")) == 1


@pytest.mark.parametrize("name", FEATURE_MARTS)
def test_features_are_never_null(name: str) -> None:
    """Serving and training rely on it: every column of a feature mart is checked, and its types are enforced."""
    model = PROJECT / "models" / "marts" / f"{name}.sql"
    assert [test.get("arguments") for test in _tests(model, "no_nulls")] == [None]
    assert _documented(model)["config"]["contract"] == {"enforced": True}


@pytest.mark.parametrize("contract", load_contracts(CHECKOUT / "data_contracts").values(), ids=lambda c: c.name)
def test_staging_checks_what_the_contract_promises(contract: Any) -> None:
    """Keys and required fields are those of the contract, which alone says them first."""
    model = PROJECT / "models" / "staging" / f"stg_{contract.name}.sql"
    [key], [filled] = _tests(model, "unique_key"), _tests(model, "no_nulls")
    assert tuple(key["arguments"]["columns"]) == contract.key
    assert {field.name for field in contract.fields if field.required} == set(filled["arguments"]["columns"])


def test_every_value_of_an_ordinal_has_its_place() -> None:
    """A band that the contract allows is never taken for unknown."""
    sql = (PROJECT / "models" / "marts" / "customer_profile.sql").read_text()
    customers = load_contracts(CHECKOUT / "data_contracts")["customers"]
    for name in ["age_band", "income_band", "household_size", "kids_count"]:
        values = customers.field(name).enum
        assert values
        assert [value for value in values if f"'{value}'" not in sql] == []
