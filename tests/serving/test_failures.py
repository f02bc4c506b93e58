"""When parts are slow or down, a decision comes in time and says what it lacks."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.log import LogUnavailableError
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError

Decide = Callable[..., dict[str, Any]]
Publish = Callable[[Settings, float], str]
BUDGET_MS = 400


async def _hang(*_args: object, **_options: object) -> None:
    await asyncio.sleep(60)


def _down(error: Exception) -> Callable[..., Any]:
    async def down(*_args: object, **_options: object) -> None:
        raise error

    return down


@pytest.mark.parametrize(
    ("part", "call", "reason"),
    [
        (SqliteState, "snapshot", "state_slow"),
        (SqliteState, "reserve", "state_slow"),
        (SqliteLog, "append", "log_slow"),
        (SqliteLog, "about_decision", "log_slow"),
    ],
)
def test_a_part_that_hangs_costs_the_budget_and_no_more(  # noqa: PLR0917  what hangs, and what it is about
    decide: Decide,
    settings: Settings,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    part: type,
    call: str,
    reason: str,
) -> None:
    """The fallback, which counts nowhere, says which part kept it waiting."""
    publish(settings, 0.1)
    monkeypatch.setattr(part, call, _hang)
    began = time.monotonic()
    answer = decide(budget_ms=BUDGET_MS, request_id="r1")
    assert time.monotonic() - began < 10
    assert (answer["tier"], answer["degraded"], answer["logged"]) == ("fallback", [reason], False)
    assert answer["placements"][0]["slots"][0]["content"] == {"headline": "Good food"}


@pytest.mark.parametrize(
    ("part", "call", "error", "reason"),
    [
        (SqliteState, "customer_of", StateUnavailableError("down"), "state_unavailable"),
        (SqliteState, "snapshot", StateUnavailableError("down"), "state_unavailable"),
        (SqliteState, "reserve", StateUnavailableError("down"), "state_unavailable"),
        (SqliteState, "reserve", MemoryError(), "defect"),
        (SqliteLog, "append", LogUnavailableError("full"), "log_unavailable"),
    ],
)
def test_a_part_that_is_down_is_named(  # noqa: PLR0917  what is down, and what it is about
    decide: Decide,
    settings: Settings,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    part: type,
    call: str,
    error: Exception,
    reason: str,
) -> None:
    """Never an error to whoever asks."""
    publish(settings, 0.1)
    monkeypatch.setattr(part, call, _down(error))
    answer = decide(customer={"kind": "email", "hmac": "ab" * 32})
    assert (answer["tier"], answer["degraded"], answer["logged"]) == ("fallback", [reason], False)


def test_slow_features_leave_time_for_a_decision_without(
    decide: Decide, features: Any, settings: Settings, publish: Publish
) -> None:
    """They get half of the time, so that the fallback can still be logged."""
    publish(settings, 0.1)
    features.delay_s = 60.0
    answer = decide(budget_ms=2_000)
    assert (answer["tier"], answer["degraded"], answer["logged"]) == ("fallback", ["features_slow"], True)
