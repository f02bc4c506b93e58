"""Batches on disk: rows as Parquet by day, a folder that appears or goes as a whole, the hash that names a delivery.

Belongs here: what the door does with files, whatever contract they are under. Does not belong here: when a batch lands
or gives way (`nextbest.adapters.landing`).
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from nextbest.contracts import Contract

DAY: Final = "day="
"""How the folder of a day's events begins."""
_NO_DAY: Final = "1970-01-01"


def read(folder: Path) -> pa.Table:
    """The rows of a batch in the columns they were written in."""
    return ds.dataset([str(path) for path in sorted(folder.rglob("*.parquet"))], format="parquet").to_table()


def write(contract: Contract, table: pa.Table, folder: Path) -> None:
    """Write rows as Parquet: events in one file per day, a snapshot in one file."""
    for day, rows in _by_day(contract, table) if contract.event_time else [("", table)]:
        (folder / day).mkdir(parents=True)
        pq.write_table(rows, folder / day / "part-0.parquet")


def _by_day(contract: Contract, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    if not table.num_rows:
        yield f"{DAY}{_NO_DAY}", table
        return
    days = pc.cast(table[contract.event_time], pa.date32()).to_numpy()
    order = np.argsort(days, kind="stable")
    table, days = table.combine_chunks().take(pa.array(order)), days[order]
    ends = [*(np.flatnonzero(days[1:] != days[:-1]) + 1), len(days)]
    for start, end in pairwise([0, *ends]):
        yield f"{DAY}{days[start]}", table.slice(start, end - start)


def same_schema(left: Path, right: Path) -> bool:
    """Whether two batches hold the same columns, in the same order."""
    schemas = [[pq.read_schema(path) for path in folder.rglob("*.parquet")] for folder in (left, right)]
    return schemas[0] == schemas[1]


def replace(folder: Path, place: Path) -> None:
    """Move a finished folder to its place, over what an earlier attempt may have left there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        remove(place, folder.parent)
    folder.rename(place)


def remove(folder: Path, staging: Path) -> None:
    """Take a batch away as a whole: readers see all of it or nothing."""
    aside = staging / f"removed-{folder.name}"
    folder.rename(aside)
    shutil.rmtree(aside)


def fingerprint(contract: Contract, table: pa.Table, source_name: str, references: Mapping[str, pa.Array]) -> str:
    """A hash of all that decides what a delivery becomes, independent of how the table is cut into chunks."""
    digest = hashlib.blake2b(msgspec.json.encode((contract, source_name)), digest_size=32)
    sink = pa.PythonFile(_Digest(digest), mode="w")
    for each in (table, *(pa.table({name: references[name]}) for name in sorted(references))):
        combined = each.combine_chunks()
        with pa.ipc.new_stream(sink, combined.schema) as stream:
            stream.write_table(combined)
    return digest.hexdigest()


class _Digest:
    """A file that keeps nothing of what is written but its hash."""

    closed = False

    def __init__(self, digest: hashlib.blake2b) -> None:
        self._digest = digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is open."""
