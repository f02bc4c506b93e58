"""Publish marts: immutable Parquet snapshots that everything after the warehouse reads.

Belongs here: copying tables out of the warehouse, switching readers to a new snapshot at once, and the files that
no query makes. Does not belong here: what a mart holds (`dbt_project/`), or who reads it.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = "marts"
KEPT_SNAPSHOTS = 3

SCORES = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("as_of", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("clv_91d", pa.float64()),
        pa.field("churn_91d", pa.float64()),
        pa.field("segment", pa.string()),
        pa.field("best_hour", pa.float64()),
        pa.field("best_hour_gain", pa.float64()),
        pa.field("best_channel", pa.string()),
        pa.field("best_channel_gain", pa.float64()),
        pa.field("next_category", pa.string()),
        pa.field("next_category_probability", pa.float64()),
        pa.field("model_versions", pa.string(), nullable=False),
    ]
)
"""What models say of a customer; null where there is no champion. `model_versions` is text such as `churn 2, clv 3`."""


def scores_file(marts: Path) -> Path:
    """Where `customer_scores` is: beside the snapshots, because models write it, not the warehouse."""
    return marts / "scores" / "customer_scores.parquet"


def live_history_file(marts: Path) -> Path:
    """Where the live features of past contacts are: beside the snapshots, because no query makes them."""
    return marts / "live" / "live_history.parquet"


def feature_names(marts: Path) -> frozenset[str]:
    """The columns of everything that is published; none before the first time."""
    files = [*(marts / "current").glob("*.parquet"), *([scores_file(marts)] if scores_file(marts).exists() else [])]
    return frozenset(name for file in files for name in pq.read_schema(file).names)


def publish(warehouse: Path, marts: Path, names: Sequence[str], snapshot_id: str) -> Path:
    """Copy the marts `names` out of the warehouse and make them current, all at once.

    A reader that follows `marts/current` sees the former snapshot or this one, never a mixture. An id that is published
    already is made current again as it is. Snapshots beyond the newest few are removed.

    Returns:
        The folder of the snapshot: one `<mart>.parquet` per name.

    """
    marts.mkdir(parents=True, exist_ok=True)
    snapshot = marts / f"snapshot={snapshot_id}"
    if not snapshot.exists():
        _export(warehouse, names, snapshot)
    os.utime(snapshot)
    _point_current_to(snapshot)
    _remove_old(marts)
    _prepare_scores(scores_file(marts))
    return snapshot


def _export(warehouse: Path, names: Sequence[str], snapshot: Path) -> None:
    draft = snapshot.with_name(f".{snapshot.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        with closing(duckdb.connect(warehouse, read_only=True)) as connection:
            for name in names:
                table = connection.table(f"{SCHEMA}.{name}")
                table.write_parquet(str(draft / f"{name}.parquet"), compression="zstd")
        draft.rename(snapshot)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _point_current_to(snapshot: Path) -> None:
    link = snapshot.with_name(f".current.{os.getpid()}")
    link.unlink(missing_ok=True)
    link.symlink_to(snapshot.name)
    link.replace(snapshot.with_name("current"))


def _remove_old(marts: Path) -> None:
    newest_first = sorted(marts.glob("snapshot=*"), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    for folder in newest_first[KEPT_SNAPSHOTS:]:
        shutil.rmtree(folder)


def _prepare_scores(file: Path) -> None:
    """Readers always find the file with all its columns: before the first scoring without rows, or with the former."""
    if not file.exists() or not pq.read_schema(file).equals(SCORES):
        former = pq.read_table(file) if file.exists() else SCORES.empty_table()
        known = former.select([name for name in SCORES.names if name in former.column_names])
        file.parent.mkdir(exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        whole = pa.concat_tables([SCORES.empty_table(), known], promote_options="default")
        pq.write_table(whole.select(SCORES.names).cast(SCORES), draft)
        draft.replace(file)
