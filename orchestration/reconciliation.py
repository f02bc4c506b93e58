"""Nothing is lost on the way: counts and sums from what was received to the marts.

Belongs here: the stages of a contract's rows (received, rejected, landed, superseded, staged) and of a model's amounts
(what it reads, what it holds), and whether they add up. Amounts are summed as exact decimals, so that neither the order
of rows nor the type a layer keeps them in makes a difference. Does not belong here: Dagster's checks
(`orchestration.defs.reconciliation`), or which model holds a complete sum, which its YAML says (`meta.reconciles`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import duckdb

from nextbest.adapters.landing import Receipt
from nextbest.contracts import Contract, Field

ROWS: Final = "rows"
DIFFERENCE: Final = "difference"
_AMOUNTS: Final = {"number", "integer"}

Figures = Mapping[str, Decimal | int | None]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the way, with its rows and sums; what a stage cannot know is None."""

    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The stages, and by how much they do not add up: empty when nothing was lost and nothing came from nowhere."""

    stages: Sequence[Stage]
    differences: Figures = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.differences

    @property
    def said(self) -> str:
        if self.passed:
            return f"{self.stages[-1].name}: nothing is lost"
        lost = ", ".join(f"{value:,} {name}" for name, value in self.differences.items())
        return f"{self.stages[-1].name} lacks {lost}"

    def table(self) -> list[dict[str, str]]:
        """A row per stage and one for the difference, a column per figure."""
        names = list(dict.fromkeys(name for stage in self.stages for name in stage.figures))
        last = Stage(DIFFERENCE, {name: self.differences.get(name, 0) for name in self.stages[-1].figures})
        return [
            {"stage": stage.name} | {name: _written(stage.figures.get(name)) for name in names}
            for stage in (*self.stages, last)
        ]


@dataclass(frozen=True, slots=True)
class Total:
    """A relation whose rows, or amounts, are summed: SQL of our own project."""

    relation: str
    sums: Mapping[str, str]
    where: str = "true"
    counts_rows: bool = False


def reconcile_staging(
    connection: duckdb.DuckDBPyConnection, contract: Contract, receipts: Iterable[Receipt], landing: Path, staged: str
) -> Reconciliation:
    """From the door to the staging model `staged`, one row per key."""
    receipts = list(receipts)
    present = set(connection.table(staged).columns)
    sums = {each.name: each.name for each in _amounts(contract) if each.name in present}
    pattern = str(landing / contract.name / "batch=*" / "**" / "*.parquet").replace("'", "''")
    files = f"read_parquet('{pattern}', union_by_name = true, hive_partitioning = false, filename = true)"
    landed = total(connection, Total(files, sums, counts_rows=True))
    # The door lets no key in twice with one delivery, and a snapshot is one.
    several = contract.event_time is not None and len(receipts) > 1
    superseded = _superseded(connection, contract, files, sums) if several else dict.fromkeys(landed, 0)
    found = total(connection, Total(staged, sums, counts_rows=True))
    counted = {name: sum(getattr(each, name) for each in receipts) for name in ("received", "rejected", "landed")}
    stages = [
        Stage("received", {ROWS: counted["received"]}),
        Stage("rejected", {ROWS: counted["rejected"]}),
        Stage("landed", landed),
        Stage("superseded by a later delivery", superseded),
        Stage(staged, found),
    ]
    expected = {name: _number(landed[name]) - _number(superseded[name]) for name in found}
    # Rows that the receipts count and the files lack are lost as well.
    missing = counted["received"] - counted["rejected"] - _number(landed[ROWS])
    return Reconciliation(stages, _differences(expected | {ROWS: expected[ROWS] + missing}, found))


def reconcile_model(connection: duckdb.DuckDBPyConnection, read: Total, held: Total) -> Reconciliation:
    """From what a model reads to what it holds, by the names of `held.sums`."""
    stages = [Stage(each.relation, total(connection, each)) for each in (read, held)]
    return Reconciliation(stages, _differences(stages[0].figures, stages[1].figures))


def total(connection: duckdb.DuckDBPyConnection, what: Total) -> dict[str, Decimal | int | None]:
    """The rows and sums of a relation; a value no amount can be made of counts nothing, on either side."""
    sums = [f"coalesce(sum(try_cast({column} as decimal(18, 4))), 0)" for column in what.sums.values()]
    names = [*([ROWS] if what.counts_rows else []), *what.sums]
    selected = ", ".join([*(["count(*)"] if what.counts_rows else []), *sums])
    query = f"SELECT {selected} FROM {what.relation} WHERE {what.where}"  # noqa: S608  names of our own models
    row = connection.execute(query).fetchone()
    return dict(zip(names, row or (), strict=True))


def _superseded(
    connection: duckdb.DuckDBPyConnection, contract: Contract, files: str, sums: Mapping[str, str]
) -> Figures:
    """Of rows with one key, all but the newest."""
    older = (
        f"(SELECT * FROM {files} QUALIFY row_number() OVER "  # noqa: S608  names of our own contracts
        f"(PARTITION BY {', '.join(contract.key)} ORDER BY {contract.event_time} DESC, filename DESC) > 1)"
    )
    return total(connection, Total(older, sums, counts_rows=True))


def _amounts(contract: Contract) -> list[Field]:
    return [each for each in contract.fields if each.type in _AMOUNTS and not each.key]


def _differences(expected: Figures, found: Figures) -> dict[str, Decimal | int]:
    lacking = {name: _number(expected[name]) - _number(found[name]) for name in found}
    return {name: value for name, value in lacking.items() if value}


def _number(value: Decimal | int | None) -> Decimal | int:
    return value or 0


def _written(value: Decimal | int | None) -> str:
    return "" if value is None else f"{value:,}"
