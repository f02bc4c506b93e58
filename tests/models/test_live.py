"""Training sees live features as decisions did, out of what has landed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
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
CUSTOMER = {"customer_id": "c1", "time_zone": "Asia/Tokyo", "updated_at": AT, "source": "import"}
Land = Callable[[str, list[dict[str, Any]]], None]


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def land(settings: Settings) -> Land:
    """Put rows through the door, each call being a delivery."""
    door = Door.of(settings)
    door.prepare()
    door.land("customers", pa.Table.from_pylist([CUSTOMER]), source_name="customers")
    deliveries = count()

    def landed(contract: str, rows: list[dict[str, Any]]) -> None:
        delivered = next(deliveries)
        door.land(contract, pa.Table.from_pylist(rows), source_name=f"delivery {delivered}")

    return landed


def event(name: str, ago: timedelta, late: timedelta = timedelta(0), **said: Any) -> dict[str, Any]:
    row = {"event_id": name, "customer_id": "c1", "type": "click", "channel": "web"}
    return row | when(ago, late) | said


def when(ago: timedelta, late: timedelta | None) -> dict[str, Any]:
    """When it happened and was received; a file may not say the latter."""
    return {"source": "live", "occurred_at": AT - ago, "received_at": None if late is None else AT - ago + late}


def line(basket: str, ago: timedelta, late: timedelta | None) -> dict[str, Any]:
    """A line bought for 3."""
    row = {"basket_id": basket, "product_id": "p1", "customer_id": "c1", "store_id": "s1", "currency": "USD"}
    numbers = {"quantity": 1, "sales_value": 3.0, "retail_discount": 0.0, "coupon_discount": 0.0}
    return row | numbers | {"coupon_match_discount": 0.0} | when(ago, late)


def outcome(name: str, ago: timedelta, late: timedelta | None) -> dict[str, Any]:
    row = {"outcome_id": name, "customer_id": "c1", "action": "beef", "kind": "click", "currency": "USD"}
    return row | when(ago, late)


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


def test_what_comes_late_was_not_known_before(settings: Settings, land: Land) -> None:
    """A purchase and an answer count from when they were received, however long ago they happened."""
    hour = timedelta(hours=1)
    land("transactions", [line("b1", 3 * hour, late=2 * hour)])
    land("outcomes", [outcome("o1", 3 * hour, late=2 * hour)])
    before, after = seen(settings, AT - 2 * hour, AT - hour)
    assert (before["live_purchase_value_1d"], "live_last_campaign" in before) == (0.0, False)
    assert after["live_purchase_value_1d"] == pytest.approx(3.0 * 2.0 ** (-1 / 24))
    assert after["live_last_campaign"] == "beef"


def test_what_no_live_state_has_met_counts_nowhere(settings: Settings, land: Land) -> None:
    """A file says nothing of when its rows were received; nor does it take that from a row that the log delivered."""
    hour = timedelta(hours=1)
    land("transactions", [line("b1", hour, late=timedelta(0))])
    land("transactions", [line("b1", hour, late=None), line("b2", hour, late=None)])
    land("outcomes", [outcome("o1", hour, late=None)])
    (features,) = seen(settings, AT)
    assert (features["live_purchase_value_1d"], "live_last_campaign" in features) == (3.0, False)


def test_a_day_is_one_of_the_customers_own_clock(settings: Settings, land: Land) -> None:
    """What was done on Monday evening is no part of what is done after midnight; by UTC, of whom nobody says where."""
    now = timedelta(0)
    land("events", [event("e1", now), event("e2", now, customer_id="c2")])
    times = pd.Series([AT + timedelta(hours=4)] * 2)
    frame = live_columns(settings, ["live_share_of_weekday"], pd.Series(["c1", "c2"]), times)
    shares = dict(zip(frame["customer_id"], frame["live_share_of_weekday"], strict=True))
    assert shares == {"c1": 1 / 8, "c2": 2 / 8}


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
