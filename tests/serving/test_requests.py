"""Requests: what makes two the same, and what a context may hold."""

from typing import Any

import msgspec
import pytest

from nextbest.wire import DecisionRequest
from serving.requests import decision_id_of, request_of


def asked(**options: Any) -> DecisionRequest:
    return msgspec.convert({"customer": {"customer_id": "c1"}, "placements": ["home"], **options}, DecisionRequest)


def test_a_request_id_makes_the_decisions_id() -> None:
    """The same on every replica, and after every restart; without one every decision has an id of its own."""
    assert decision_id_of("r1") == decision_id_of("r1") != decision_id_of("r2")
    assert decision_id_of(None) != decision_id_of(None)


def test_every_option_reaches_the_engine() -> None:
    """None is lost on the way."""
    options = {"limit": 3, "dedup": False, "dedup_with": ("d1",), "count_toward_caps": False, "budget_ms": 50.0}
    request = request_of(asked(**options, dry_run=True, request_id="r1", context={"weather": "rain"}))
    assert msgspec.structs.asdict(request.options) == options
    assert (request.mode, request.request_id, request.context) == ("dry_run", "r1", {"weather": "rain"})


@pytest.mark.parametrize(
    "customer", [{}, {"kind": "email"}, {"customer_id": "c1", "kind": "email", "hmac": "ab" * 32}, {"hmac": "ab" * 32}]
)
def test_a_customer_is_named_in_one_way(customer: dict[str, str]) -> None:
    """By id, or by kind and hash."""
    with pytest.raises(msgspec.ValidationError):
        asked(customer=customer)
