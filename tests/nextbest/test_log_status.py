"""How a log stands: counted where that is quick, and estimated where it is long."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nextbest.adapters.logs import open_log
from nextbest.envelope import Envelope
from nextbest.log_status import status_of_log
from nextbest.settings import Settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def record(number: int, type_: str, received_at: datetime) -> Envelope:
    return Envelope(
        event_id=f"{type_}s/{number}",
        type=type_,
        contract=f"{type_}s",
        contract_version="1.0.0",
        source="live",
        occurred_at=received_at,
        received_at=received_at,
        partition_key="c1",
    )


@pytest.mark.parametrize("minutes", [[], [90] * 5, [90, 70, 59, 30, 0.5], [59] * 3, [0.5]])
def test_rates_are_by_when_records_were_received(tmp_path: Path, minutes: list[float]) -> None:
    """Wherever in the log the hour and the minute begin."""
    with closing(open_log(Settings(home=tmp_path))) as log:
        log.append_sync([record(n, "event", NOW - timedelta(minutes=ago)) for n, ago in enumerate(minutes)])
        found = asyncio.run(status_of_log(log, NOW))
    last_hour = sum(ago < 60 for ago in minutes)
    assert found.last_offset == len(minutes)
    assert found.per_second_last_minute == pytest.approx(sum(ago < 1 for ago in minutes) / 60)
    assert found.per_second_last_hour == pytest.approx(last_hour / 3_600)
    assert sum(each.records for each in found.last_hour) == last_hour


def test_a_log_too_long_to_count_is_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From pages at even distances: two thirds are views, and one third words about consents."""
    monkeypatch.setattr("nextbest.log_status._PAGE", 60)
    with closing(open_log(Settings(home=tmp_path))) as log:
        types = ("event", "event", "consent")
        log.append_sync([record(n, types[n % 3], NOW - timedelta(minutes=20)) for n in range(5_200)])
        found = asyncio.run(status_of_log(log, NOW))
    assert found.is_estimated
    assert found.per_second_last_hour == pytest.approx(5_200 / 3_600)
    assert found.per_second_last_minute == 0
    assert {each.type: each.records for each in found.last_hour} == pytest.approx(
        {"event": 5_200 * 2 / 3, "consent": 5_200 / 3}, rel=0.01
    )
