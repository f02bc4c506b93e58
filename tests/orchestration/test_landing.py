"""Tests of `orchestration.defs.landing`: what the UI shows of a delivery."""

from pathlib import Path

import pyarrow as pa
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.settings import CHECKOUT, Settings
from orchestration.defs.landing import receipt_metadata

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")


@pytest.mark.parametrize(("contract", "is_shown"), [("consents", True), ("identities", False)])
def test_rejected_rows_are_shown_without_what_identifies_a_person(
    tmp_path: Path, contract: str, *, is_shown: bool
) -> None:
    """Rule and value are there to see; of a contract that holds personal data, the rule alone."""
    settings = Settings(home=tmp_path)
    fields = CONTRACTS[contract].fields
    table = pa.table({field.name: ["ann@example.org"] for field in fields})
    known = {field.reference: pa.array(["c1"]) for field in fields if field.reference}
    receipt = Door(settings.landing, settings.quarantine, CONTRACTS).land(
        contract, table, source_name="test", references=known
    )
    shown = receipt_metadata(settings, CONTRACTS[contract], receipt)["rejected rows"].value
    assert ("ann@example.org" in shown) == is_shown
    assert str(receipt.rejects_by_rule).split(".")[0].strip("{'") in shown
