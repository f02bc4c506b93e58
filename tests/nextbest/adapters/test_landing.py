import datetime as dt
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextbest.adapters.landing import Door
from nextbest.contracts import Contract, Field, Rule
from nextbest.validation import ContractViolation

KEY = (Rule("required"), Rule("min_length", 1))
CONTRACTS = {
    contract.name: contract
    for contract in (
        Contract("people", "1.0.0", (Field("person_id", "string", "VARCHAR", key=True, rules=KEY),)),
        Contract(
            "visits",
            "1.0.0",
            (
                Field("visit_id", "string", "VARCHAR", key=True, rules=KEY),
                Field("person_id", "string", "VARCHAR", rules=(Rule("reference", "people.person_id"),)),
                Field("room_id", "string", "VARCHAR", rules=(Rule("reference", "rooms.room_id", "warn"),)),
                Field("occurred_at", "timestamp", "TIMESTAMPTZ", rules=(Rule("required"),)),
            ),
            event_time="occurred_at",
        ),
        Contract("rooms", "1.0.0", (Field("room_id", "string", "VARCHAR", key=True, rules=KEY),)),
    )
}
MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def _people(*names: str | None) -> pa.Table:
    return pa.table({"person_id": pa.array(names, pa.string())})


def _visits(*visits: tuple[str, int], person: str = "ann") -> pa.Table:
    return pa.table(
        {
            "visit_id": [name for name, _ in visits],
            "person_id": [person] * len(visits),
            "room_id": ["hall"] * len(visits),
            "occurred_at": [MIDNIGHT + dt.timedelta(hours=hours) for _, hours in visits],
        }
    )


def _door(root: Path) -> Door:
    return Door(root / "landing", root / "quarantine", CONTRACTS)


def _files(root: Path, folder: str = "landing") -> list[str]:
    return sorted(str(path.relative_to(root / folder)) for path in (root / folder).rglob("*.parquet"))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    door = _door(tmp_path)
    door.land("people", _people("ann", "bob"), source_name="list")
    return door


def test_events_land_by_day_in_one_batch(door: Door, tmp_path: Path) -> None:
    """Each day of the events is a partition; rows come back whatever day they are of."""
    receipt = door.land("visits", _visits(("late", 25), ("early", 1), ("later", 26)), source_name="till")
    batch = f"visits/batch={receipt.batch_id}"
    assert _files(tmp_path)[1:] == [f"{batch}/day=2026-03-01/part-0.parquet", f"{batch}/day=2026-03-02/part-0.parquet"]
    assert door.read("visits", ["visit_id"])["visit_id"].to_pylist() == ["early", "late", "later"]
    assert door.read("visits").schema == CONTRACTS["visits"].schema


def test_the_receipt_says_what_became_of_every_row(door: Door, tmp_path: Path) -> None:
    """landed + rejected = received; rejected rows are in quarantine with rule and value."""
    receipt = door.land("people", _people("ann", None, "", "ann", "eve"), source_name="list")
    assert (receipt.received, receipt.landed, receipt.rejected) == (5, 2, 3)
    assert receipt.rejects_by_rule == {"person_id.required": 1, "person_id.min_length": 1, "person_id.key": 1}
    (rejects,) = _files(tmp_path, "quarantine")
    assert rejects == f"people/batch={receipt.batch_id}/rejects.parquet"
    assert pq.read_table(tmp_path / "quarantine" / rejects)["row_number"].to_pylist() == [2, 3, 4]
    assert door.receipts("people") == [receipt]


def test_the_same_delivery_again_changes_nothing(door: Door, tmp_path: Path) -> None:
    """A retry gets the stored receipt, however the table is cut into chunks."""
    table = _visits(("a", 1), ("b", 2), ("c", 30))
    first, files = door.land("visits", table, source_name="till"), _files(tmp_path)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 2)])
    assert door.land("visits", chunked, source_name="till") == first
    assert _files(tmp_path) == files


def test_new_events_of_a_source_take_the_place_of_its_older_ones(door: Door) -> None:
    """Another source's batch stays; going back to the first content is a new delivery too."""
    old, new = _visits(("a", 1)), _visits(("b", 1))
    door.land("visits", _visits(("c", 1)), source_name="phone")
    door.land("visits", old, source_name="till")
    door.land("visits", new, source_name="till")
    assert sorted(door.keys("visits", "visit_id").to_pylist()) == ["b", "c"]
    door.land("visits", old, source_name="till")
    assert sorted(door.keys("visits", "visit_id").to_pylist()) == ["a", "c"]


def test_a_snapshot_takes_the_place_of_all_before(door: Door, tmp_path: Path) -> None:
    """Whoever delivers it, and the quarantine goes with its batch."""
    door.land("people", _people("eve", None), source_name="other")
    assert door.keys("people", "person_id").to_pylist() == ["eve"]
    door.land("people", _people("joe"), source_name="list")
    assert door.keys("people", "person_id").to_pylist() == ["joe"]
    assert _files(tmp_path, "quarantine") == []


def test_nothing_does_not_take_the_place_of_rows(door: Door) -> None:
    """An empty or wholly bad delivery is a mistake where there were rows before: the message says so, they stay."""
    door.land("visits", _visits(("a", 1)), source_name="till")
    for wrong in (_visits(), _visits(("b", 1), person="nobody")):
        with pytest.raises(ContractViolation, match=r"contract visits, rule row_count, \d rows: .*the 1 that landed"):
            door.land("visits", wrong.cast(_visits(("a", 1)).schema), source_name="till")
    assert door.land("visits", _visits(("b", 1), person="nobody"), source_name="phone").rejected == 1
    assert door.keys("visits", "visit_id").to_pylist() == ["a"]
    door.land("visits", _visits(("b", 1), person="nobody"), source_name="till", may_empty=True)
    assert door.keys("visits", "visit_id").to_pylist() == []


def test_a_file_without_rows_lands_nothing(door: Door, tmp_path: Path) -> None:
    """Though it has every column."""
    path = tmp_path / "people.parquet"
    pq.write_table(_people(), path)
    with pytest.raises(ContractViolation, match=r"contract people, rule row_count, 0 rows: .*holds no row"):
        door.land_file("people", path)


def test_batches_sort_as_they_came(door: Door) -> None:
    """Whatever their sources are called."""
    receipts = [door.land("visits", _visits((name, 1)), source_name=name) for name in ("zoo", "attic")]
    assert receipts[0].batch_id < receipts[1].batch_id


def test_rows_are_judged_anew_when_what_they_refer_to_changed(door: Door) -> None:
    """The same visits after a longer list of people are no repetition."""
    visits = _visits(("a", 1), person="eve")
    assert door.land("visits", visits, source_name="till").rejected == 1
    door.land("people", _people("ann", "eve"), source_name="list")
    assert door.land("visits", visits, source_name="till").landed == 1


def test_references_that_never_landed_stop_unless_they_only_warn(tmp_path: Path) -> None:
    """The message says what to land first; nobody's visits are turned away for want of a list of rooms."""
    door = _door(tmp_path)
    with pytest.raises(
        ContractViolation, match=r"contract visits, column person_id, rule reference, 1 rows: .*land people"
    ):
        door.land("visits", _visits(("a", 1)), source_name="till")
    door.land("people", _people("ann"), source_name="list")
    assert door.land("visits", _visits(("a", 1)), source_name="till").warnings == {"room_id.reference": 1}


def test_prepare_gives_every_contract_a_file(door: Door, tmp_path: Path) -> None:
    """Readers glob without asking whether anything came; an empty batch has no receipt."""
    door.prepare()
    door.prepare()
    empty = [file for file in _files(tmp_path) if "0-empty" in file]
    assert [file.split("/")[0] for file in empty] == ["people", "rooms", "visits"]
    assert all(pq.read_metadata(tmp_path / "landing" / file).num_rows == 0 for file in empty)
    assert door.receipts("rooms") == []
    assert door.read("rooms").schema == CONTRACTS["rooms"].schema


def test_prepare_follows_a_contract_that_grew(door: Door, tmp_path: Path) -> None:
    """The empty batch gets the new column, and what landed before reads with nulls in it."""
    door.prepare()
    grown = Contract("people", "1.1.0", (*CONTRACTS["people"].fields, Field("name", "string", "VARCHAR")))
    door = Door(tmp_path / "landing", tmp_path / "quarantine", CONTRACTS | {"people": grown})
    door.prepare()
    empty = tmp_path / "landing" / "people" / "batch=0-empty" / "part-0.parquet"
    assert pq.read_schema(empty).names == ["person_id", "name"]
    assert door.read("people")["name"].to_pylist() == [None, None]


def test_a_violation_leaves_nothing(door: Door, tmp_path: Path) -> None:
    """What landed before stays, and staging is empty."""
    files = _files(tmp_path)
    with pytest.raises(ContractViolation, match="rule column"):
        door.land("people", pa.table({"name": ["ann"]}), source_name="list")
    assert _files(tmp_path) == files
    assert not [path for path in (tmp_path / "staging").iterdir() if path.is_dir()]


def test_an_unknown_contract_is_named(door: Door) -> None:
    """With those that there are."""
    with pytest.raises(ContractViolation, match=r"contract nothing, .*there are people, visits, rooms"):
        door.land("nothing", _people("ann"), source_name="list")


def test_a_file_is_its_own_source(door: Door, tmp_path: Path) -> None:
    """Two files of one name do not replace each other; the corrected file replaces its older self."""
    for folder, visit in (("monday", "a"), ("tuesday", "b"), ("monday", "c")):
        path = tmp_path / folder / "visits.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(_visits((visit, 1)), path)
        door.land_file("visits", path)
    assert sorted(door.keys("visits", "visit_id").to_pylist()) == ["b", "c"]


def test_the_next_use_mends_what_was_cut_short(door: Door, tmp_path: Path) -> None:
    """Half-written staging, rejects without a batch and a superseded batch are gone after it."""
    old = door.land("visits", _visits(("a", 1)), source_name="till")
    landing, quarantine = tmp_path / "landing" / "visits", tmp_path / "quarantine" / "visits"
    kept = tmp_path / "kept"
    shutil.copytree(landing / f"batch={old.batch_id}", kept)
    new = door.land("visits", _visits(("b", 1)), source_name="till")
    kept.rename(landing / f"batch={old.batch_id}")
    (quarantine / "batch=till.000000000000").mkdir(parents=True)
    (tmp_path / "staging" / "visits" / "batch").mkdir(parents=True)
    door.prepare()
    assert sorted(path.name for path in landing.glob("batch=*till*")) == [f"batch={new.batch_id}"]
    assert not list(quarantine.iterdir())
    assert not (tmp_path / "staging" / "visits").exists()


LAND_FOREVER = """
import sys
from pathlib import Path
import pyarrow as pa
from nextbest.adapters.landing import Door
from nextbest.contracts import Contract, Field, Rule

rules = (Rule("min_length", 1),)
contract = Contract("events", "1.0.0", (Field("id", "string", "VARCHAR", key=True, rules=rules),
    Field("at", "timestamp", "TIMESTAMPTZ", rules=(Rule("required"),))), event_time="at")
door = Door(Path(sys.argv[1]) / "landing", Path(sys.argv[1]) / "quarantine", {"events": contract})
days = pa.array([day * 86_400_000_000 for day in range(40)], pa.timestamp("us", tz="UTC"))
for delivery in range(int(sys.argv[2]), 10_000):
    ids = pa.array([""] + [f"{delivery}-{row}" for row in range(39)])
    receipt = door.land("events", pa.table({"id": ids, "at": days}), source_name="loop")
    print(receipt.batch_id, door.read("events").num_rows, flush=True)
"""


@pytest.mark.integration
def test_a_killed_process_leaves_nothing_half_landed(tmp_path: Path) -> None:
    """Killed at any moment: every visible batch is whole, and the next process goes on."""
    command = [sys.executable, "-c", LAND_FOREVER, str(tmp_path)]
    for attempt in range(6):
        with subprocess.Popen([*command, str(attempt * 1000)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().split()[1] == "39"
            time.sleep(0.05 + attempt * 0.017)
            process.send_signal(signal.SIGKILL)
        batches = list((tmp_path / "landing" / "events").iterdir())
        assert batches
        for batch in batches:
            assert sum(pq.read_metadata(path).num_rows for path in batch.rglob("*.parquet")) == 39
            assert (batch / "_receipt.json").is_file()
            assert (tmp_path / "quarantine" / "events" / batch.name / "rejects.parquet").is_file()


LAND_ONCE = """
import resource
import sys
from pathlib import Path
import pyarrow as pa
from nextbest.adapters.landing import Door
from nextbest.contracts import Contract, Field

contract = Contract("people", "1.0.0", (Field("id", "string", "VARCHAR", key=True),))
door = Door(Path(sys.argv[1]) / "landing", Path(sys.argv[1]) / "quarantine", {"people": contract})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
door.land("people", pa.table({"id": [str(row) for row in range(100_000)]}), source_name="list")
"""


@pytest.mark.integration
def test_a_full_disk_leaves_nothing_half_landed(tmp_path: Path) -> None:
    """The message names contract and cause; the limit on file size stands for the disk."""
    result = subprocess.run(
        [sys.executable, "-c", LAND_ONCE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "contract people, rule storage, 100,000 rows: the batch cannot be written" in result.stderr
    assert not (tmp_path / "landing").exists()
    assert not (tmp_path / "staging" / "people").exists()
