"""The log's days in the landing: exactly what was acknowledged, whatever is killed, and nothing of who was erased."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.log_landing import arrivals, days_to_land, land_day, landed_days
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope
from nextbest.erasure import without_customer
from nextbest.intake import envelope
from nextbest.settings import CHECKOUT

NOW = datetime(2026, 3, 2, 23, 59, 58, tzinfo=UTC)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
_SHARED = f"""
import os, random, signal, sys, time
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from contextlib import closing
from pathlib import Path
from tests.nextbest.adapters.test_log_landing import *
folder = Path(sys.argv[1])
"""
APPENDER = f"""{_SHARED}
with closing(SqliteLog(folder / "log.db")) as log:
    number = 0
    while not (folder / "enough").exists() or number <= 2_000:  # by then it is past midnight
        page = [event(number + n, NOW + timedelta(milliseconds=number)) for n in range(20)]
        log.append_sync(page)
        print(*(each.event_id for each in page), flush=True)
        number += 20
        time.sleep(0.005)
"""
LANDER = f"""{_SHARED}
draw = random.Random(7)
for _ in range(6):
    child = os.fork()
    if not child:
        with closing(SqliteLog(folder / "log.db")) as log:
            while True:
                land(log, door_of(folder))
    time.sleep(draw.uniform(0.05, 0.3))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def event(number: int, at: datetime = NOW, **row: Any) -> Envelope:
    """One in ten breaks the contract once it lands."""
    said = {"event_id": f"e{number}", "customer_id": "c1", "type": "click", "source": "live"}
    channel = "smoke" if number % 10 == 7 else "web"
    row = {**said, "channel": channel, "occurred_at": NOW, "received_at": at, **row}
    return envelope(CONTRACTS["events"], row, at)


def door_of(folder: Path) -> Door:
    return Door(folder / "landing", folder / "quarantine", CONTRACTS)


def land(log: SqliteLog, door: Door) -> None:
    """What has to land, as the pipeline does it."""
    days = days_to_land(log, door)
    for arrived in arrivals(log):
        if arrived.day in days:
            land_day(log, door, CONTRACTS[arrived.contract], arrived)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        yield log


@pytest.mark.integration
def test_exactly_what_was_acknowledged_lands_whatever_is_killed(tmp_path: Path, log: SqliteLog) -> None:
    """While one process appends over midnight, another that lands is killed at any moment, and begins again."""
    appender = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        subprocess.run([sys.executable, "-c", LANDER, str(tmp_path)], check=True, timeout=60)
    finally:
        (tmp_path / "enough").touch()
        acknowledged = appender.communicate(timeout=30)[0].split()
    door = door_of(tmp_path)
    land(log, door)
    receipts = landed_days(door)
    rejected = [msgspec.json.decode(text) for receipt in receipts.values() for text in _rows(door.rejected(receipt))]
    found = [*door.read("events")["event_id"].to_pylist(), *(row["event_id"] for row in rejected)]
    assert sorted(f"events/{event_id}" for event_id in found) == sorted(acknowledged)
    assert {name for _, name in receipts} == {"log-2026-03-02", "log-2026-03-03"}
    assert days_to_land(log, door) == []


def _rows(rejected: pa.Table) -> list[str]:
    texts: list[str] = rejected["row"].to_pylist()
    return texts


def test_the_receipt_says_up_to_where(tmp_path: Path, log: SqliteLog) -> None:
    """What came in while a day landed is not in its batch, and lands with the next."""
    door = door_of(tmp_path)
    log.append_sync([event(1)])
    [before] = arrivals(log)
    log.append_sync([event(2)])
    assert land_day(log, door, CONTRACTS["events"], before).landed == 1
    assert days_to_land(log, door) == ["2026-03-02"]
    land(log, door)
    [receipt] = door.receipts("events")
    assert (receipt.landed, [receipt.arrived]) == (2, arrivals(log))


@pytest.mark.parametrize("others", [2, 0])
def test_a_record_that_cannot_be_decoded_is_rejected_and_the_others_land(
    tmp_path: Path, log: SqliteLog, others: int
) -> None:
    """Its day lands, and says that a row was no good; also where there is nothing else on that day."""
    door = door_of(tmp_path)
    log.append_sync([event(2), *(event(number) for number in (1, 3)[:others])])
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute("UPDATE records SET envelope = substr(envelope, 1, 9) WHERE position = 1")
        connection.commit()
    land(log, door)
    [receipt] = door.receipts("events")
    assert (receipt.landed, len(door.rejected(receipt))) == (others, 1)
    assert days_to_land(log, door) == []


def test_an_erased_customer_is_in_no_landed_day(tmp_path: Path, log: SqliteLog) -> None:
    """The days from which something was taken land again without it, one of which nothing is left too."""
    door = door_of(tmp_path)
    log.append_sync([event(1), event(2, customer_id="c2"), event(3, NOW + timedelta(days=1))])
    land(log, door)
    for _ in range(2):  # an erasure that is done again takes nothing more
        entries = [(offset, without_customer(each)) for offset, each in asyncio.run(log.filed_under(["c1", "erased"]))]
        asyncio.run(log.replace(entries))
    assert days_to_land(log, door) == ["2026-03-02", "2026-03-03"]
    land(log, door)
    assert door.read("events")["customer_id"].to_pylist() == ["c2"]
    assert days_to_land(log, door) == []
    assert [each.emptied for each in arrivals(log)] == [1, 1]


def test_a_delivery_landed_before_receipts_said_up_to_where_stays(tmp_path: Path, log: SqliteLog) -> None:
    """It is noted in its receipt, and nothing that reads the batch is done again."""
    door = door_of(tmp_path)
    log.append_sync([event(1)])
    land(log, door)
    [receipt] = door.receipts("events")
    file = tmp_path / "landing" / "events" / f"batch={receipt.batch_id}" / "_receipt.json"
    old = msgspec.json.decode(file.read_bytes())
    del old["arrived"]
    file.write_bytes(msgspec.json.encode(old))
    landed_at = door.landed_at(receipt)
    assert days_to_land(log, door) == ["2026-03-02"]
    land(log, door)
    assert door.receipts("events") == [receipt]
    assert door.landed_at(receipt) >= landed_at
    assert days_to_land(log, door) == []


def test_transactions_land_beside_what_was_delivered(tmp_path: Path, log: SqliteLog) -> None:
    """A batch of any size, the customers it refers to being known; a day of none left needs no row.

    When a row was received the log knows, also of one that was sent before its contract had a column for it.
    """
    door = door_of(tmp_path)
    line = {"basket_id": "b1", "product_id": "p1", "customer_id": "c1", "store_id": "s1", "quantity": 1}
    line |= {"sales_value": 2.5, "retail_discount": 0.0, "coupon_discount": 0.0, "coupon_match_discount": 0.0}
    line |= {"currency": "USD", "occurred_at": NOW, "source": "live"}
    known = {"customers.customer_id": pa.array(["c1"]), "products.product_id": pa.array(["p1"])}
    delivered = pa.Table.from_pylist([line | {"basket_id": "b0"}])
    door.land("transactions", delivered, source_name="tills", references=known)
    _land_customer(door)
    sold = envelope(CONTRACTS["transactions"], line, NOW)
    assert (sold.event_id, sold.type, sold.partition_key) == ("transactions/b1/p1", "transaction", "c1")
    log.append_sync([sold])
    land(log, door)
    rows = door.read("transactions", ["basket_id", "received_at"]).to_pylist()
    assert {row["basket_id"]: row["received_at"] for row in rows} == {"b0": None, "b1": NOW}
    asyncio.run(log.replace([(1, without_customer(sold))]))
    land(log, door)
    assert door.read("transactions")["basket_id"].to_pylist() == ["b0"]


def _land_customer(door: Door) -> None:
    contract = CONTRACTS["customers"]
    given = {"customer_id": "c1", "time_zone": "UTC", "updated_at": NOW, "source": "live"}
    rows = {f.name: [given.get(f.name, (f.enum or [None])[0])] for f in contract.fields}
    door.land("customers", pa.table(rows), source_name="crm", references={})
