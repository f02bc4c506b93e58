"""The door: the only way data comes in. A delivery is validated and lands whole, or nothing of it lands.

Belongs here: which batch counts — staging, the one rename that makes a batch visible, its receipt, its quarantine, and
its migration to a new major version of its contract. Does not belong here: what makes a row valid
(`nextbest.validation`), reading other people's files (`nextbest.adapters.deliveries`), the SQL of a migration
(`nextbest.adapters.migrations`).

A batch is a directory `landing/<contract>/batch=<id>/[day=YYYY-MM-DD/]part-0.parquet` that appears by one rename, so
readers may glob at any time. What a killed process leaves behind is undone or completed by the next use of the door.
"""

import fcntl
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from nextbest.adapters import batches
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.deliveries import read_delivery
from nextbest.adapters.migrations import MigrationError, Migrations, how_to_write, major, referred
from nextbest.advice import did_you_mean, listed
from nextbest.contract_release import MIGRATIONS
from nextbest.contracts import Contract
from nextbest.log import Arrived
from nextbest.settings import Settings
from nextbest.validation import REJECTS, ContractViolation, Validated, validate

_EMPTY: Final = "0-empty"


class Receipt(msgspec.Struct, frozen=True):
    """What became of a delivery: `landed + rejected == received`.

    `rejects_by_rule` and `warnings` count rows by "column.rule". `sequence` orders the batches of a contract;
    `fingerprint` changes with the rows, the contract and what the rows refer to. `arrived` says of a day of the event
    log up to where the batch holds it.
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
    arrived: Arrived | None = None


class Migrated(msgspec.Struct, frozen=True):
    """What a migration made of a batch: its receipt before and after."""

    before: Receipt
    after: Receipt


class Door:
    """Lands deliveries under their contracts. Any number of processes may use the same folders."""

    def __init__(
        self,
        landing: Path,
        quarantine: Path,
        contracts: Mapping[str, Contract],
        migrations: Path = Path("data_contracts") / MIGRATIONS,
    ) -> None:
        """Staging is beside `landing`, on the same file system, so that a rename moves a batch in."""
        self._landing = landing
        self._quarantine = quarantine
        self._staging = landing.parent / "staging"
        self._contracts = contracts
        self.migrations = Migrations(migrations)

    @classmethod
    def of(cls, settings: Settings) -> "Door":
        """The door of a home."""
        folder = settings.folder("contracts")
        return cls(settings.landing, settings.quarantine, load_contracts(folder), folder / MIGRATIONS)

    def prepare(self) -> None:
        """Give every contract a batch without rows, so that readers always find a file, and mend what was cut short."""
        for name, contract in self._contracts.items():
            with self._locked(name) as staging:
                batches.write(contract, contract.schema.empty_table(), staging / _EMPTY)
                if not batches.same_schema(staging / _EMPTY, self._batch(name, _EMPTY)):
                    batches.replace(staging / _EMPTY, self._batch(name, _EMPTY))

    def land(
        self,
        contract: str,
        table: pa.Table,
        *,
        source_name: str,
        references: Mapping[str, pa.Array] | None = None,
        may_empty: bool = False,
        arrived: Arrived | None = None,
    ) -> Receipt:
        """Validate a table and land it.

        The same delivery again changes nothing. Another one of the same source takes the place of the older, and any
        delivery of a snapshot the place of all before.

        Args:
            contract: its name.
            table: rows as received.
            source_name: who delivers; a name per stream of deliveries that replace each other.
            references: known values by "contract.field"; by default, what has landed.
            may_empty: whether the delivery may be smaller than the contract asks for, and rows that landed give way to
                none.
            arrived: what the event log held when it delivered; kept in the receipt.

        Raises:
            ContractViolation: nothing landed; the message says why.

        """
        promise = self._contract(contract)
        if references is None:
            for name in referred(self._contracts, promise):
                self._migrate(name)
        known = self._references(promise, table.num_rows) if references is None else references
        fingerprint = batches.fingerprint(promise, table, source_name, known)
        with self._locked(contract, table.num_rows) as staging:
            previous = self._on_disk(contract)
            landed = next((receipt for receipt in previous if receipt.fingerprint == fingerprint), None)
            if landed:
                return self._noted(landed, arrived, staging)
            asked = msgspec.structs.replace(promise, min_rows=0) if may_empty else promise
            validated = validate(asked, table, known)
            replaced = sum(
                each.landed for each in previous if promise.kind == "snapshot" or each.source_name == source_name
            )
            if replaced and not validated.valid.num_rows and not may_empty:
                raise _would_empty(promise, validated, replaced)
            sequence = 1 + max((each.sequence for each in previous), default=0)
            receipt = _receipt(promise, validated, source_name, fingerprint, sequence)
            receipt = msgspec.structs.replace(receipt, arrived=arrived)
            self._stage(promise, receipt, validated, staging)
            self._show(receipt, staging)
            self._mend(contract, staging)
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
        return datetime.fromtimestamp(self._receipt_file(receipt).stat().st_mtime, UTC)

    def newest_day(self, receipt: Receipt) -> str:
        """The last day (UTC, as `YYYY-MM-DD`) on which one of a batch's events happened; of none, when it landed."""
        folders = self._batch(receipt.contract, receipt.batch_id).glob(f"{batches.DAY}*")
        days = [folder.name.removeprefix(batches.DAY) for folder in folders]
        return max(days) if receipt.landed and days else self.landed_at(receipt).date().isoformat()

    def forget(self, contract: str, receipts: Sequence[Receipt]) -> None:
        """Take batches away, with what was rejected of them."""
        with self._locked(contract) as staging:
            for receipt in receipts:
                # What is quarantined goes with the next use of the door where this is cut short.
                for folder in (self._batch(contract, receipt.batch_id), self._rejects(receipt).parent):
                    if folder.exists():
                        batches.remove(folder, staging)

    def is_current(self, receipt: Receipt) -> bool:
        """Whether the delivery was judged by the contract as it is now."""
        return receipt.contract_version == self._contract(receipt.contract).version

    def read(
        self, contract: str, columns: list[str] | None = None, *, receipts: Sequence[Receipt] | None = None
    ) -> pa.Table:
        """What has landed, or what `receipts` are of, in the contract's columns or some of them."""
        schema = self._contract(contract).schema
        chosen = self.receipts(contract) if receipts is None else receipts
        folders = (self._batch(contract, receipt.batch_id) for receipt in chosen)
        files = [str(path) for batch in folders for path in sorted(batch.rglob("*.parquet"))]
        try:
            return ds.dataset(files, schema=schema, format="parquet").to_table(columns=columns or schema.names)
        except FileNotFoundError:  # another process replaced a batch in the meantime
            if receipts is not None or chosen == self.receipts(contract):
                raise
            return self.read(contract, columns)

    def keys(self, contract: str, column: str) -> pa.Array:
        """The distinct values of a column of what has landed."""
        return self.read(contract, [column])[column].unique()

    def rejected(self, receipt: Receipt) -> pa.Table:
        """The quarantined rows of a delivery, in the schema `nextbest.validation.REJECTS`."""
        return pq.read_table(self._rejects(receipt)) if receipt.rejected else REJECTS.empty_table()

    def migrate(self, contract: str) -> list[Migrated]:
        """Carry what landed under another major version of a contract, or of one it refers to, to the one of today.

        Each batch stays the delivery it was: its source, its place in the order, its quarantine, to which rows go that
        the new version rejects. All of a contract's batches are ready before the first is shown; a process killed in
        between leaves each in one version or the other, and the next use goes on. Done again, it does nothing.

        Raises:
            MigrationError: a migration is missing or fails; nothing of the contract changed.
            ContractViolation: the new version stops a batch, or no row of the contract keeps it; likewise.

        """
        return [
            done
            for name in [*referred(self._contracts, self._contract(contract)), contract]
            for done in self._migrate(name)
        ]

    def _contract(self, name: str) -> Contract:
        if name not in self._contracts:
            detail = f"there is no such contract; there are {', '.join(self._contracts)}"
            raise ContractViolation(name, "contract", detail + did_you_mean(name, self._contracts))
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

    def _migrate(self, contract: str) -> list[Migrated]:
        promise = self._contract(contract)
        if not self._outdated(promise):
            if len(self._on_disk(contract)) > len(self.receipts(contract)):
                with self._locked(contract):
                    pass  # removes what a killed migration replaced and left
            return []
        known = self._references(promise, 0)
        with self._locked(contract) as staging:
            outdated = self._outdated(promise)  # another process may have been faster
            self._require_migrations(promise, outdated)
            done = [
                Migrated(each, self._carry(promise, each, known, staging / str(number)))
                for number, each in enumerate(outdated)
            ]
            _require_rows(done)
            for number, each in enumerate(done):
                self._show(each.after, staging / str(number))
            self._mend(contract, staging)
            return done

    def _outdated(self, contract: Contract) -> list[Receipt]:
        return [each for each in self.receipts(contract.name) if major(each.contract_version) != contract.major]

    def _require_migrations(self, contract: Contract, outdated: Sequence[Receipt]) -> None:
        for each in outdated:
            if missing := self.migrations.missing(contract.name, major(each.contract_version), contract.major):
                same = [one.batch_id for one in outdated if major(one.contract_version) == major(each.contract_version)]
                raise MigrationError(
                    f"{contract.name} is {contract.version} now, and {len(same)} of its batches landed under "
                    f"{each.contract_version} ({listed(same)}). {missing[0]} is missing: "
                    f"{how_to_write(contract.name)}, or land the same deliveries again in the new version's columns"
                )

    def _carry(self, contract: Contract, old: Receipt, known: Mapping[str, pa.Array], folder: Path) -> Receipt:
        """Write aside what becomes of a batch: the same delivery in the same place, with all that it ever rejected."""
        rows = batches.read(self._batch(contract.name, old.batch_id))
        table = self.migrations.apply(
            contract.name, major(old.contract_version), contract.major, rows, hides_values=contract.holds_pii
        )
        # How many rows a delivery must have was asked when it came; here `_require_rows` looks at all of them together.
        validated = validate(msgspec.structs.replace(contract, min_rows=0), table, known)
        rejected = [self.rejected(old), validated.rejected]
        whole = replace(validated, rejected=pa.concat_tables(rejected, promote_options="default").select(REJECTS.names))
        fingerprint = batches.fingerprint(contract, table, old.source_name, known)
        receipt = _receipt(contract, whole, old.source_name, fingerprint, old.sequence)
        receipt = msgspec.structs.replace(receipt, arrived=old.arrived)
        folder.mkdir()
        self._stage(contract, receipt, whole, folder)
        return receipt

    def _noted(self, landed: Receipt, arrived: Arrived | None, staging: Path) -> Receipt:
        """The receipt of a delivery that has landed already, which may hold the event log up to a later offset now."""
        if arrived in {None, landed.arrived}:
            return landed
        receipt, file = msgspec.structs.replace(landed, arrived=arrived), self._receipt_file(landed)
        aside = staging / file.name
        aside.write_bytes(msgspec.json.encode(receipt))
        os.utime(aside, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))  # that is when it landed
        aside.replace(file)
        return receipt

    def _stage(self, contract: Contract, receipt: Receipt, validated: Validated, folder: Path) -> None:
        """Write both parts of a batch aside."""
        batches.write(contract, validated.valid, folder / "batch")
        (folder / "batch" / "_receipt.json").write_bytes(msgspec.json.encode(receipt))
        if receipt.rejected:
            (folder / "rejects").mkdir()
            pq.write_table(validated.rejected, folder / "rejects" / "rejects.parquet")

    def _show(self, receipt: Receipt, folder: Path) -> None:
        """Move both parts of a batch in; landing comes last, because it makes the batch count."""
        if receipt.rejected:
            batches.replace(folder / "rejects", self._rejects(receipt).parent)
        batches.replace(folder / "batch", self._batch(receipt.contract, receipt.batch_id))

    def _on_disk(self, contract: str) -> list[Receipt]:
        """Every receipt, oldest first: a superseded one too, when its removal was cut short."""
        files = (self._landing / contract).glob("batch=*/_receipt.json")
        try:
            receipts = [msgspec.json.decode(path.read_bytes(), type=Receipt) for path in files]
        except FileNotFoundError:  # another process took the batch away since it was listed
            return self._on_disk(contract)
        return sorted(receipts, key=self._order)

    def _order(self, receipt: Receipt) -> tuple[int, bool]:
        """As they came; of a batch and what a migration made of it, the one of today's version comes later."""
        promise = self._contracts[receipt.contract]
        return receipt.sequence, major(receipt.contract_version) == promise.major

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
                batches.remove(batch, staging)

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

    def _receipt_file(self, receipt: Receipt) -> Path:
        return self._batch(receipt.contract, receipt.batch_id) / "_receipt.json"

    def _rejects(self, receipt: Receipt) -> Path:
        return self._quarantine / receipt.contract / f"batch={receipt.batch_id}" / "rejects.parquet"


def _batch_id(sequence: int, source_name: str, fingerprint: str) -> str:
    """Sorts as the deliveries came: of two that hold the same row, the later one is known by its name."""
    return f"{sequence:012d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', Path(source_name).name)}.{fingerprint[:12]}"


def _receipt(contract: Contract, validated: Validated, source_name: str, fingerprint: str, sequence: int) -> Receipt:
    landed, rejected = validated.valid.num_rows, validated.rejected.num_rows
    return Receipt(
        contract=contract.name,
        contract_version=contract.version,
        batch_id=_batch_id(sequence, source_name, fingerprint),
        source_name=source_name,
        received=landed + rejected,
        landed=landed,
        rejected=rejected,
        warnings=validated.warnings,
        rejects_by_rule=validated.rejects_by_rule,
        fingerprint=fingerprint,
        sequence=sequence,
    )


def _require_rows(done: Sequence[Migrated]) -> None:
    """Refuse a migration after which nothing is left: that is a mistake in it."""
    before = sum(each.before.landed for each in done)
    if before and not any(each.after.landed for each in done):
        rules: Counter[str] = Counter()
        for each in done:
            rules += Counter(each.after.rejects_by_rule) - Counter(each.before.rejects_by_rule)
        broken = ", ".join(f"{rule}: {count:,}" for rule, count in sorted(rules.items()))
        detail = f"no row keeps the contract after its migration ({broken}); the {before:,} that landed stay"
        raise ContractViolation(done[0].after.contract, "row_count", detail, rows=before)


def _would_empty(contract: Contract, validated: Validated, replaced: int) -> ContractViolation:
    broken = validated.broken(contract) or "it has none"
    detail = f"no row keeps the contract ({broken}); the {replaced:,} that landed before stay"
    return ContractViolation(contract.name, "row_count", detail, rows=validated.rejected.num_rows)
