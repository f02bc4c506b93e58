"""Landing: an asset per contract that the source supplies, through the door.

Belongs here: handing the source's rows to the door and showing the receipt. Does not belong here: judging rows
(`nextbest.validation`) or knowing the source.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pyarrow.parquet as pq

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door, Receipt
from nextbest.adapters.sources import load_source
from nextbest.contracts import Contract
from nextbest.settings import Settings
from nextbest.source import DerivedSource, Source
from orchestration.defs.feedback import ONLY_LOGGED, feedback_key
from orchestration.defs.resources import Workspace
from orchestration.failed_rows import rejected_rows_page
from orchestration.failures import explained
from orchestration.pages import page_path, page_url, write_page
from orchestration.unchanged import digest, materialize

GROUP = "landing"
_REJECTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """Who delivers, and to which door."""

    settings: Settings
    door: Door
    source: Source


def landing_key(contract: str) -> dg.AssetKey:
    """Key of the asset that lands a contract's rows from the source."""
    return dg.AssetKey([GROUP, contract])


def table_key(contract: str, supplied: Collection[str]) -> dg.AssetKey:
    """Key of the asset that stands for all that has landed under a contract, `supplied` being what the source has."""
    return feedback_key(contract) if contract in ONLY_LOGGED and contract not in supplied else landing_key(contract)


def batches(door: Door, contract: str) -> str:
    """A version of all that has landed under a contract."""
    return digest(*(receipt.batch_id for receipt in door.receipts(contract)))


def referred_contracts(contract: Contract) -> list[str]:
    """Names of the contracts that this one's fields refer to."""
    return sorted({field.reference.split(".")[0] for field in contract.fields if field.reference})


def read_contracts(source: Source | None, contract: str) -> Sequence[str]:
    """Names of the contracts that the source makes this one's rows of; none where it has them from elsewhere."""
    return source.reads(contract) if isinstance(source, DerivedSource) else ()


def receipt_metadata(settings: Settings, contract: Contract, receipt: Receipt) -> dict[str, Any]:
    """A receipt as metadata, with the first rejected rows; their values where none of them identifies a person."""
    batch = Path(receipt.contract) / f"batch={receipt.batch_id}"
    metadata: dict[str, Any] = {
        "received": receipt.received,
        "landed": receipt.landed,
        "rejected": receipt.rejected,
        "rejects by rule": receipt.rejects_by_rule,
        "warnings": receipt.warnings,
        "contract version": receipt.contract_version,
        "batch": receipt.batch_id,
        "path": dg.MetadataValue.path(settings.landing / batch),
    }
    if receipt.rejected:
        rejects = settings.quarantine / batch / "rejects.parquet"
        columns = ["row_number", "column", "rule", *([] if contract.holds_pii else ["value"])]
        rows = pq.read_table(rejects)
        shown = rows.select(columns).slice(0, _REJECTS_SHOWN)
        metadata["rejected rows"] = dg.MetadataValue.md(shown.to_pandas().to_markdown(index=False))
        page = rejected_rows_page(contract, receipt.batch_id, rows)
        write_page(page_path(settings, "rejected_rows", contract.name), page)
        metadata["all rejected rows"] = dg.MetadataValue.url(page_url(settings, "rejected_rows", contract.name))
        metadata["quarantine"] = dg.MetadataValue.path(rejects)
    return metadata


def _spec(contract: Contract, read: Sequence[str] = ()) -> dg.AssetSpec:
    return dg.AssetSpec(
        landing_key(contract.name),
        deps=[landing_key(name) for name in sorted({*referred_contracts(contract), *read})],
        group_name=GROUP,
        description=contract.description,
        metadata={"owner": contract.owner, "contract": f"{contract.name} {contract.version}"},
        kinds={"parquet"},
        skippable=True,
    )


def _land(context: dg.AssetExecutionContext, delivery: Delivery, contract: Contract) -> dg.MaterializeResult[Any]:
    """Land one contract, or repeat its receipt when neither the source nor the contract nor a reference changed."""
    door, source = delivery.door, delivery.source
    key = landing_key(contract.name)
    referred = [batches(door, name) for name in referred_contracts(contract)]
    version = digest(source.fingerprint(contract.name), msgspec.json.encode(contract), *referred)

    def work() -> Mapping[str, Any]:
        with explained():
            receipt = door.land(contract.name, source.read(contract.name), source_name=source.name)
        return receipt_metadata(delivery.settings, contract, receipt)

    is_present = source.name in {receipt.source_name for receipt in door.receipts(contract.name)}
    return materialize(context, key, version, work, is_present=is_present)


def supplied_contracts(settings: Settings) -> Sequence[str]:
    """Names of the contracts that the home's source supplies, in its order; none when files are landed by hand."""
    source = load_source(settings)
    return source.contracts() if source else ()


@dg.definitions
def defs() -> dg.Definitions:
    """One step with an asset per contract of the home's source, and a place in the graph for what is landed by hand.

    It is one step because a check that blocks runs between steps: the checks of all contracts are one step too, and
    would otherwise have to come both before and after the contracts that refer to others.
    """
    settings = Settings.from_env()
    contracts = load_contracts(settings.folder("contracts"))
    source = load_source(settings)
    supplied = [contracts[name] for name in source.contracts()] if source else []
    by_hand = [_spec(each) for each in contracts.values() if each not in supplied and each.name not in ONLY_LOGGED]
    if not supplied:
        return dg.Definitions(assets=by_hand)

    @dg.multi_asset(
        name=GROUP, specs=[_spec(each, read_contracts(source, each.name)) for each in supplied], can_subset=True
    )
    def landing(context: dg.AssetExecutionContext, workspace: Workspace) -> Iterator[dg.MaterializeResult[Any]]:
        delivery = Delivery(workspace.settings, workspace.door(), workspace.source())
        for contract in supplied:
            if landing_key(contract.name) in context.selected_asset_keys:
                yield _land(context, delivery, contract)

    return dg.Definitions(assets=[landing, *by_hand])
