"""Tests of `orchestration.failed_rows` and `orchestration.pages`: rows one click away."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from nextbest.adapters.contract_files import load_contracts
from nextbest.settings import CHECKOUT, Settings
from orchestration.expectations import Failure
from orchestration.failed_rows import SHOWN, failed_rows_page, rejected_rows_page
from orchestration.pages import page_path, page_url, write_page

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
CONSENTS, IDENTITIES = CONTRACTS["consents"], CONTRACTS["identities"]


def _consents(**columns: list[Any]) -> pa.Table:
    count = len(next(iter(columns.values())))
    good = {
        "consent_id": [f"k{row}" for row in range(count)],
        "customer_id": ["c1"] * count,
        "purpose": ["marketing"] * count,
        "status": ["granted"] * count,
        "regime": ["opt_in"] * count,
        "occurred_at": [datetime(2026, 1, 1, tzinfo=UTC)] * count,
        "source": ["import"] * count,
    }
    return pa.table(good | columns, schema=CONSENTS.schema)


def _failure(column: str, rule: str) -> Failure:
    return Failure(column, rule, "error", "some rows", 0.0)


def test_a_failing_row_is_shown_with_rule_value_and_key() -> None:
    """And nothing beside it: the good row is not there, and markup in a value is text."""
    rule = f"enum {CONSENTS.field('purpose').enum}"
    table = _consents(purpose=["marketing", "<script>alert(1)</script>"])
    page = failed_rows_page(CONSENTS, [_failure("purpose", rule)], table, {})
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td><td>k1</td>" in page
    assert "<td>k0</td>" not in page
    assert "<script" not in page


def test_every_kind_of_failure_finds_its_rows() -> None:
    """A key that occurs again, null where a value must be, and a reference to nothing."""
    table = _consents(consent_id=["a", "a", "b"], status=["granted", "granted", None])
    found = failed_rows_page(CONSENTS, [_failure("consent_id", "unique"), _failure("status", "required")], table, {})
    assert found.count("<td>a</td>") == 2  # the value and the key of the one row that repeats
    assert "<td><i>null</i></td><td>b</td>" in found
    sales = CONTRACTS["transactions"]
    columns = {field.name: pa.nulls(2, field.arrow_type) for field in sales.fields}
    bought = pa.table(columns | {"basket_id": ["b1", "b2"], "product_id": ["p1", "p2"]}, schema=sales.schema)
    rule, known = "reference products.product_id", {"products.product_id": pa.array(["p1"])}
    assert "<td>p2</td><td>b2</td>" in failed_rows_page(sales, [_failure("product_id", rule)], bought, known)


def test_a_page_is_bounded() -> None:
    """A million bad rows are two hundred to look at, and the page says so."""
    table = _consents(purpose=["?"] * (SHOWN + 5))
    page = failed_rows_page(CONSENTS, [_failure("purpose", f"enum {CONSENTS.field('purpose').enum}")], table, {})
    assert page.count("<td>?</td>") == SHOWN
    assert f"the first {SHOWN} are shown" in page


def test_values_of_persons_are_hidden() -> None:
    """Of a contract that holds personal data there are neither values nor keys, failed or rejected."""
    columns = {field.name: pa.nulls(1, field.arrow_type) for field in IDENTITIES.fields}
    table = pa.table(columns | {"identifier_hmac": ["ann@example.org"]}, schema=IDENTITIES.schema)
    pattern = IDENTITIES.field("identifier_hmac").rule("pattern")
    assert pattern is not None
    rules = [_failure("identifier_hmac", f"pattern {pattern.argument}")]
    page = failed_rows_page(IDENTITIES, rules, table, {})
    assert "identifier_hmac" in page
    assert "ann@example.org" not in page
    rejects = pa.table(
        {
            "row_number": [1],
            "rule": ["pattern"],
            "column": ["identifier_hmac"],
            "value": ["ann@example.org"],
            "row": ["{}"],
        }
    )
    assert "ann@example.org" not in rejected_rows_page(IDENTITIES, "b1", rejects)
    assert "ann@example.org" in rejected_rows_page(CONSENTS, "b1", rejects)


def test_a_page_has_an_address(tmp_path: Path) -> None:
    """Written whole, below the folder that is served."""
    settings = Settings(home=tmp_path, dagster_port=3033)
    write_page(page_path(settings, "failed_rows", "consents"), "<p>")
    assert [path.name for path in (settings.quality / "failed_rows").iterdir()] == ["consents.html"]
    assert page_url(settings, "failed_rows", "consents") == "http://127.0.0.1:3033/quality/failed_rows/consents.html"
