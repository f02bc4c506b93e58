"""The rows that fail a contract's promises, as a page per contract.

Belongs here: finding the rows of what Great Expectations counted, by the core's own rules, and the door's quarantine as
a page of the same form. Of a contract that holds personal data no value is shown, nor a key. Does not belong here: HTML
(`orchestration.pages`).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from nextbest.contracts import Contract
from nextbest.validation import Mask, broken_rows, repeated_rows
from orchestration.expectations import KEY, Failure, describe
from orchestration.pages import Section, rows_page

SHOWN: Final = 200


def failed_rows_page(
    contract: Contract, failures: list[Failure], rows: pa.Table, references: Mapping[str, pa.Array]
) -> str:
    """The first rows of each failure; one of the table as a whole has none."""
    sections = [_section(contract, failure, rows, references) for failure in failures]
    return rows_page(f"{contract.name} {contract.version}: rows that fail", sections)


def rejected_rows_page(contract: Contract, batch_id: str, rejects: pa.Table) -> str:
    """The first rows that the door turned away, in the order they came."""
    columns = ["row_number", "column", "rule", *([] if contract.holds_pii else ["value", "row"])]
    note = f"{rejects.num_rows:,} rows of batch {batch_id} are in quarantine; the first {SHOWN} are shown."
    section = Section("Turned away at the door", rejects.select(columns).slice(0, SHOWN).to_pylist(), note)
    return rows_page(f"{contract.name} {contract.version}: rejected rows", [section])


def _section(contract: Contract, failure: Failure, rows: pa.Table, references: Mapping[str, pa.Array]) -> Section:
    title = ": ".join(part for part in (failure.column, failure.rule) if part)
    mask = _broken(contract, failure, rows, references)
    numbers = np.flatnonzero(mask) if mask is not None else np.array([], dtype=np.int64)
    shown = rows.take(pa.array(numbers[:SHOWN])).to_pylist()
    values = [_shown(contract, failure, row) for row in shown]
    note = f"{failure.observed}, severity {failure.severity}"
    if len(numbers) > SHOWN:
        note += f"; the first {SHOWN} are shown"
    if contract.holds_pii:
        note += "; values stay hidden, for the contract holds personal data"
    return Section(title, values, note)


def _shown(contract: Contract, failure: Failure, row: Mapping[str, object]) -> dict[str, object]:
    named: dict[str, object] = {"column": failure.column, "rule": failure.rule}
    if contract.holds_pii:
        return named
    names = (failure.column or "").split(", ")
    value = ", ".join(str(row[name]) for name in names) if any(row[name] is not None for name in names) else None
    return named | {"value": value} | {f"key {name}": row[name] for name in contract.key if name in row}


def _broken(contract: Contract, failure: Failure, rows: pa.Table, references: Mapping[str, pa.Array]) -> Mask | None:
    """The rows a failure is about; None for one about the table or a column's type."""
    if failure.rule == KEY and failure.column == ", ".join(contract.key):
        return repeated_rows(contract.key, rows)
    for field, rule in contract.rules():
        if field.name == failure.column and describe(rule) == failure.rule:
            readable = field.name in rows.column_names and rows.schema.field(field.name).type == field.arrow_type
            return broken_rows(field, rule, rows, references) if readable else None
    return None
