"""The event log's days and the landing: what arrived on a day under a contract is landed as that day's delivery.

Belongs here: which days have not landed as the log has them, and handing one over through the door as anyone would. A
day landed again replaces what it landed before, and its receipt says up to which offset it holds the log. Does not
belong here: when that happens (`orchestration.defs`), or what leaves the log (`nextbest.adapters.log_retention`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from nextbest.adapters.deliveries import from_pages
from nextbest.adapters.landing import Door, Receipt
from nextbest.adapters.logs import OpenLog
from nextbest.adapters.migrations import major
from nextbest.contracts import Contract
from nextbest.envelope import UNREADABLE, Envelope
from nextbest.intake import RECEIVED_AT
from nextbest.log import Arrived

LOG_CONTRACTS = ("decisions", "outcomes", "events", "consents", "transactions", "signals")
"""Contracts that the event log delivers; most may have another source beside it."""
_PAGE = 5_000
_SOURCE = "log-"

Receipts = Mapping[tuple[str, str], Receipt]
"""The receipts of the log's days, by contract and name of the source."""


def arrivals(log: OpenLog) -> list[Arrived]:
    """What the log has for the landing, by contract and day; it costs time by their number, not by that of records."""
    return [each for name in LOG_CONTRACTS for each in log.arrived_sync(name)]


def landed_days(door: Door, contracts: Iterable[str] = LOG_CONTRACTS) -> Receipts:
    """The receipts of what the log has delivered."""
    receipts = (receipt for name in contracts for receipt in door.receipts(name))
    return {(each.contract, each.source_name): each for each in receipts if is_from_log(each)}


def has_landed(door: Door, landed: Receipts, arrived: Arrived) -> bool:
    """Whether all of a day has landed, nothing more, and under the contract as it is now."""
    return has_arrived(landed, arrived) and door.is_current(landed[arrived.contract, source_name(arrived.day)])


def has_arrived(landed: Receipts, arrived: Arrived) -> bool:
    """Whether all of a day has landed, and nothing more."""
    receipt = landed.get((arrived.contract, source_name(arrived.day)))
    return receipt is not None and receipt.arrived == arrived


def days_to_land(log: OpenLog, door: Door) -> list[str]:
    """The days that have not landed as the log has them: something came since, or was emptied, or rules changed."""
    landed = landed_days(door)
    return sorted({each.day for each in arrivals(log) if not has_landed(door, landed, each)})


def land_day(log: OpenLog, door: Door, contract: Contract, arrived: Arrived) -> Receipt:
    """Land what arrived on a day, up to the offset of `arrived`.

    Raises:
        ContractViolation: the door cannot take it; what had landed of the day stays.
        MigrationError: rows were sent under a major version from which there is no migration.

    """
    # A day is what arrived on it, be it all bad: the log delivers it once and cannot mend it.
    rows = from_pages(contract, _pages(log, door, contract, arrived), every_field=True)
    return door.land(contract.name, rows, source_name=source_name(arrived.day), may_empty=True, arrived=arrived)


def _pages(log: OpenLog, door: Door, contract: Contract, arrived: Arrived) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The day's rows in the columns of today: the log keeps what was sent, also before the contract changed."""
    after = 0
    while page := log.of_day_sync(arrived, after, _PAGE):
        after = page[-1][0]
        for version, sent in groupby((envelope for _, envelope in page), key=lambda each: _major(each, contract)):
            rows = [_received(envelope, contract) for envelope in sent]
            # As JSON has them, in the one form as in the other: a time is a text.
            yield (
                rows
                if version == contract.major
                else msgspec.to_builtins(door.migrations.carry(contract, version, rows))
            )


def _received(envelope: Envelope, contract: Contract) -> Mapping[str, Any]:
    """The row; one that was sent before its contract had a column for when it was received says it all the same."""
    row = envelope.properties
    if not row or row.get(RECEIVED_AT) or RECEIVED_AT not in contract.schema.names:
        return row
    return row | {RECEIVED_AT: envelope.received_at.isoformat()}


def _major(envelope: Envelope, contract: Contract) -> int:
    """What cannot be read lands as a row of nothing, which is rejected: it is seen there."""
    return contract.major if envelope.type == UNREADABLE else major(envelope.contract_version)


def source_name(day: str) -> str:
    """Who delivers a day of the event log."""
    return f"{_SOURCE}{day}"


def day_of(receipt: Receipt) -> str:
    """The day of the event log that a delivery is, as `YYYY-MM-DD`."""
    return receipt.source_name.removeprefix(_SOURCE)


def is_from_log(receipt: Receipt) -> bool:
    """Whether the delivery is a day of the event log."""
    return receipt.source_name.startswith(_SOURCE)
