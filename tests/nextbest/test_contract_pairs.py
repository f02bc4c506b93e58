"""Thirty edits of the real contracts: each is judged as its author meant it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.contract_review import review
from nextbest.compatibility import Change, compare
from nextbest.settings import CHECKOUT

FOLDER = CHECKOUT / "data_contracts"
CONTRACTS = load_contracts(FOLDER)
PAIRS = yaml.safe_load((CHECKOUT / "benchmarks" / "contract_pairs.yaml").read_text())


def _changes(folder: Path, pair: dict[str, str]) -> list[Change]:
    shutil.copytree(FOLDER, folder)
    path = folder / pair["file"]
    text = path.read_text()
    assert pair["before"] in text
    path.write_text(text.replace(pair["before"], pair["after"], 1))
    assert review(folder)[1] == []
    return compare(CONTRACTS, load_contracts(folder))


def test_there_are_fifteen_of_each() -> None:
    """What the documentation says of their number holds."""
    assert {truth: len(pairs) for truth, pairs in PAIRS.items()} == {"breaking": 15, "compatible": 15}


@pytest.mark.parametrize("pair", PAIRS["breaking"], ids=lambda pair: pair["name"])
def test_a_breaking_change_is_caught(tmp_path: Path, pair: dict[str, Any]) -> None:
    """With the kind and the words that tell what happened and whom it hits."""
    breaking = {change.kind: str(change) for change in _changes(tmp_path / "new", pair) if change.verdict == "breaking"}
    assert pair["message"] in breaking[pair["kind"]]


@pytest.mark.parametrize("pair", PAIRS["compatible"], ids=lambda pair: pair["name"])
def test_a_compatible_change_is_not_called_breaking(tmp_path: Path, pair: dict[str, Any]) -> None:
    """It is told all the same, unless it says nothing about the data."""
    changes = _changes(tmp_path / "new", pair)
    assert {change.verdict for change in changes} <= {"compatible", "minor"}
    assert [change.kind for change in changes] == [pair["kind"]] * bool(pair["kind"])
    assert all(pair["message"] in str(change) for change in changes)
