"""Tests of `orchestration.dbt`: what a model's version depends on."""

from copy import deepcopy
from datetime import date
from typing import Any

import pytest

from orchestration.dbt import model_versions

TODAY = date(2026, 1, 2)
LANDED = {"orders": "b1", "people": "b1"}


def _model(name: str, *parents: str) -> dict[str, Any]:
    return {"resource_type": "model", "name": name, "raw_code": "select 1", "depends_on": {"nodes": list(parents)}}


@pytest.fixture
def manifest() -> dict[str, Any]:
    """Two sources, a model on each, one that joins both, and a test."""
    return {
        "settings": "vars: {days: 91}",
        "sources": {"source.orders": {"name": "orders"}, "source.people": {"name": "people"}},
        "macros": {"share": {"macro_sql": "a / b"}},
        "nodes": {
            "model.joined": _model("joined", "model.orders", "model.people"),
            "model.orders": _model("orders", "source.orders"),
            "model.people": _model("people", "source.people"),
            "test.unique": _model("unique", "model.people") | {"resource_type": "test"},
        },
    }


def test_a_changed_variable_changes_every_model(manifest: dict[str, Any]) -> None:
    """dbt does not say which model reads a variable: whoever changes one gets all of them anew."""
    before = model_versions(manifest, LANDED, TODAY)
    after = model_versions(manifest | {"settings": "vars: {days: 182}"}, LANDED, TODAY)
    assert all(after[name] != version for name, version in before.items())


def test_parents_come_before_children(manifest: dict[str, Any]) -> None:
    """Dagster wants assets of one step in this order."""
    assert list(model_versions(manifest, LANDED, TODAY)) == ["model.orders", "model.people", "model.joined"]


def test_a_batch_changes_what_reads_it_and_no_more(manifest: dict[str, Any]) -> None:
    """Only models downstream of a source whose landing changed get another version."""
    before = model_versions(manifest, LANDED, TODAY)
    after = model_versions(manifest, LANDED | {"people": "b2"}, TODAY)
    assert {name for name in before if before[name] != after[name]} == {"model.people", "model.joined"}


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        (("nodes", "model.orders", "raw_code"), {"model.orders", "model.joined"}),
        (("nodes", "test.unique", "raw_code"), {"model.people", "model.joined"}),
        (("macros", "share", "macro_sql"), {"model.orders", "model.people", "model.joined"}),
    ],
)
def test_code_is_part_of_a_version(manifest: dict[str, Any], part: tuple[str, str, str], changed: set[str]) -> None:
    """A model's SQL and tests are its own; a macro may be anyone's."""
    other = deepcopy(manifest)
    other[part[0]][part[1]][part[2]] = "select 2"
    before, after = model_versions(manifest, LANDED, TODAY), model_versions(other, LANDED, TODAY)
    assert {name for name in before if before[name] != after[name]} == changed


def test_a_new_day_makes_new_what_uses_the_day(manifest: dict[str, Any]) -> None:
    """Features are computed as of a midnight; what has landed is the same on every day."""
    manifest["nodes"]["model.people"]["depends_on"]["macros"] = ["macro.p.as_of_day"]
    before, after = model_versions(manifest, LANDED, TODAY), model_versions(manifest, LANDED, date(2026, 1, 3))
    assert {name for name in before if before[name] != after[name]} == {"model.people", "model.joined"}
