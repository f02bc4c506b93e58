"""Feedback: what the event log received on a day is landed as that day's delivery, through the same door as all else.

Belongs here: decisions and what channels sent, out of the log and into the landing, by day of arrival. A day landed
again replaces what it landed before, so a run may be repeated and any day backfilled. Does not belong here: how they
came into the log (serving).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from nextbest.adapters.landing import Door, Receipt
from nextbest.adapters.log_landing import (
    LOG_CONTRACTS,
    Receipts,
    arrivals,
    has_landed,
    land_day,
    landed_days,
    source_name,
)
from nextbest.adapters.logs import OpenLog
from nextbest.contracts import Contract
from nextbest.log import Arrived
from orchestration.defs.partitions import LOG_DAYS
from orchestration.defs.resources import Workspace
from orchestration.failures import explained
from orchestration.unchanged import SKIPPED

GROUP = "feedback"
ONLY_LOGGED = ("decisions",)
"""Contracts that nobody else delivers, unless a source says so."""


def feedback_key(contract: str) -> dg.AssetKey:
    """Key of the asset that lands a contract's rows out of the log."""
    return dg.AssetKey([GROUP, contract])


@dg.multi_asset(
    name="feedback",
    specs=[
        dg.AssetSpec(
            feedback_key(name), description=f"The {name} that the event log received on a day.", kinds={"parquet"}
        )
        for name in LOG_CONTRACTS
    ],
    group_name=GROUP,
    partitions_def=LOG_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def feedback(context: dg.AssetExecutionContext, workspace: Workspace) -> Iterator[dg.MaterializeResult[Any]]:
    """Land the days of this run; a range of days is one run."""
    door, contracts = workspace.door(), workspace.contracts()
    with workspace.log() as log:
        chosen = [each for each in arrivals(log) if each.day in context.partition_keys]
        for name in LOG_CONTRACTS:
            landed = landed_days(door, [name])
            days = [each for each in chosen if each.contract == name]
            with explained():
                receipts = [_landed(log, door, contracts[name], each, landed) for each in days]
            known = {receipt.batch_id for receipt in landed.values()}
            yield _result(name, receipts, is_skipped=known.issuperset(receipt.batch_id for receipt in receipts))


def _landed(log: OpenLog, door: Door, contract: Contract, arrived: Arrived, landed: Receipts) -> Receipt:
    """The receipt of a day, landed now where it has not been.

    A day of which rows were rejected is judged once more: what they refer to may have landed since.
    """
    receipt = landed.get((arrived.contract, source_name(arrived.day)))
    if receipt and not receipt.rejected and has_landed(door, landed, arrived):
        return receipt
    return land_day(log, door, contract, arrived)


def _result(contract: str, receipts: list[Receipt], *, is_skipped: bool) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        asset_key=feedback_key(contract),
        metadata={
            "received": sum(receipt.received for receipt in receipts),
            "landed": sum(receipt.landed for receipt in receipts),
            "rejected": sum(receipt.rejected for receipt in receipts),
            "batches": [receipt.batch_id for receipt in receipts],
            SKIPPED: is_skipped,
        },
    )
