"""The page of a contract says what it promises and who relies on it."""

from nextbest.contracts import Contract, Field, Freshness, Rule, Tolerance
from nextbest.lineage import Column, Lineage
from orchestration.contract_pages import page

ORDERS = Contract(
    name="orders",
    version="1.0.0",
    event_time="ordered_at",
    owner="shop",
    min_rows=1,
    retention_days=1,
    freshness=Freshness(2, "ordered_at", "stop"),
    volume=Tolerance(0.5),
    drift=Tolerance(0.2, "stop"),
    fields=(
        Field("order_id", "string", "VARCHAR", key=True, rules=(Rule("required", None, "stop"),)),
        Field("code", "string", "VARCHAR", rules=(Rule("pattern", "a|b", "warn"), Rule("enum", ("a", "b")))),
    ),
)
LINEAGE = Lineage(
    {
        Column("contract", "orders", "code"): [Column("dbt model", "stg_orders", "code")],
        Column("dbt model", "stg_orders", "code"): [Column("model", "clv", "")],
    }
)


def test_every_promise_is_told_with_what_a_breach_does() -> None:
    """Whoever delivers learns here what is stopped, what is turned away, and what is warned of."""
    text = page(ORDERS, {"orders": ORDERS}, LINEAGE)
    for line in (
        "| freshness | newest `ordered_at` at most 2 days old (else **stops**) |",
        "| volume | rows within 50% of the median of the same weekday before (else **warns**) |",
        "| drift | each column's PSI against the rows before at most 0.2 (else **stops**) |",
        "| retention | 1 day |",
        "| **`order_id`** (key) | string, `VARCHAR` | required (else **stops**) |  |  |",
        r"| `code` | string, `VARCHAR` | matches `a\|b` (else **warns**), one of `a`, `b` |  |  |",
    ):
        assert line in text


def test_readers_are_told_by_field_and_as_a_picture() -> None:
    """A field that nobody reads has an empty row; without any reader the page says so."""
    text = page(ORDERS, {"orders": ORDERS}, LINEAGE)
    assert "| `code` | `stg_orders` | `clv` |" in text
    assert "| `order_id` |  |  |" in text
    assert 'n0["contract<br/>orders"]' in text
    assert "n0 --> n1\n  n1 --> n2" in text
    assert "Nobody yet." in page(ORDERS, {"orders": ORDERS}, Lineage({}))
