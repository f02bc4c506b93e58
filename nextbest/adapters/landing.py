"""The door: the only way data comes in. A delivery is validated and lands whole, or nothing of it lands.

Belongs here: batches on disk — staging, the one rename that makes a batch visible, its receipt, its quarantine. Does
not belong here: what makes a row valid (`nextbest.validation`), reading other people's files
(`nextbest.adapters.deliveries`).

A batch is a directory `landing/<contract>/batch=<id>/[day=YYYY-MM-DD/]part-0.parquet` that appears by one rename, so
readers may glob at any time. What a killed process leaves behind is undone or completed by the next use of the door.
"""

import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from nextbest.adapters.deliveries import read_delivery
from nextbest.contracts import Contract
from nextbest.validation import ContractViolation, Validated, validate

_EMPTY: Final = "0-empty"
_NO_DAY: Final = "1970-01-01"


class Receipt(msgspec.Struct, frozen=True):
    """What became of a delivery: `landed + rejected == received`.

    `rejects_by_rule` and `warnings` count rows by "column.rule". `sequence` orders the batches of a contract;
    `fingerprint` changes with the rows, the contract and what the rows refer to.
    """

    contract: str
    contract_version: str
    batch_id: str
    source_name: str
    received: int
    landed: int
    rejected: int
    warnings: dict[str, int]
    rejects_by_rule: dict[str, int]
    fingerprint: str
    sequence: int


class Door:
    """Lands deliveries under their contracts. Any number of processes may use the same folders."""

    def __init__(self, landing: Path, quarantine: Path, contracts: Mapping[str, Contract]) -> None:
        """Staging is beside `landing`, on the same file system, so that a rename moves a batch in."""
        self._landing = landing
        self._quarantine = quarantine
        self._staging = landing.parent / "staging"
        self._contracts = contracts

    def prepare(self) -> None:
        """Give every contract a batch without rows, so that readers always find a file, and mend what was cut short."""
        for name, contract in self._contracts.items():
            with self._locked(name) as staging:
                _write(contract, contract.schema.empty_table(), staging / _EMPTY)
                if not _same_schema(staging / _EMPTY, self._batch(name, _EMPTY)):
                    _replace(staging / _EMPTY, self._batch(name, _EMPTY))

    def land(
        self,
        contract: str,
        table: pa.Table,
        *,
        source_name: str,
        references: Mapping[str, pa.Array] | None = None,
        may_empty: bool = False,
    ) -> Receipt:
        """Validate a table and land it.

        The same delivery again changes nothing. Another one of the same source takes the place of the older, and any
        delivery of a snapshot the place of all before.

        Args:
            contract: its name.
            table: rows as received.
            source_name: who delivers; a name per stream of deliveries that replace each other.
            references: known values by "contract.field"; by default, what has landed.
            may_empty: whether rows that landed may give way to none.

        Raises:
            ContractViolation: nothing landed; the message says why.

        """
        promise = self._contract(contract)
        known = self._references(promise, table.num_rows) if references is None else references
        fingerprint = _fingerprint(promise, table, source_name, known)
        with self._locked(contract, table.num_rows) as staging:
            previous = self._on_disk(contract)
            landed = next((receipt for receipt in previous if receipt.fingerprint == fingerprint), None)
            if landed:
                return landed
            validated = validate(promise, table, known)
            replaced = sum(
                each.landed for each in previous if promise.kind == "snapshot" or each.source_name == source_name
            )
            if replaced and not validated.valid.num_rows and not may_empty:
                raise _would_empty(promise, validated, replaced)
            sequence = 1 + max((each.sequence for each in previous), default=0)
            receipt = Receipt(
                contract=contract,
                contract_version=promise.version,
                batch_id=_batch_id(sequence, source_name, fingerprint),
                source_name=source_name,
                received=table.num_rows,
                landed=validated.valid.num_rows,
                rejected=validated.rejected.num_rows,
                warnings=validated.warnings,
                rejects_by_rule=validated.rejects_by_rule,
                fingerprint=fingerprint,
                sequence=sequence,
            )
            self._move_in(promise, receipt, validated, staging)
            return receipt

    def land_file(self, contract: str, path: Path) -> Receipt:
        """Land a Parquet, CSV or JSON lines file; the same path again replaces what it brought before.

        Raises:
            ContractViolation: the file cannot be read or holds no row, or as `land`.

        """
        table = read_delivery(self._contract(contract), path)
        if not table.num_rows:
            raise ContractViolation(contract, "row_count", f"{path} holds no row")
        return self.land(contract, table, source_name=str(path.resolve()))

    def receipts(self, contract: str) -> list[Receipt]:
        """The receipts of the batches that count, oldest first."""
        return self._current(self._on_disk(contract))

    def landed_at(self, receipt: Receipt) -> datetime:
        """When the batch landed."""
        path = self._batch(receipt.contract, receipt.batch_id) / "_receipt.json"
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def is_current(self, receipt: Receipt) -> bool:
        """Whether the delivery was judged by the contract as it is now."""
        return receipt.contract_version == self._contract(receipt.contract).version

    def read(
        self, contract: str, columns: list[str] | None = None, *, receipts: Sequence[Receipt] | None = None
    ) -> pa.Table:
        """What has landed, or what `receipts` are of, in the contract's columns or some of them."""
        schema = self._contract(contract).schema
        chosen = self.receipts(contract) if receipts is None else receipts
        batches = (self._batch(contract, receipt.batch_id) for receipt in chosen)
        files = [str(path) for batch in batches for path in sorted(batch.rglob("*.parquet"))]
        return ds.dataset(files, schema=schema, format="parquet").to_table(columns=columns or schema.names)

    def keys(self, contract: str, column: str) -> pa.Array:
        """The distinct values of a column of what has landed."""
        return self.read(contract, [column])[column].unique()

    def _contract(self, name: str) -> Contract:
        if name not in self._contracts:
            raise ContractViolation(
                name, "contract", f"there is no such contract; there are {', '.join(self._contracts)}"
            )
        return self._contracts[name]

    def _references(self, contract: Contract, rows: int) -> dict[str, pa.Array]:
        known = {}
        for field, rule in contract.rules():
            if rule.kind == "reference":
                target, _, column = str(rule.argument).partition(".")
                known[f"{target}.{column}"] = self.keys(target, column)
                if rule.on_violation != "warn" and not len(known[f"{target}.{column}"]):
                    detail = f"no row of {target} has landed yet: land {target} first"
                    raise ContractViolation(contract.name, "reference", detail, column=field.name, rows=rows)
        return known

    def _move_in(self, contract: Contract, receipt: Receipt, validated: Validated, staging: Path) -> None:
        """Write both parts of a batch aside, then show them; landing comes last, because it makes the batch count."""
        batch, rejects = staging / "batch", staging / "rejects"
        _write(contract, validated.valid, batch)
        (batch / "_receipt.json").write_bytes(msgspec.json.encode(receipt))
        if receipt.rejected:
            rejects.mkdir()
            pq.write_table(validated.rejected, rejects / "rejects.parquet")
            _replace(rejects, self._quarantine / contract.name / f"batch={receipt.batch_id}")
        _replace(batch, self._batch(contract.name, receipt.batch_id))
        self._mend(contract.name, staging)

    def _on_disk(self, contract: str) -> list[Receipt]:
        """Every receipt, oldest first: a superseded one too, when its removal was cut short."""
        files = (self._landing / contract).glob("batch=*/_receipt.json")
        receipts = [msgspec.json.decode(path.read_bytes(), type=Receipt) for path in files]
        return sorted(receipts, key=lambda receipt: receipt.sequence)

    def _current(self, receipts: list[Receipt]) -> list[Receipt]:
        """The newest of each source; of a snapshot, the newest of all."""
        newest = {
            receipt.source_name if self._contracts[receipt.contract].event_time else "": receipt for receipt in receipts
        }
        return [receipt for receipt in receipts if receipt in newest.values()]

    def _mend(self, contract: str, staging: Path) -> None:
        """Remove superseded batches, and quarantined rows whose batch never landed."""
        receipts = self._on_disk(contract)
        current = {self._batch(contract, receipt.batch_id).name for receipt in self._current(receipts)}
        landed = [self._batch(contract, receipt.batch_id) for receipt in receipts]
        for batch in [*landed, *(self._quarantine / contract).glob("batch=*")]:
            if batch.name not in current:
                _remove(batch, staging)

    @contextmanager
    def _locked(self, contract: str, rows: int = 0) -> Iterator[Path]:
        """An empty staging folder of one's own, under a lock that a killed process gives back."""
        folder = self._staging / contract
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
            with (self._staging / f"{contract}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                try:
                    self._mend(contract, folder)
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            raise ContractViolation(contract, "storage", f"the batch cannot be written: {error}", rows=rows) from error

    def _batch(self, contract: str, batch_id: str) -> Path:
        return self._landing / contract / f"batch={batch_id}"


def _batch_id(sequence: int, source_name: str, fingerprint: str) -> str:
    """Sorts as the deliveries came: of two that hold the same row, the later one is known by its name."""
    return f"{sequence:012d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', Path(source_name).name)}.{fingerprint[:12]}"


def _would_empty(contract: Contract, validated: Validated, replaced: int) -> ContractViolation:
    broken = validated.broken(contract) or "it has none"
    detail = f"no row keeps the contract ({broken}); the {replaced:,} that landed before stay"
    return ContractViolation(contract.name, "row_count", detail, rows=validated.rejected.num_rows)


def _write(contract: Contract, table: pa.Table, folder: Path) -> None:
    """Write rows as Parquet: events in one file per day, a snapshot in one file."""
    for day, rows in _by_day(contract, table) if contract.event_time else [("", table)]:
        (folder / day).mkdir(parents=True)
        pq.write_table(rows, folder / day / "part-0.parquet")


def _by_day(contract: Contract, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    if not table.num_rows:
        yield f"day={_NO_DAY}", table
        return
    days = pc.cast(table[contract.event_time], pa.date32()).to_numpy()
    order = np.argsort(days, kind="stable")
    table, days = table.combine_chunks().take(pa.array(order)), days[order]
    ends = [*(np.flatnonzero(days[1:] != days[:-1]) + 1), len(days)]
    for start, end in pairwise([0, *ends]):
        yield f"day={days[start]}", table.slice(start, end - start)


def _same_schema(left: Path, right: Path) -> bool:
    schemas = [[pq.read_schema(path) for path in folder.rglob("*.parquet")] for folder in (left, right)]
    return schemas[0] == schemas[1]


def _replace(folder: Path, place: Path) -> None:
    """Move a finished folder to its place, over what an earlier attempt may have left there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        _remove(place, folder.parent)
    folder.rename(place)


def _remove(folder: Path, staging: Path) -> None:
    """Take a batch away as a whole: readers see all of it or nothing."""
    aside = staging / f"removed-{folder.name}"
    folder.rename(aside)
    shutil.rmtree(aside)


def _fingerprint(contract: Contract, table: pa.Table, source_name: str, references: Mapping[str, pa.Array]) -> str:
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
