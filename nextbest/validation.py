"""Applying a contract to rows: which are valid, which are not and why.

Belongs here: the check of every rule on a whole column at a time. Does not belong here: what the rules are
(`nextbest.contracts`), how a column becomes the contract's type (`nextbest.casting`), where valid and rejected rows go
(`nextbest.adapters.landing`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextbest.advice import ABSENT, UNDECLARED, expected, explain, listed, nearest
from nextbest.casting import can_hold, cast
from nextbest.contracts import Contract, Field, OnViolation, Rule, RuleKind
from nextbest.errors import NextbestError

Mask = npt.NDArray[np.bool_]

REJECTS: Final = pa.schema(
    [
        ("row_number", pa.int64()),
        ("rule", pa.string()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("row", pa.string()),
        ("also", pa.string()),
    ]
)


class ContractViolation(NextbestError):  # noqa: N818  the field's term; every NextbestError is an error
    """Nothing of a delivery can land; the message names contract, column, rule and number of rows."""

    def __init__(self, contract: str, rule: str, detail: str, *, column: str = "", rows: int = 0) -> None:
        where = [f"contract {contract}", *([f"column {column}"] if column else []), f"rule {rule}", f"{rows:,} rows"]
        super().__init__(f"{', '.join(where)}: {detail}")
        self.contract = contract
        self.rule = rule
        self.column = column
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Validated:
    """A delivery, divided: `len(valid) + len(rejected)` is the number of rows received.

    `valid` has the contract's schema. `rejected` has the schema `REJECTS`: the first rule a row breaks, the value that
    breaks it, the row's number from 1, the row as JSON in the contract's columns, and the other rules it breaks as
    "column.rule, …" (keys are looked at among rows that keep every other rule). `warnings` counts landed rows by
    "column.rule"; a column the contract does not name lands nowhere and is counted as "column.undeclared", and one
    that may be null and did not come as "column.absent".
    """

    valid: pa.Table
    rejected: pa.Table
    warnings: dict[str, int]

    def broken(self, contract: Contract) -> str:
        """The rules that rows break, each with its rows, the first of them and what would be right."""
        return "; ".join(explain(contract, self.rejected))

    @property
    def rejects_by_rule(self) -> dict[str, int]:
        pairs = zip(self.rejected["column"].to_pylist(), self.rejected["rule"].to_pylist(), strict=True)
        return dict(Counter(f"{column}.{rule}" for column, rule in pairs))


def validate(contract: Contract, table: pa.Table, references: Mapping[str, pa.Array] | None = None) -> Validated:
    """Divide a delivery into valid and rejected rows. A column that may be null may be absent: a warning says so.

    Args:
        contract: what was promised.
        table: the rows as received.
        references: known values by "contract.field"; a reference that is not among them is not checked.

    Raises:
        ContractViolation: a required column is missing, a column is doubled or of a wrong type, there are too few rows,
            or a row breaks a rule whose violation stops the batch.

    """
    undeclared = _check_columns(contract, table)
    table, absent = _completed(contract, table)
    findings = _Findings(contract, table)
    columns = {}
    for field in contract.fields:
        columns[field.name], lost = cast(table[field.name], field.arrow_type)
        findings.add((field.name,), "type", "reject", lost)
    for field, rule in contract.rules():
        broken = _broken(rule, columns[field.name], references or {})
        findings.add((field.name,), rule.kind, rule.on_violation, broken)
    if contract.key:
        findings.add(contract.key, "key", "reject", _repeated(contract.key, columns, findings.accepted))
    for field, rule in contract.rules():  # like the key, among the rows that keep every other rule
        if rule.kind == "unique":
            present = findings.accepted & _to_numpy(pc.is_valid(columns[field.name]))
            findings.add((field.name,), "unique", rule.on_violation, _repeated((field.name,), columns, present))
    accepted = findings.accepted
    cast_table = pa.table(columns, schema=contract.schema)
    validated = Validated(
        valid=cast_table if accepted.all() else cast_table.filter(pa.array(accepted)),
        rejected=findings.rejects(),
        warnings=findings.warnings()
        | {f"{name}.{UNDECLARED}": table.num_rows for name in undeclared}
        | {f"{name}.{ABSENT}": table.num_rows for name in absent},
    )
    if validated.valid.num_rows < contract.min_rows:  # else a wholly bad delivery would replace a good one by nothing
        broken = validated.broken(contract)
        detail = (
            f"{validated.valid.num_rows:,} keep the contract ({broken}), which asks for {contract.min_rows:,} or more"
        )
        raise ContractViolation(contract.name, "row_count", detail, rows=table.num_rows)
    return validated


def broken_rows(field: Field, rule: Rule, table: pa.Table, references: Mapping[str, pa.Array]) -> Mask:
    """Which rows of a table in the contract's types break one rule, every row judged by itself."""
    if rule.kind == "unique":
        return repeated_rows((field.name,), table)
    broken = _broken(rule, table[field.name], references)
    return np.zeros(table.num_rows, dtype=np.bool_) if broken is None else _to_numpy(broken)


def repeated_rows(names: tuple[str, ...], table: pa.Table) -> Mask:
    """Which rows have in these columns what an earlier row has; null repeats nothing."""
    present = np.ones(table.num_rows, dtype=np.bool_)
    for name in names:
        present &= _to_numpy(pc.is_valid(table[name]))
    return _repeated(names, {name: table[name] for name in names}, present)


def _check_columns(contract: Contract, table: pa.Table) -> list[str]:
    """Check what holds for the delivery as a whole; returns the columns the contract does not name."""
    rows, names = table.num_rows, Counter(table.column_names)
    needed = [field.name for field in contract.fields if field.required or field.key]
    if missing := [name for name in needed if not names[name]]:
        detail = "the column is missing" if len(missing) == 1 else "the columns are missing"
        detail += _unrecognised(contract, names, missing)
        raise ContractViolation(contract.name, "column", detail, column=", ".join(missing), rows=rows)
    for field in contract.fields:
        if names[field.name] > 1:
            detail = "the column occurs more than once"
            raise ContractViolation(contract.name, "column", detail, column=field.name, rows=rows)
        if not names[field.name]:
            continue
        found = table.schema.field(field.name).type
        if not can_hold(found, field.arrow_type):
            detail = f"the column is {found}, the contract says {field.physical_type} ({field.arrow_type})"
            raise ContractViolation(contract.name, "type", detail, column=field.name, rows=rows)
    if rows < contract.min_rows:
        detail = f"the contract asks for {contract.min_rows:,} or more"
        raise ContractViolation(contract.name, "row_count", detail, rows=rows)
    return sorted(set(names) - {field.name for field in contract.fields})


def _unrecognised(contract: Contract, names: Iterable[str], missing: Iterable[str]) -> str:
    """What the delivery has in place of what is missing, and what of it is probably meant."""
    unknown = sorted(set(names) - {field.name for field in contract.fields})
    if not unknown:
        return ""
    meant = {name: nearest(name, unknown) for name in missing}
    questions = "".join(f"; is {found} the {name}?" for name, found in meant.items() if found)
    return f"; the contract does not name {listed(unknown)}, which came{questions}"


def _completed(contract: Contract, table: pa.Table) -> tuple[pa.Table, list[str]]:
    """The delivery with every column of the contract, and the names of those it came without."""
    absent = [field for field in contract.fields if field.name not in table.column_names]
    for field in absent:
        table = table.append_column(field.name, pa.nulls(table.num_rows, field.arrow_type))
    return table, [field.name for field in absent]


class _Findings:
    """What was found so far: for each row the first rule it breaks, and the rows of each rule that is broken."""

    def __init__(self, contract: Contract, table: pa.Table) -> None:
        self._contract = contract
        self._table = table
        self._first = np.full(table.num_rows, -1, dtype=np.int16)
        self._rules: list[tuple[str, tuple[str, ...], Mask]] = []
        self._warned: dict[str, Mask] = {}

    @property
    def accepted(self) -> Mask:
        return self._first < 0

    def add(
        self, columns: tuple[str, ...], rule: str, on_violation: OnViolation, broken: pa.ChunkedArray | Mask | None
    ) -> None:
        if broken is None:
            return
        rows = broken if isinstance(broken, np.ndarray) else _to_numpy(broken)
        if not rows.any():
            return
        if on_violation == "stop":
            raise self._stop(columns, rule, rows)
        if on_violation == "warn":
            self._warned[f"{', '.join(columns)}.{rule}"] = rows
            return
        self._first[rows & self.accepted] = len(self._rules)
        self._rules.append((rule, columns, rows))

    def warnings(self) -> dict[str, int]:
        counts = {name: int((rows & self.accepted).sum()) for name, rows in self._warned.items()}
        return {name: count for name, count in counts.items() if count}

    def rejects(self) -> pa.Table:
        if self.accepted.all():
            return REJECTS.empty_table()
        numbers = np.flatnonzero(~self.accepted)
        rows = self._rows(numbers)
        rules = [self._rules[index] for index in self._first[numbers]]
        values = [_text([row[name] for name in columns]) for row, (_, columns, _) in zip(rows, rules, strict=True)]
        return pa.table(
            {
                "row_number": numbers + 1,
                "rule": [rule for rule, _, _ in rules],
                "column": [", ".join(columns) for _, columns, _ in rules],
                "value": values,
                "row": [_json(row) for row in rows],
                "also": self._also(numbers),
            },
            schema=REJECTS,
        )

    def _also(self, numbers: npt.NDArray[np.intp]) -> list[str | None]:
        """For each rejected row the other rules it breaks; a value of a wrong type is not called missing too."""
        others: list[list[str]] = [[] for _ in numbers]
        lost = {columns: rows for rule, columns, rows in self._rules if rule == "type"}
        for index, (rule, columns, rows) in enumerate(self._rules):
            also = rows[numbers] & (self._first[numbers] != index)
            if rule == "required" and columns in lost:
                also &= ~lost[columns][numbers]
            for position in np.flatnonzero(also):
                others[position].append(f"{', '.join(columns)}.{rule}")
        return [", ".join(each) or None for each in others]

    def _stop(self, columns: tuple[str, ...], rule: str, rows: Mask) -> ContractViolation:
        column, first = ", ".join(columns), int(rows.argmax())
        value = (
            None if self._contract.holds_pii else _text([self._rows(np.array([first]))[0][name] for name in columns])
        )
        said = "" if value is None else f", {value!r}"
        advice = expected(self._contract, column, rule, value)
        detail = f"the contract stops the batch for it, first in row {first + 1:,}{said}: {advice}"
        return ContractViolation(self._contract.name, rule, detail, column=column, rows=int(rows.sum()))

    def _rows(self, numbers: npt.NDArray[np.intp]) -> list[dict[str, Any]]:
        """The rows as they came, in the contract's columns."""
        declared = self._table.select([field.name for field in self._contract.fields])
        rows: list[dict[str, Any]] = _readable(declared.take(pa.array(numbers))).to_pylist()
        return rows


_PREDICATES: Final[Mapping[RuleKind, Callable[[pa.ChunkedArray, Any], pa.ChunkedArray]]] = {
    "required": lambda values, _: pc.is_null(values),
    "enum": lambda values, allowed: _not_among(values, pa.array(allowed, values.type)),
    "minimum": lambda values, bound: pc.less(values, _bound(bound, values.type)),
    "maximum": lambda values, bound: pc.greater(values, _bound(bound, values.type)),
    "pattern": lambda values, pattern: pc.invert(pc.match_substring_regex(values, pattern)),
    "min_length": lambda values, length: pc.less(pc.utf8_length(values), int(length)),
    "max_length": lambda values, length: pc.greater(pc.utf8_length(values), int(length)),
}


def _broken(rule: Rule, values: pa.ChunkedArray, references: Mapping[str, pa.Array]) -> pa.ChunkedArray | None:
    """The rows that break a rule; None where none can, for what is unknown is not wrong."""
    if values.null_count == (0 if rule.kind == "required" else len(values)) or rule.kind == "unique":
        return None
    if rule.kind == "reference":
        known = references.get(str(rule.argument))
        return None if known is None else _not_among(values, known)
    return _PREDICATES[rule.kind](values, rule.argument)


def _not_among(values: pa.ChunkedArray, known: pa.Array) -> pa.ChunkedArray:
    return pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=known)))


def _bound(bound: str | float, kind: pa.DataType) -> pa.Scalar:
    return pa.scalar(bound).cast(kind)


def _repeated(names: tuple[str, ...], columns: Mapping[str, pa.ChunkedArray], accepted: Mask) -> Mask:
    """Rows whose values in these columns an earlier row has; a row that was rejected already takes nothing away."""
    everything = bool(accepted.all())
    codes = np.zeros(int(accepted.sum()), dtype=np.int64)
    for name in names:
        values = columns[name] if everything else columns[name].filter(pa.array(accepted))
        encoded = values.combine_chunks().dictionary_encode()
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
        if len(names) > 2:  # noqa: PLR2004  the product of three sizes may not fit
            codes = np.unique(codes, return_inverse=True)[1]
    repeated = np.zeros(len(accepted), dtype=np.bool_)
    if (np.diff(np.sort(codes)) == 0).any():
        again = np.ones(len(codes), dtype=np.bool_)
        again[np.unique(codes, return_index=True)[1]] = False
        repeated[np.flatnonzero(accepted)[again]] = True
    return repeated


def _to_numpy(mask: pa.ChunkedArray) -> Mask:
    rows: Mask = (mask.fill_null(False) if mask.null_count else mask).to_numpy()
    return rows


def _readable(table: pa.Table) -> pa.Table:
    """Times as text: Python's own have no nanoseconds."""
    for index, field in enumerate(table.schema):
        if pa.types.is_temporal(field.type):
            table = table.set_column(index, field.name, table[field.name].cast(pa.string()))
    return table


def _text(values: list[Any]) -> str | None:
    if len(values) > 1:
        return ", ".join(str(value) for value in values)
    (value,) = values
    return value if value is None or isinstance(value, str) else _json(value) if isinstance(value, list) else str(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
