"""Great Expectations suites, generated from the data contracts and run on what has landed.

The door has tested every batch on its way in; a suite tests the landing as a whole, as dbt will read it: keys over all
batches, references into snapshots that were replaced since, files someone changed. Belongs here: the translation of a
contract into expectations and of results into plain values and a page. Does not belong here: reading the landing, or
Dagster's checks (`orchestration.defs.quality`).

Great Expectations takes seconds to import, so only running a suite imports it. It runs on pandas, with text as
categories: its own copies of 1.5 million rows then cost milliseconds instead of seconds. (On DuckDB, every expectation
of 1.24 fails.)
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, Literal, get_args

import pandas as pd
import pyarrow as pa

from nextbest.contracts import Contract, Field, Rule
from orchestration.data_docs import data_docs_page

Severity = Literal["error", "warn"]
Check = Literal["schema", "keys", "references", "values"]
"""What a promise is about; each is a check of its own."""

_PANDAS_TYPES = {
    "VARCHAR": "CategoricalDtypeType",
    "BIGINT": "int64",
    "DOUBLE": "float64",
    "BOOLEAN": "bool",
    "TIMESTAMPTZ": "Timestamp",
}
_END = {"minimum": "min_value", "min_length": "min_value", "maximum": "max_value", "max_length": "max_value"}
_SAMPLE_SIZE = 5
_LARGE = 100_000
"""Rows from which a batch per column is cheaper: every metric of the library copies the whole frame it is given."""
_NUMBER = "promise"
KEY = "unique"
"""Rule of the key as a whole."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One expectation, with where in the contract it comes from and what its failure means."""

    expectation: Any
    check: Check
    column: str | None
    rule: str
    severity: Severity = "error"


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that the rows do not meet; `sample` stays empty where values might identify a person."""

    column: str | None
    rule: str
    severity: Severity
    observed: str
    percent_met: float
    sample: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contract's suite found among the expectations of one check."""

    rows: int
    expectations: int
    failures: tuple[Failure, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def severity(self) -> Severity:
        """A warning where only what warns fails."""
        return "error" if any(failure.severity == "error" for failure in self.failures) else "warn"


@dataclass(frozen=True, slots=True)
class Suite:
    """A contract's suite, run: what each check found, and Great Expectations' own page of all of it."""

    outcomes: Mapping[Check, Outcome]
    page: str


def suite_fields(contract: Contract) -> list[Field]:
    """The columns a suite needs; free text without a rule is left on disk."""
    return [each for each in contract.fields if each.rules or each.key]


def promised_checks(contract: Contract) -> list[Check]:
    """The checks that the contract has a promise for; one that can never fail is not shown."""
    found: set[Check] = {_check_of(field, rule) for field, rule in contract.rules()}
    found |= {"schema", "keys"} if contract.key else {"schema"}
    return [each for each in get_args(Check) if each in found]


def _check_of(column: Field, rule: Rule) -> Check:
    match rule.kind:
        case "reference":
            return "references"
        case "unique":
            return "keys"
        case "required" if column.key:
            return "keys"
    return "values"


def _severity_of_repeats(contract: Contract) -> Severity:
    """A key in two deliveries of events: staging keeps the newest row. In a snapshot there is one delivery."""
    return "warn" if contract.event_time else "error"


def run_suite(contract: Contract, rows: pa.Table, references: Mapping[str, pa.Array]) -> Suite:
    """Test `rows` against every promise of the contract.

    Args:
        contract: whose suite is run.
        rows: the tested columns of everything landed; text may be dictionary-encoded.
        references: the values of each "contract.field" that the contract refers to.

    """
    promises = list(_promises(contract))
    for number, promise in enumerate(promises):  # results come back in an order of their own
        promise.expectation.meta = {_NUMBER: number}
    results = _results(contract, _frame(contract, rows, references), promises)
    tested = [(promises[result.expectation_config.meta[_NUMBER]], result) for result in results.results]
    outcomes = {check: _outcome(contract, rows.num_rows, check, tested) for check in promised_checks(contract)}
    return Suite(outcomes, data_docs_page(results))


def _results(contract: Contract, frame: pd.DataFrame, promises: Sequence[Promise]) -> Any:
    """The library's results of all promises."""
    gx = _library()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("landing")
    form = {"result_format": "SUMMARY", "partial_unexpected_count": 0 if contract.holds_pii else _SAMPLE_SIZE}
    results = []
    for number, (columns, part) in enumerate(_parts(frame, promises)):
        batch_definition = source.add_dataframe_asset(str(number)).add_batch_definition_whole_dataframe("all")
        batch = batch_definition.get_batch(batch_parameters={"dataframe": frame[columns]})
        suite = gx.ExpectationSuite(contract.name, expectations=[promise.expectation for promise in part])
        with warnings.catch_warnings():  # pandas, of groups in a pattern that nobody asked it to extract
            warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression", UserWarning)
            results.append(batch.validate(suite, result_format=form))
    return _merged(results)


def _parts(frame: pd.DataFrame, promises: Sequence[Promise]) -> list[tuple[list[str], list[Promise]]]:
    """What is tested together, with its columns; promises about the table are with those of the first columns."""
    if len(frame) <= _LARGE:
        return [(frame.columns.tolist(), list(promises))]
    parts: dict[tuple[str, ...], list[Promise]] = {}
    for promise in promises:
        parts.setdefault(_columns(promise), []).append(promise)
    of_the_table = parts.pop((), [])
    next(iter(parts.values())).extend(of_the_table)
    return [([name for name in frame.columns.tolist() if name in columns], part) for columns, part in parts.items()]


def _columns(promise: Promise) -> tuple[str, ...]:
    """The columns of the frame that an expectation looks at."""
    one, several = (getattr(promise.expectation, name, None) for name in ("column", "column_list"))
    return tuple(several or ([one] if one else []))


def _merged(parts: Sequence[Any]) -> Any:
    """The results of all parts as those of one suite."""
    whole, *others = parts
    whole.results = [result for part in (whole, *others) for result in part.results]
    met = sum(bool(result.success) for result in whole.results)
    whole.success = met == len(whole.results)
    whole.statistics = {
        "evaluated_expectations": len(whole.results),
        "successful_expectations": met,
        "unsuccessful_expectations": len(whole.results) - met,
        "success_percent": 100 * met / len(whole.results),
    }
    return whole


def _library() -> Any:
    """Great Expectations, imported when a suite runs; it exports its names in a way type checkers do not follow."""
    import_module("great_expectations.expectations")
    return import_module("great_expectations")


def _frame(contract: Contract, rows: pa.Table, references: Mapping[str, pa.Array]) -> pd.DataFrame:
    """The rows as pandas, with a column of truth values per reference.

    An expectation is copied hundreds of times by the library: the keys of a whole table do not belong into one.
    """
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    has_gaps = any(rows.schema.field(i).type in nullable and rows.column(i).null_count for i in range(rows.num_columns))
    frame: pd.DataFrame = rows.to_pandas(strings_to_categorical=True, types_mapper=nullable.get if has_gaps else None)
    for each in contract.fields:
        if each.reference and each.name in frame:
            known = frame[each.name].isin(references[each.reference].to_pylist())
            frame[_known(each)] = known | frame[each.name].isna()
    return frame


def _known(column: Field) -> str:
    return f"{column.name} in {column.reference}"


def _promises(contract: Contract) -> Iterator[Promise]:
    gxe = _library().expectations
    enough = gxe.ExpectTableRowCountToBeBetween(min_value=contract.min_rows)
    yield Promise(enough, "schema", None, f"rows >= {contract.min_rows}")
    severity = _severity_of_repeats(contract)
    if len(contract.key) == 1:
        unique = gxe.ExpectColumnValuesToBeUnique(column=contract.key[0])
        yield Promise(unique, "keys", contract.key[0], KEY, severity)
    elif contract.key:
        columns = list(contract.key)
        unique = gxe.ExpectCompoundColumnsToBeUnique(column_list=columns)
        yield Promise(unique, "keys", ", ".join(columns), KEY, severity)
    for each in suite_fields(contract):
        if each.physical_type in _PANDAS_TYPES:  # what is not there is of no type
            typed = gxe.ExpectColumnValuesToBeOfType(column=each.name, type_=_PANDAS_TYPES[each.physical_type])
            yield Promise(typed, "schema", each.name, each.type)
        else:
            yield Promise(gxe.ExpectColumnToExist(column=each.name), "schema", each.name, "exists")
    for each, rule in contract.rules():
        severity = "warn" if rule.on_violation == "warn" else "error"
        yield Promise(_expectation(each, rule), _check_of(each, rule), each.name, describe(rule), severity)


def _expectation(column: Field, rule: Rule) -> Any:
    gxe, argument = _library().expectations, rule.argument
    arguments: dict[str, Any] = {"column": column.name}
    match rule.kind:
        case "required":
            expectation = gxe.ExpectColumnValuesToNotBeNull
        case "unique":
            expectation = gxe.ExpectColumnValuesToBeUnique
        case "enum":
            expectation, arguments["value_set"] = gxe.ExpectColumnValuesToBeInSet, list(column.enum or ())
        case "minimum" | "maximum":
            expectation, arguments[_END[rule.kind]] = gxe.ExpectColumnValuesToBeBetween, _bound(column, argument)
        case "pattern":
            expectation, arguments["regex"] = gxe.ExpectColumnValuesToMatchRegex, argument
        case "min_length" if argument == 1:  # a look at the categories is a hundred times cheaper than lengths
            expectation, arguments["value_set"] = gxe.ExpectColumnValuesToNotBeInSet, [""]
        case "min_length" | "max_length":
            expectation, arguments[_END[rule.kind]] = gxe.ExpectColumnValueLengthsToBeBetween, argument
        case "reference":
            arguments = {"column": _known(column), "value_set": [True]}
            expectation = gxe.ExpectColumnValuesToBeInSet
    return expectation(**arguments)


def _bound(column: Field, argument: Any) -> Any:
    return datetime.fromisoformat(argument) if column.type == "timestamp" else argument


def describe(rule: Rule) -> str:
    """The rule in a few words, as failures name it."""
    return rule.kind if rule.argument is None else f"{rule.kind} {rule.argument}"


def _outcome(contract: Contract, rows: int, check: Check, tested: Sequence[tuple[Promise, Any]]) -> Outcome:
    own = [(promise, result) for promise, result in tested if promise.check == check]
    failures = tuple(
        _failure(promise, result, is_secret=contract.holds_pii) for promise, result in own if not result.success
    )
    return Outcome(rows, len(own), failures)


def _failure(promise: Promise, result: Any, *, is_secret: bool) -> Failure:
    found = result.result
    if "unexpected_count" in found:
        observed = f"{found['unexpected_count']} of {found['element_count']} rows"
        sample = () if is_secret else tuple(str(value) for value in found["partial_unexpected_list"])
        met = 100 - found["unexpected_percent"]
        return Failure(promise.column, promise.rule, promise.severity, observed, met, sample)
    observed = str(found.get("observed_value", "cannot be tested"))
    return Failure(promise.column, promise.rule, promise.severity, observed, 0.0)
