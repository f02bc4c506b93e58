"""CDNOW: who bought CDs from January 1997 to June 1998, of the customers of the first quarter; it comes with lifetimes.

Belongs here: reading it, and the columns of `models.btyd` at a day. Does not belong here: any fit.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from models.btyd import HISTORY, SPEND


def sample() -> pd.DataFrame:
    """The tenth of the customers that the papers fit, in weeks: columns `x`, `t_x`, `T` and `zbar` (USD)."""
    table: pd.DataFrame = pd.read_csv(_folder() / "cdnow_customers_summary_with_transactions.csv")
    return table


def purchases() -> pd.DataFrame:
    """One row per customer and day with spend above 0: `customer_id`, `day`, `spend` (USD)."""
    lines = pd.read_csv(
        _folder() / "CDNOW_master.txt",
        sep=r"\s+",
        skiprows=1,
        names=["customer_id", "day", "disks", "spend"],
        dtype=str,
    )
    lines = lines.assign(day=pd.to_datetime(lines["day"], utc=True), spend=lines["spend"].astype(float))
    days = lines.groupby(["customer_id", "day"], as_index=False)["spend"].sum()
    bought: pd.DataFrame = days[days["spend"] > 0.0].reset_index(drop=True)
    return bought


def frame(days: pd.DataFrame, cutoff: pd.Timestamp, horizon_days: int) -> pd.DataFrame:
    """Customers who had bought before `cutoff`: what is known of them then, and `spend_next_<horizon_days>d`."""
    past = days[days["day"] < cutoff]
    first = past.groupby("customer_id")["day"].transform("min")
    past = past.assign(is_repeat=past["day"] > first)
    customers = past.groupby("customer_id")
    repeats = past[past["is_repeat"]].groupby("customer_id")
    window = days[(days["day"] >= cutoff) & (days["day"] < cutoff + pd.Timedelta(days=horizon_days))]
    repeat_days, last, age = HISTORY
    table = pd.DataFrame(
        {
            repeat_days: customers["is_repeat"].sum(),
            last: (customers["day"].max() - customers["day"].min()).dt.days,
            age: (cutoff - customers["day"].min()).dt.days,
            "recency_days": (cutoff - customers["day"].max()).dt.days,
            "spend": customers["spend"].sum(),
            "last_day_spend": customers["spend"].last(),
        }
    ).astype(float)
    table[SPEND] = repeats["spend"].mean().reindex(table.index).fillna(0.0)
    table[f"spend_next_{horizon_days}d"] = window.groupby("customer_id")["spend"].sum().reindex(table.index).fillna(0.0)
    return table.assign(cutoff_at=cutoff).reset_index()


def _folder() -> Path:
    spec = find_spec("lifetimes")  # its own reader of data sets imports what Python no longer has
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("lifetimes is not installed")
    return Path(spec.submodule_search_locations[0]) / "datasets"
