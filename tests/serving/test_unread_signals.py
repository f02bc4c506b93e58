"""Whoever sends a signal that nothing reads finds it in the server's log, once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.policy_files import read_policy
from nextbest.following import Step
from nextbest.intake import envelope
from nextbest.settings import CHECKOUT
from serving.policies import InForce
from serving.unread_signals import UnreadSignals

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
SIGNALS = load_contracts(CHECKOUT / "data_contracts")["signals"]


class Policies:
    """The checkout's policy, once it is there."""

    current: InForce | None = None


def step(*said: tuple[str, str]) -> Step:
    rows: list[dict[str, Any]] = [
        {"signal_id": f"s{number}", "signal": signal, "key": key, "value": 0.0, "occurred_at": AT, "source": "live"}
        for number, (signal, key) in enumerate(said)
    ]
    records = [(number, envelope(SIGNALS, row, AT)) for number, row in enumerate(rows, start=1)]
    return Step(log_id="log", offset=len(records), after=0, records=records, is_end=True)


def test_a_signal_that_nothing_reads_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """By signal and key, in one line; what the policy reads, and whatever comes before there is one, is not."""
    policies = Policies()
    unread = UnreadSignals(policies=policies)
    unread.note(step(("stock", "beef")))
    policies.current = InForce.of(read_policy(CHECKOUT / "policies"))
    unread.note(step(("stock", "fluid_milk_products"), ("weather_temperature", "of any store")))
    assert caplog.messages == []
    for _ in range(2):
        unread.note(step(("stock", "beef"), ("stcok", "fluid_milk_products")))
    unread.note(step(*(("stock", f"sku {number}") for number in range(8))))
    what = "the policy reads no such signal, which is kept and changes nothing: "
    assert caplog.messages == [
        f"{what}'stcok:fluid_milk_products', 'stock:beef'",
        f"{what}'stock:sku 0', 'stock:sku 1', 'stock:sku 2', 'stock:sku 3', 'stock:sku 4' and 3 more",
    ]
