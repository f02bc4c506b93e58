"""Files in the inbox: taken when they are whole, once, and never lost."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.inbox import Taken, ready, take
from nextbest.adapters.landing import Door
from nextbest.settings import CHECKOUT
from nextbest.validation import ContractViolation

PRODUCTS = "product_id,department,category,brand,source\n{},GROCERY,EGGS,Private,live\n"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "landing", tmp_path / "quarantine", load_contracts(CHECKOUT / "data_contracts"))


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


def drop(inbox: Path, name: str, text: str, written_at: float = 1_000.0) -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (written_at, written_at))
    return path


def later(seconds: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def taken(door: Door, inbox: Path) -> list[Taken]:
    return list(take(door, ready(inbox, later())))


def product(number: int) -> str:
    return PRODUCTS.format(f"p{number}")


def test_a_file_is_ready_when_it_has_been_still(inbox: Path) -> None:
    """What is being written, is hidden, is of no format, or was taken already is not, whatever its own date is."""
    path = drop(inbox, "products/a.csv", product(1))
    for other in ("products/.a.csv", "products/notes.txt", "products/done/b.csv", "c.csv"):
        drop(inbox, other, product(2))
    assert ready(inbox, later(0)) == []
    assert ready(inbox, later()) == [path]


def test_a_file_lands_and_moves_away(door: Door, inbox: Path) -> None:
    """Nothing is left to do, and what was delivered is still there to look at."""
    path = drop(inbox, "products/a.csv", product(1))
    [each] = taken(door, inbox)
    assert each.receipt is not None
    assert (each.contract, each.receipt.landed) == ("products", 1)
    assert taken(door, inbox) == []
    assert (path.parent / "done" / "a.csv").read_text() == product(1)


def test_a_file_that_cannot_land_says_why(door: Door, inbox: Path) -> None:
    """The others land nevertheless; one for no contract is told the names there are."""
    bad = drop(inbox, "products/a.csv", "product_id\np1\n")
    drop(inbox, "products/b.csv", product(1))
    drop(inbox, "produce/c.csv", product(1))
    assert [each.receipt is None for each in taken(door, inbox)] == [True, True, False]
    assert "rule column" in (bad.parent / "failed" / "a.csv.reason.txt").read_text()
    assert "products" in (inbox / "produce" / "failed" / "c.csv.reason.txt").read_text()
    assert (bad.parent / "failed" / "a.csv").exists()
    assert taken(door, inbox) == []


def test_a_mended_file_leaves_no_reason_behind(door: Door, inbox: Path) -> None:
    """Moved back it lands, and nobody looks for what is wrong with it any more; of one that is still there it stays."""
    bad = drop(inbox, "products/a.csv", "product_id\np1\n")
    failed = bad.parent / "failed" / "a.csv"
    taken(door, inbox)
    drop(inbox, "products/a.csv", product(1))
    taken(door, inbox)
    assert sorted(each.name for each in failed.parent.iterdir()) == ["a.csv", "a.csv.reason.txt"]
    failed.rename(bad)
    bad.write_text(product(2))
    taken(door, inbox)
    assert list(failed.parent.iterdir()) == []


def test_killed_in_between_a_file_lands_again(door: Door, inbox: Path) -> None:
    """It has landed and not moved: the second time changes nothing."""
    path = drop(inbox, "products/a.csv", product(1))
    shutil.copy(path, inbox / "copy")
    [first] = taken(door, inbox)
    shutil.copy(inbox / "copy", path)
    [again] = taken(door, inbox)
    assert again == first


def test_the_newest_snapshot_holds(door: Door, inbox: Path) -> None:
    """Whatever its name: the order is that of writing."""
    drop(inbox, "products/b.csv", product(1), 1_000)
    drop(inbox, "products/a.csv", product(2), 2_000)
    assert len(taken(door, inbox)) == 2
    assert door.read("products")["product_id"].to_pylist() == ["p2"]


def test_a_row_that_breaks_the_contract_is_no_reason_to_fail(door: Door, inbox: Path) -> None:
    """It is quarantined with its file landed, as by any other way."""
    row = {"event_id": "e1", "customer_id": "c1", "type": "click", "channel": "web", "source": "live"}
    row |= {"occurred_at": "2026-03-02T12:00:00Z", "received_at": "2026-03-02T12:00:00Z"}
    rows = [row, row | {"event_id": "e2", "channel": "smoke"}]
    drop(inbox, "events/e.ndjson", msgspec.json.Encoder().encode_lines(rows).decode())
    [each] = taken(door, inbox)
    assert each.receipt is not None
    assert (each.receipt.landed, each.receipt.rejected) == (1, 1)


def test_without_room_a_file_stays(door: Door, inbox: Path, tmp_path: Path) -> None:
    """It is no fault of the file's."""
    path = drop(inbox, "products/a.csv", product(1))
    (tmp_path / "staging").write_text("in the way")
    with pytest.raises(ContractViolation, match="storage"):
        taken(door, inbox)
    assert path.exists()
