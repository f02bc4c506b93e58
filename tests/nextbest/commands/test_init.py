"""`nextbest init`: what a person types and reads."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nextbest.commands.init import init

ORDERS = "order_id,sku,client_id,day,amount\n1,a,ann,31/12/2025,2.5\n1,b,ann,31/12/2025,9\n2,a,,31/12/2025,4\n"


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A file of sales, one to a stranger."""
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    return path


def _init(*arguments: str | Path) -> Result:
    return CliRunner().invoke(init, [str(each) for each in arguments])


def test_the_summary_says_what_was_guessed_and_what_to_type(tmp_path: Path, orders: Path) -> None:
    """Types with their evidence, keys, rows of every mapping, actions, commands."""
    result = _init(tmp_path / "shop", "--from", f"orders={orders}", "--currency", "eur")
    assert result.exit_code == 0, result.output
    assert "a time as %d/%m/%Y" in result.output
    assert "orders: 3 rows of orders.csv; key order_id, sku: unique in 3 of 3 rows" in result.output
    assert "transactions: 2 rows by mappings/transactions.sql" in result.output
    assert "actions: a, b" in result.output
    assert f"nextbest ingest orders {orders}" in result.output
    assert "'EUR' AS currency" in (tmp_path / "shop" / "mappings" / "transactions.sql").read_text()


def test_without_sales_the_summary_says_what_is_missing(tmp_path: Path) -> None:
    """The templates are named."""
    (tmp_path / "stock.csv").write_text("sku\na\nb\n")
    result = _init(tmp_path / "shop", "--from", f"stock={tmp_path / 'stock.csv'}")
    assert result.exit_code == 0, result.output
    assert "stock has no column that says who bought, when, for how much." in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--from'"),
        (("--from", "orders.csv"), "'orders.csv' is no NAME=TABLE, such as invoices=invoices.csv"),
        (("--from", "a=orders.csv", "--from", "a=orders.csv"), "two tables are named a"),
        (("--from", "a=orders.csv", "--currency", "euro"), "'euro' is no code of ISO 4217"),
        (("--from", "a=orders.csv", "--time-zone", "Mars"), "'Mars' is no IANA time zone"),
        (("--from", "a=orders.csv", "--time-zone", "../x"), "'../x' is no IANA time zone"),
    ],
)
def test_a_mistyped_argument_is_explained(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """Before anything is read."""
    result = _init(tmp_path / "shop", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "shop").exists()
