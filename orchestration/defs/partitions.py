"""What is daily.

Belongs here: partition definitions and how a run names its days, so that assets, jobs, schedules and sensors mean the
same ones.
"""

from collections.abc import Collection
from datetime import UTC, datetime

import dagster as dg

LOG_DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC", end_offset=1)
"""Days of the event log in UTC, today included: what arrived on a day is landed as that day's delivery."""


def today() -> str:
    """The partition of this moment."""
    return datetime.now(UTC).date().isoformat()


def run_tags(days: Collection[str]) -> dict[str, str]:
    """The tags by which one run covers every day from the first to the last of `days`."""
    first, last = min(days), max(days)
    if first == last:
        return {"dagster/partition": first}
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
