"""Quality: the Great Expectations suite of every contract, on what has landed, before dbt reads it.

Belongs here: one step that runs all suites (the library takes seconds to import) and reports a check per contract, and
another where the contract has rules that only warn. A failed check stops what depends on the landing; a warning does
not. Does not belong here: what is expected (`orchestration.expectations`, from the contracts).
"""

from collections.abc import Iterator, Mapping, Sequence
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
from orchestration.defs.landing import batches, landing_key, referred_contracts
from orchestration.defs.resources import Workspace
from orchestration.expectations import Outcome, Severity, has_warnings, run_suite, suite_fields

CHECKS: Mapping[Severity, str] = {"error": "contract", "warn": "contract_warnings"}
"""Name of the check with the expectations of each severity."""

Specs = Sequence[dg.AssetCheckSpec]
Results = Iterator[dg.AssetCheckResult]

_VERSION = "version"


def _specs(contract: Contract, *, is_supplied: bool) -> Iterator[dg.AssetCheckSpec]:
    is_logged = contract.name in LOG_CONTRACTS
    yield dg.AssetCheckSpec(
        CHECKS["error"],
        asset=landing_key(contract.name) if is_supplied else feedback_key(contract.name),
        additional_deps=[feedback_key(contract.name)] if is_supplied and is_logged else [],
        blocking=True,
        description=f"Everything landed keeps the promises of contract {contract.name} {contract.version}.",
    )
    if has_warnings(contract):
        yield dg.AssetCheckSpec(
            CHECKS["warn"],
            asset=landing_key(contract.name) if is_supplied else feedback_key(contract.name),
            description=f"Rules of contract {contract.name} {contract.version} that let rows in with a warning.",
        )


def _check(context: dg.AssetCheckExecutionContext, door: Door, contract: Contract, specs: Specs) -> Results:
    """Run a contract's suite, or repeat its last results when neither rows nor rules changed."""
    names = [contract.name, *referred_contracts(contract)]
    version = unchanged.digest(*(batches(door, name) for name in names), msgspec.json.encode(contract), _code())
    last = [unchanged.last_evaluation(context.instance, spec.key) for spec in specs]
    if unchanged.FULL_TAG not in context.run.tags:
        repeated = [each for each in last if each and each.metadata.get(_VERSION) == dg.MetadataValue.text(version)]
        if len(repeated) == len(specs):
            yield from map(unchanged.repeat_evaluation, repeated)
            return
    outcomes = run_suite(contract, *_landed(door, contract))
    for spec in specs:
        severity: Severity = "error" if spec.name == CHECKS["error"] else "warn"
        yield _result(spec, outcomes[severity], severity, version)


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
        description="; ".join(f"{each.column}: {each.rule}: {each.observed}" for each in outcome.failures) or None,
        metadata=metadata,
    )


@cache
def _code() -> str:
    return unchanged.code_digest("orchestration.expectations")


@dg.definitions
def defs() -> dg.Definitions:
    """One step that checks every contract that the source or the event log supplies."""
    settings = Settings.from_env()
    source = load_source(settings)
    supplied = set(source.contracts() if source else ())
    contracts = {
        name: contract
        for name, contract in load_contracts(settings.folder("contracts")).items()
        if name in supplied or name in LOG_CONTRACTS
    }
    specs = {name: list(_specs(contract, is_supplied=name in supplied)) for name, contract in contracts.items()}

    every = [spec for each in specs.values() for spec in each]

    @dg.multi_asset_check(name="landing_quality", specs=every, can_subset=True)
    def landing_quality(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
        door = workspace.door()
        for name, each in specs.items():
            if own := [spec for spec in each if spec.key in context.selected_asset_check_keys]:
                yield from _check(context, door, contracts[name], own)

    return dg.Definitions(asset_checks=[landing_quality])
