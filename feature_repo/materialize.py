"""Copy the newest feature row of every customer into the online store, and prove that it arrived.

Run by file name, in a process of its own: Feast changes the working directory and finds the repository by it.
"""

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
import pyarrow.parquet as pq

from nextbest.adapters.feast_import import without_checks

with without_checks():
    from feast import FeatureStore, FeatureView, FileSource

REPOSITORY = Path(__file__).parent


def offline_customers(view: FeatureView, start: datetime, end: datetime) -> list[str]:
    """Customers with a feature row in the range, which the online store must hold afterwards."""
    in_range = [("as_of", ">=", start), ("as_of", "<=", end)]
    path = cast("FileSource", view.batch_source).path
    rows = pq.read_table(path, columns=["customer_id"], filters=in_range)
    customers: list[str] = rows.column("customer_id").unique().to_pylist()
    return customers


def online_rows(store: FeatureStore, view: FeatureView, customers: list[str], start: datetime) -> int:
    """How many of `customers` have a row of `start` or later in the online store."""
    if not customers:
        return 0
    feature = view.features[0].name
    response = store.get_online_features(
        features=[f"{view.name}:{feature}"],
        entity_rows=[{"customer_id": customer} for customer in customers],
    )
    times = response.to_dict(include_event_timestamps=True)[f"{feature}__ts"]
    return sum(time >= start.timestamp() for time in times)


def materialize(store: FeatureStore, start: datetime, end: datetime) -> dict[str, int]:
    """Materialize every view that has a source, and count the customers it then holds; others write what has none.

    Raises:
        click.ClickException: customers with a feature row in the range have none online.

    """
    views = [view for view in store.list_feature_views() if view.batch_source is not None]
    store.materialize(start, end, feature_views=[view.name for view in views])
    rows: dict[str, int] = {}
    for view in views:
        customers = offline_customers(view, start, end)
        rows[view.name] = online_rows(store, view, customers, start)
        if rows[view.name] < len(customers):
            raise click.ClickException(
                f"feature view {view.name}: {len(customers)} customers have features between {start} and {end}, "
                f"but only {rows[view.name]} of them are in the online store"
            )
    return rows


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


_ISO = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"])


@click.command()
@click.option("--start", type=_ISO, required=True, help="Oldest feature row to look at (ISO 8601, UTC).")
@click.option("--end", type=_ISO, required=True, help="Newest feature row to look at (ISO 8601, UTC).")
def main(start: datetime, end: datetime) -> None:
    r"""Materialize every feature view and print {view: customers} as JSON.

    \b
    Example: python feature_repo/materialize.py --start 2026-11-15 --end 2026-11-23
    """
    with contextlib.redirect_stdout(sys.stderr):  # where Feast's progress belongs
        rows = materialize(FeatureStore(repo_path=str(REPOSITORY)), _utc(start), _utc(end))
    click.echo(json.dumps(rows))


if __name__ == "__main__":
    main()
