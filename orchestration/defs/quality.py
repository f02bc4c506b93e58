"""Quality: what every contract promises, checked on what has landed, before dbt reads it.

Belongs here: one step that runs all suites (Great Expectations takes seconds to import) and monitors, and reports a
check per kind of promise: `schema`, `keys`, `references` and `values` of the rows, `freshness`, `volume` and `drift` of
the delivery. A check fails as an error, which stops what depends on the landing, when something fails that the contract
rejects or stops for; else it warns, which stops nothing. Does not belong here: what is expected
(`orchestration.expectations`, `orchestration.monitors`, from the contracts).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, get_args

import dagster as dg
import msgspec
import pandas as pd
import pyarrow as pa

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.log_landing import LOG_CONTRACTS, is_from_log
from nextbest.adapters.sources import load_source
from nextbest.contracts import Contract
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.defs.feedback import feedback_key
from orchestration.defs.landing import batches, read_contracts, referred_contracts, table_key
from orchestration.defs.resources import Workspace
from orchestration.expectations import Check, Failure, Outcome, Suite, promised_checks, run_suite, suite_fields
from orchestration.failed_rows import failed_rows_page
from orchestration.monitors import Landed, Monitor, judge, monitored_columns, promised_monitors
from orchestration.pages import page_path, page_url, write_page

DESCRIPTIONS: Mapping[Check | Monitor, str] = {
    "schema": "The columns are there with the types of contract {contract}, and as many rows as a delivery must have.",
    "keys": "A key of contract {contract} is there and names one row.",
    "references": "What contract {contract} refers to is there.",
    "values": "Every value keeps the rules of contract {contract}.",
    "freshness": "What has landed is no older than contract {contract} allows.",
    "volume": "As many rows came as usual, within the limit of contract {contract}.",
    "drift": "Columns are distributed as before, within the limit of contract {contract}.",
}

Specs = Sequence[dg.AssetCheckSpec]
Results = Iterator[dg.AssetCheckResult]

_VERSION = "version"
_DOCS, _FAILED = "data_docs", "failed_rows"
_PAGES: Mapping[str, str] = {"data docs": _DOCS, "failed rows": _FAILED}
_MONITORS = frozenset(get_args(Monitor))
_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def _specs(contract: Contract, supplied: Collection[str]) -> Iterator[dg.AssetCheckSpec]:
    logged = feedback_key(contract.name) if contract.name in LOG_CONTRACTS else None
    key = table_key(contract.name, supplied)
    for name in (*promised_checks(contract), *promised_monitors(contract)):
        yield dg.AssetCheckSpec(
            name,
            asset=key,
            additional_deps=[logged] if logged and logged != key else [],
            blocking=True,
            description=DESCRIPTIONS[name].format(contract=f"{contract.name} {contract.version}"),
        )


@dataclass
class _Table:
    """What has landed under a contract; read when something has to be checked, and once."""

    settings: Settings
    door: Door
    contract: Contract

    @cached_property
    def delivered(self) -> pa.Table:
        """What others than the event log delivered."""
        return self.door.read(self.contract.name, self._columns, receipts=self._receipts(logged=False))

    @cached_property
    def logged(self) -> pa.Table:
        """What the event log delivered."""
        return self.door.read(self.contract.name, self._columns, receipts=self._receipts(logged=True))

    @cached_property
    def rows(self) -> pa.Table:
        return pa.concat_tables([self.delivered, self.logged])

    @cached_property
    def references(self) -> dict[str, pa.Array]:
        names = {field.reference: field.reference.split(".") for field in self.contract.fields if field.reference}
        return {name: self.door.keys(*target) for name, target in names.items()}

    @property
    def landed(self) -> Landed:
        receipts = self.door.receipts(self.contract.name)
        return Landed(
            rows=self.delivered,
            landed_at=max(map(self.door.landed_at, receipts), default=None),
            version=batches(self.door, self.contract.name),
            history=self.settings.quality / "profiles" / f"{self.contract.name}.json",
            logged=self.logged,
        )

    @property
    def _columns(self) -> list[str]:
        tested = [field.name for field in suite_fields(self.contract)]
        return list(dict.fromkeys([*tested, *monitored_columns(self.contract)]))

    def _receipts(self, *, logged: bool) -> list[Any]:
        return [each for each in self.door.receipts(self.contract.name) if is_from_log(each) == logged]


def _check(context: dg.AssetCheckExecutionContext, table: _Table, specs: Specs) -> Results:
    """Run a contract's checks, or repeat their last results when neither rows nor rules changed."""
    contract, door = table.contract, table.door
    names = [contract.name, *referred_contracts(contract)]
    version = unchanged.digest(*(batches(door, name) for name in names), msgspec.json.encode(contract), _code())
    suite = [spec for spec in specs if spec.name not in _MONITORS]
    yield from _once(context, suite, version, lambda: _suite(table, suite, version))
    # What is fresh today may be old tomorrow.
    daily = unchanged.digest(version, datetime.now(UTC).date())
    monitors = [spec for spec in specs if spec.name in _MONITORS]
    yield from _once(context, monitors, daily, lambda: _monitors(table, monitors, daily))


def _once(
    context: dg.AssetCheckExecutionContext, specs: Specs, version: str, results: Callable[[], Results]
) -> Results:
    last = [unchanged.last_evaluation(context.instance, spec.key) for spec in specs]
    same = [each for each in last if each and unchanged.may_repeat(each) and _version(each) == version]
    if len(same) == len(specs) and unchanged.FULL_TAG not in context.run.tags:
        yield from map(unchanged.repeat_evaluation, same)
    else:
        yield from results()


def _version(evaluation: dg.AssetCheckEvaluation) -> object:
    value = evaluation.metadata.get(_VERSION)
    return value and value.value


def _suite(table: _Table, specs: Specs, version: str) -> Results:
    suite = run_suite(table.contract, table.rows, table.references)
    pages = _pages(table, suite)
    outcomes = {str(name): outcome for name, outcome in suite.outcomes.items()}
    for spec in specs:
        yield _result(spec, outcomes[spec.name], pages, version)


def _pages(table: _Table, suite: Suite) -> dict[str, str]:
    """Write the pages of a suite; returns their addresses by what they show."""
    settings, contract = table.settings, table.contract
    write_page(page_path(settings, _DOCS, contract.name), suite.page)
    failed = page_path(settings, _FAILED, contract.name)
    failures = [failure for outcome in suite.outcomes.values() for failure in outcome.failures]
    if failures:
        write_page(failed, failed_rows_page(contract, failures, table.rows, table.references))
    else:
        failed.unlink(missing_ok=True)
    return {name: page_url(settings, folder, contract.name) for name, folder in _PAGES.items()}


def _result(spec: dg.AssetCheckSpec, outcome: Outcome, pages: Mapping[str, str], version: str) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "rows": outcome.rows,
        "expectations": outcome.expectations,
        "expectations met": outcome.expectations - len(outcome.failures),
        "success percent": 100 * (1 - len(outcome.failures) / max(outcome.expectations, 1)),
        "data docs": dg.MetadataValue.url(pages["data docs"]),
        _VERSION: dg.MetadataValue.text(version),
        unchanged.SKIPPED: False,
    }
    if outcome.failures:
        table = pd.DataFrame(map(asdict, outcome.failures)).to_markdown(index=False)
        metadata["expectations not met"] = dg.MetadataValue.md(table)
        metadata["failed rows"] = dg.MetadataValue.url(pages["failed rows"])
    return dg.AssetCheckResult(
        passed=outcome.passed,
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=_ERROR if outcome.severity == "error" else _WARN,
        description="; ".join(map(_said, outcome.failures)) or None,
        metadata=metadata,
    )


def _said(failure: Failure) -> str:
    """A failure in words; one of the table as a whole has no column."""
    return ": ".join(part for part in (failure.column, failure.rule, failure.observed) if part)


def _monitors(table: _Table, specs: Specs, version: str) -> Results:
    contract, landed = table.contract, table.landed
    promises = {"freshness": contract.freshness, "volume": contract.volume, "drift": contract.drift}
    for spec in specs:
        verdict = judge(contract, spec.name, landed)
        promise = promises[spec.name]
        metadata: dict[str, Any] = {_VERSION: dg.MetadataValue.text(version), unchanged.SKIPPED: False}
        if verdict.table:
            columns = pd.DataFrame(verdict.table).to_markdown(index=False)
            metadata["columns"] = dg.MetadataValue.md(columns)
        if verdict.picture:
            metadata["most drifted"] = dg.MetadataValue.md(verdict.picture)
        yield dg.AssetCheckResult(
            passed=verdict.passed,
            asset_key=spec.asset_key,
            check_name=spec.name,
            severity=_ERROR if promise and promise.on_violation == "stop" else _WARN,
            description=verdict.said,
            metadata=metadata,
        )


@cache
def _code() -> str:
    modules = "expectations", "data_docs", "failed_rows", "monitors", "pages", "profiles"
    own = [f"orchestration.{module}" for module in modules]
    return unchanged.code_digest(*own, "nextbest.drift", "nextbest.validation", "nextbest.volume")


@dg.definitions
def defs() -> dg.Definitions:
    """One step that checks everything dbt reads, and one before the landing for what a source's queries read."""
    settings = Settings.from_env()
    source = load_source(settings)
    supplied = source.contracts() if source else ()
    read = {name for contract in supplied for name in read_contracts(source, contract)}
    contracts = load_contracts(settings.folder("contracts"))
    specs = {name: list(_specs(each, supplied)) for name, each in contracts.items()}

    landed = [name for name in contracts if name not in read]
    return dg.Definitions(
        asset_checks=[
            _step(name, {each: specs[each] for each in chosen}, contracts)
            for name, chosen in {"import_quality": sorted(read), "landing_quality": landed}.items()
            if chosen
        ]
    )


def _step(name: str, specs: Mapping[str, Specs], contracts: Mapping[str, Contract]) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(name=name, specs=[spec for own in specs.values() for spec in own], can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Results:
        door = workspace.migrated_door()
        for contract, own in specs.items():
            if selected := [spec for spec in own if spec.key in context.selected_asset_check_keys]:
                yield from _check(context, _Table(workspace.settings, door, contracts[contract]), selected)

    return checks
