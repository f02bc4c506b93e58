"""Feedback: what the event log received on a day is landed as that day's delivery, through the same door as all else.

Belongs here: decisions and what channels sent, out of the log and into the landing, by day of arrival. A day landed
again replaces what it landed before, so a run may be repeated and any day backfilled. Does not belong here: how they
came into the log (serving).
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec

from nextbest.adapters.deliveries import read_delivery
from nextbest.adapters.landing import Door, Receipt
from nextbest.adapters.logs import OpenLog
from nextbest.adapters.migrations import major
from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.intake import is_landed
from orchestration.defs.partitions import LOG_DAYS
from orchestration.defs.resources import Workspace
from orchestration.failures import explained
from orchestration.unchanged import SKIPPED

GROUP = "feedback"
LOG_CONTRACTS = ("decisions", "outcomes", "events", "consents")
"""Contracts that the event log delivers; most may have another source beside it."""
ONLY_LOGGED = ("decisions",)
"""Contracts that nobody else delivers, unless a source says so."""

_Versions = dict[int, list[Mapping[str, Any]]]

_PAGE = 5_000
_SOURCE = "log-"


def feedback_key(contract: str) -> dg.AssetKey:
    """Key of the asset that lands a contract's rows out of the log."""
    return dg.AssetKey([GROUP, contract])


def arrivals(log: OpenLog, after: int = 0) -> Iterator[tuple[int, str, Envelope]]:
    """What the log has for the landing after an offset: (offset, day of arrival in UTC, envelope)."""
    while page := log.read_sync(after, _PAGE):
        for offset, envelope in page:
            if envelope.contract in LOG_CONTRACTS and not is_landed(envelope):
                yield offset, envelope.received_at.date().isoformat(), envelope
        after = page[-1][0]


def days_to_land(log: OpenLog, door: Door) -> list[str]:
    """The days whose arrivals are more than what has landed of them under the contract as it is now."""
    arrived = Counter((envelope.contract, day) for _, day, envelope in arrivals(log))
    received = {
        (contract, receipt.source_name): receipt.received
        for contract in LOG_CONTRACTS
        for receipt in door.receipts(contract)
        if door.is_current(receipt)
    }
    return sorted({day for (name, day), rows in arrived.items() if received.get((name, _source_name(day))) != rows})


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
        rows = _rows(log, set(context.partition_keys))
    for name in LOG_CONTRACTS:
        known = {receipt.batch_id for receipt in door.receipts(name)}
        with explained():
            receipts = [
                _deliver(door, contracts[name], day, _of_today(door, contracts[name], each))
                for day, each in sorted(rows[name].items())
            ]
        yield dg.MaterializeResult(
            asset_key=feedback_key(name),
            metadata={
                "received": sum(receipt.received for receipt in receipts),
                "landed": sum(receipt.landed for receipt in receipts),
                "rejected": sum(receipt.rejected for receipt in receipts),
                "batches": [receipt.batch_id for receipt in receipts],
                SKIPPED: known.issuperset(receipt.batch_id for receipt in receipts),
            },
        )


def _rows(log: OpenLog, days: Collection[str]) -> dict[str, dict[str, _Versions]]:
    """The rows that arrived on `days`, by contract, day and the major version they were sent under."""
    rows: dict[str, dict[str, _Versions]] = {name: defaultdict(lambda: defaultdict(list)) for name in LOG_CONTRACTS}
    for _, day, envelope in arrivals(log):
        if day in days:
            rows[envelope.contract][day][major(envelope.contract_version)].append(envelope.properties)
    return rows


def _of_today(door: Door, contract: Contract, sent: _Versions) -> list[Mapping[str, Any]]:
    """A day's rows in the columns of today: the log keeps what was sent, also before the contract changed."""
    return [
        row
        for version, rows in sorted(sent.items())
        for row in (rows if version == contract.major else door.migrations.carry(contract, version, rows))
    ]


def _deliver(door: Door, contract: Contract, day: str, rows: Sequence[Mapping[str, Any]]) -> Receipt:
    """Hand a day's rows over as anyone would, in a file of JSON lines."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(msgspec.json.Encoder().encode_lines(rows))
        file.flush()
        # A day is what arrived on it, be it all bad: the log delivers it once and cannot mend it.
        delivery = read_delivery(contract, Path(file.name))
        return door.land(contract.name, delivery, source_name=_source_name(day), may_empty=True)


def is_from_log(receipt: Receipt) -> bool:
    """Whether the delivery is a day of the event log."""
    return receipt.source_name.startswith(_SOURCE)


def _source_name(day: str) -> str:
    return f"{_SOURCE}{day}"
