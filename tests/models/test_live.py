"""Training sees live features as decisions did, out of what has landed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from models.live import landed_records, live_columns
from nextbest.adapters.landing import Door
from nextbest.live import union
from nextbest.live_features import Plan
from nextbest.settings import Settings

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAMES = ["live_click_count_1h", "live_hours_since__beef", "live_purchase_value_1d", "live_last_campaign"]
Land = Callable[[str, list[dict[str, Any]]], None]


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def land(settings: Settings) -> Land:
    """Put rows through the door, each call being a delivery."""
    door = Door.of(settings)
    door.prepare()

    def landed(contract: str, rows: list[dict[str, Any]]) -> None:
        door.land(contract, pa.Table.from_pylist(rows), source_name=str(rows[0]["occurred_at"]))

    return landed


def event(name: str, ago: timedelta, late: timedelta = timedelta(0), **said: Any) -> dict[str, Any]:
    row = {"event_id": name, "customer_id": "c1", "type": "click", "channel": "web", "source": "live"}
    return row | {"occurred_at": AT - ago, "received_at": AT - ago + late} | said


def seen(settings: Settings, *times: datetime) -> list[dict[str, Any]]:
    pairs = pd.Series(["c1"] * len(times)), pd.Series(pd.to_datetime(list(times)).as_unit("us"))
    frame = live_columns(settings, NAMES, *pairs)
    return [{str(k): v for k, v in row.items() if not pd.isna(v)} for row in frame.to_dict("records")]


def test_columns_are_what_was_known_then(settings: Settings, land: Land) -> None:
    """An event counts from when it was received; who is not asked about is not read."""
    hour = timedelta(hours=1)
    events = [event("e1", 3 * hour, category="BEEF", action="beef"), event("e2", 2 * hour, late=2 * hour)]
    land("events", [*events, event("e3", hour, customer_id="c2")])
    before, after = seen(settings, AT - hour, AT)
    assert before == {
        "customer_id": "c1",
        "at": pd.Timestamp(AT - hour),
        "live_click_count_1h": 0.5,
        "live_hours_since__beef": 2.0,
        "live_purchase_value_1d": 0.0,
        "live_last_campaign": "beef",
    }
    assert after["live_click_count_1h"] == 0.25 + 0.5
    assert {record.event_id for record in landed_records(settings, ["c1"])} == {"events/e1", "events/e2"}


def test_a_row_in_two_deliveries_counts_once(settings: Settings, land: Land) -> None:
    """As it was said last."""
    land("events", [event("e1", timedelta(hours=3), category="MILK")])
    land("events", [event("e1", timedelta(hours=2), category="BEEF")])
    (features,) = seen(settings, AT)
    assert (features["live_click_count_1h"], features["live_hours_since__beef"]) == (0.5, 2.0)


def test_columns_are_equal_to_what_is_computed_online(settings: Settings, land: Land) -> None:
    """The same records give the same bits; a pair that is asked for twice is one row."""
    land("events", [event(f"e{n}", timedelta(minutes=7 * n), category="BEEF") for n in range(50)])
    (features,) = seen(settings, AT, AT)
    online = Plan(NAMES).features(union([], landed_records(settings, ["c1"])), {}, AT)
    assert {name: features[name] for name in online} == online
