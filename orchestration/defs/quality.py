"""Quality: the Great Expectations suite of every contract, on what has landed, before dbt reads it.

Belongs here: one step that runs all suites (the library takes seconds to import) and reports a check per contract, and
another where something only warns. A failed check stops what depends on the landing; a warning does
not. Does not belong here: what is expected (`orchestration.expectations`, from the contracts).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import dagster as dg
import msgspec
import pandas as pd
import pyarrow as pa

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.sources import load_source
from nextbest.contracts import Contract
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.defs.feedback import LOG_CONTRACTS, feedback_key
from orchestration.defs.landing import batches, read_contracts, referred_contracts, table_key
from orchestration.defs.resources import Workspace
from orchestration.expectations import Failure, Outcome, Severity, has_warnings, run_suite, suite_fields

CHECKS: Mapping[Severity, str] = {"error": "contract", "warn": "contract_warnings"}
"""Name of the check with the expectations of each severity."""

Specs = Sequence[dg.AssetCheckSpec]
Results = Iterator[dg.AssetCheckResult]

_VERSION = "version"


def _specs(contract: Contract, supplied: Collection[str], *, is_read: bool) -> Iterator[dg.AssetCheckSpec]:
    logged = feedback_key(contract.name) if contract.name in LOG_CONTRACTS else None
    key = table_key(contract.name, supplied)
    yield dg.AssetCheckSpec(
        CHECKS["error"],
        asset=key,
        additional_deps=[logged] if logged and logged != key else [],
        # This step is after the landing: what the landing itself reads cannot wait for it, only what became of it.
        blocking=not is_read,
        description=f"Everything landed keeps the promises of contract {contract.name} {contract.version}.",
    )
    if has_warnings(contract):
        yield dg.AssetCheckSpec(
            CHECKS["warn"],
            asset=key,
            description=f"What contract {contract.name} {contract.version} lets in with a warning.",
        )


def _check(context: dg.AssetCheckExecutionContext, door: Door, contract: Contract, specs: Specs) -> Results:
    """Run a contract's suite, or repeat its last results when neither rows nor rules changed."""
    names = [contract.name, *referred_contracts(contract)]
    version = unchanged.digest(*(batches(door, name) for name in names), msgspec.json.encode(contract), _code())
    last = [unchanged.last_evaluation(context.instance, spec.key) for spec in specs]
    same = [each for each in last if each and unchanged.may_repeat(each) and _version(each) == version]
    if len(same) == len(specs) and unchanged.FULL_TAG not in context.run.tags:
        yield from map(unchanged.repeat_evaluation, same)
        return
    outcomes = run_suite(contract, *_landed(door, contract))
    for spec in specs:
        severity: Severity = "error" if spec.name == CHECKS["error"] else "warn"
        yield _result(spec, outcomes[severity], severity, version)


def _version(evaluation: dg.AssetCheckEvaluation) -> object:
    value = evaluation.metadata.get(_VERSION)
    return value and value.value


def _landed(door: Door, contract: Contract) -> tuple[pa.Table, dict[str, pa.Array]]:
    rows = door.read(contract.name, [field.name for field in suite_fields(contract)])
    references = {field.reference: field.reference.split(".") for field in contract.fields if field.reference}
    return rows, {name: door.keys(*target) for name, target in references.items()}


def _result(spec: dg.AssetCheckSpec, outcome: Outcome, severity: Severity, version: str) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "rows": outcome.rows,
        "expectations": outcome.expectations,
        "expectations met": outcome.expectations - len(outcome.failures),
        "success percent": 100 * (1 - len(outcome.failures) / max(outcome.expectations, 1)),
        _VERSION: dg.MetadataValue.text(version),
        unchanged.SKIPPED: False,
    }
    if outcome.failures:
        table = pd.DataFrame(map(asdict, outcome.failures)).to_markdown(index=False)
        metadata["expectations not met"] = dg.MetadataValue.md(table)
    return dg.AssetCheckResult(
        passed=outcome.passed,
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=dg.AssetCheckSeverity.ERROR if severity == "error" else dg.AssetCheckSeverity.WARN,
        description="; ".join(map(_said, outcome.failures)) or None,
        metadata=metadata,
    )


def _said(failure: Failure) -> str:
    """A failure in words; one of the table as a whole has no column."""
    return ": ".join(part for part in (failure.column, failure.rule, failure.observed) if part)


@cache
def _code() -> str:
    return unchanged.code_digest("orchestration.expectations")


@dg.definitions
def defs() -> dg.Definitions:
    """One step that checks everything dbt reads."""
    settings = Settings.from_env()
    source = load_source(settings)
    supplied = source.contracts() if source else ()
    read = {name for contract in supplied for name in read_contracts(source, contract)}
    contracts = load_contracts(settings.folder("contracts"))
    specs = {name: list(_specs(each, supplied, is_read=name in read)) for name, each in contracts.items()}

    @dg.multi_asset_check(
        name="landing_quality", specs=[spec for own in specs.values() for spec in own], can_subset=True
    )
    def landing_quality(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Results:
        door = workspace.door()
        for name, own in specs.items():
            if selected := [spec for spec in own if spec.key in context.selected_asset_check_keys]:
                yield from _check(context, door, contracts[name], selected)

    return dg.Definitions(asset_checks=[landing_quality])
