"""Tests of `nextbest.adapters.migrations`, and of the door that carries what has landed to a new major version."""

import datetime as dt
import errno
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextbest.adapters import batches
from nextbest.adapters.landing import Door
from nextbest.adapters.migrations import MigrationError, Migrations
from nextbest.contracts import Contract, Field, Rule
from nextbest.validation import ContractViolation

REQUIRED = (Rule("required"),)
OLD = Contract(
    "sales",
    "1.2.0",
    (
        Field("sale_id", "string", "VARCHAR", key=True, rules=REQUIRED),
        Field("amount", "number", "DOUBLE", rules=(*REQUIRED, Rule("minimum", 0))),
        Field("paid_at", "timestamp", "TIMESTAMPTZ", rules=REQUIRED),
    ),
    event_time="paid_at",
)
NEW = Contract(
    "sales",
    "2.0.0",
    (
        Field("sale_id", "string", "VARCHAR", key=True, rules=REQUIRED),
        Field("value", "number", "DOUBLE", rules=(*REQUIRED, Rule("minimum", 0), Rule("maximum", 100))),
        Field("currency", "string", "VARCHAR", rules=(*REQUIRED, Rule("enum", ("EUR",)))),
        Field("paid_at", "timestamp", "TIMESTAMPTZ", rules=REQUIRED),
    ),
    event_time="paid_at",
)
RENAME = "select sale_id, amount as value, 'EUR' as currency, paid_at from landed"
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def _door(root: Path, contract: Contract, *others: Contract, **steps: str) -> Door:
    """A door whose contract `sales` has migrations such as `_1_to_2="select …"`."""
    folder = root / "migrations"
    (folder / "sales").mkdir(parents=True, exist_ok=True)
    for step, query in steps.items():
        path = folder / "sales" / f"{step.strip('_').replace('_', '-')}.sql"
        if not path.exists() or path.read_text() != query:  # other processes may be reading it
            path.write_text(query)
    contracts = {each.name: each for each in (contract, *others)}
    return Door(root / "landing", root / "quarantine", contracts, folder)


def _sales(amounts: Mapping[str, float], day: int = 0) -> pa.Table:
    times = [NOON + dt.timedelta(days=day)] * len(amounts)
    return pa.table({"sale_id": list(amounts), "amount": list(amounts.values()), "paid_at": times})


def _files(root: Path) -> list[str]:
    folders = (root / "landing", root / "quarantine")
    return sorted(str(path.relative_to(root)) for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """Three deliveries under the old version: one with a rejected row, one that the new version rejects a row of."""
    door = _door(tmp_path, OLD)
    door.land("sales", _sales({"a": 1, "b": -1}), source_name="till")
    door.land("sales", _sales({"c": 3, "d": 300}, day=1), source_name="shop")
    door.land("sales", _sales({"a": 9}), source_name="phone")
    return tmp_path


def test_batches_stay_the_deliveries_they_were(landed: Path) -> None:
    """Source, place in the order and what was rejected before stay; what the new version rejects joins it."""
    before = _door(landed, OLD).receipts("sales")
    door = _door(landed, NEW, _1_to_2=RENAME)
    done = door.migrate("sales")
    after = door.receipts("sales")
    assert [each.before for each in done] == before
    assert [each.after for each in done] == after
    assert [(each.source_name, each.sequence) for each in after] == [("till", 1), ("shop", 2), ("phone", 3)]
    assert [(each.received, each.landed, each.rejected) for each in after] == [(2, 1, 1), (2, 1, 1), (1, 1, 0)]
    assert [each.rejects_by_rule for each in after] == [{"amount.minimum": 1}, {"value.maximum": 1}, {}]
    assert door.rejected(after[1])["value"].to_pylist() == ["300.0"]
    assert door.read("sales").drop(["paid_at"]).to_pylist() == [
        {"sale_id": "a", "value": 1.0, "currency": "EUR"},
        {"sale_id": "c", "value": 3.0, "currency": "EUR"},
        {"sale_id": "a", "value": 9.0, "currency": "EUR"},
    ]


def test_files_are_those_of_the_new_version_alone(landed: Path) -> None:
    """Whoever globs meets no mixture of majors, in landing or quarantine; again, nothing changes."""
    door = _door(landed, NEW, _1_to_2=RENAME)
    door.migrate("sales")
    names = {tuple(pq.read_schema(path).names) for path in (landed / "landing").rglob("*.parquet")}
    assert names == {tuple(NEW.schema.names)}
    assert len(list((landed / "quarantine" / "sales").iterdir())) == 2
    files = _files(landed)
    assert door.migrate("sales") == []
    assert _files(landed) == files


def test_a_small_delivery_may_lose_all_its_rows(landed: Path) -> None:
    """It was taken when it came, and its rows go to quarantine; a migration that leaves nothing at all is refused."""
    _door(landed, OLD).land("sales", _sales({"d": 300}), source_name="shop")
    door = _door(landed, msgspec.structs.replace(NEW, min_rows=1), _1_to_2=RENAME)
    door.migrate("sales")
    assert [(each.source_name, each.landed, each.rejected) for each in door.receipts("sales")] == [
        ("till", 1, 1),
        ("phone", 1, 0),
        ("shop", 0, 1),
    ]


def test_a_delivery_under_the_new_version_takes_its_place_in_the_order(landed: Path) -> None:
    """A migrated source is replaced by what it delivers next, and a repeated delivery of what it became is none."""
    door = _door(landed, NEW, _1_to_2=RENAME)
    door.migrate("sales")
    new = pa.table({"sale_id": ["e"], "value": [5.0], "currency": ["EUR"], "paid_at": [NOON]})
    receipt = door.land("sales", new, source_name="till")
    assert receipt.sequence == 4
    assert sorted(door.keys("sales", "sale_id").to_pylist()) == ["a", "c", "e"]
    assert door.land("sales", new, source_name="till") == receipt


def test_several_majors_are_a_chain(landed: Path) -> None:
    """One file per step, forth and back; the rows are judged by the contract of today alone."""
    newest = Contract("sales", "3.0.0", (*NEW.fields, Field("till", "string", "VARCHAR", rules=REQUIRED)), "paid_at")
    door = _door(landed, newest, _1_to_2=RENAME, _2_to_3="select *, 'one' as till from landed")
    door.migrate("sales")
    assert door.read("sales", ["till"])["till"].to_pylist() == ["one"] * 3
    door = _door(landed, NEW, _3_to_2="select * exclude (till) from landed")
    door.migrate("sales")
    assert [each.contract_version for each in door.receipts("sales")] == ["2.0.0"] * 3


def test_a_minor_version_needs_none(landed: Path) -> None:
    """A column that may be null is null where it did not come."""
    door = _door(landed, Contract("sales", "1.3.0", (*OLD.fields, Field("note", "string", "VARCHAR")), "paid_at"))
    assert door.migrate("sales") == []
    assert door.read("sales", ["note"])["note"].null_count == 4


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            {},
            r"sales is 2.0.0 now, and 3 of its batches landed under 1.2.0 \(0{11}1-till.*1-to-2.sql is missing: write",
        ),
        ({"_1_to_2": "select nothing from landed"}, r"1-to-2.sql fails: Binder Error: .*nothing"),
        ({"_1_to_2": "drop view landed"}, r"1-to-2.sql is not one SELECT: write it as"),
        ({"_1_to_2": "select 1; select 2"}, r"1-to-2.sql is not one SELECT"),
        ({"_1_to_2": "selekt"}, r"1-to-2.sql fails: Parser Error"),
        ({"_1_to_2": f"{RENAME} limit 1"}, r"1-to-2.sql makes 1 rows of 2: a migration changes columns"),
        ({"_1_to_2": "select * from read_csv('/etc/hostname')"}, r"1-to-2.sql fails: Permission Error"),
        (
            {"_1_to_2": "select * from landed"},
            r"columns? value, currency, rule column, 1 rows: .*does not name amount, which came",
        ),
        (
            {"_1_to_2": RENAME.replace("EUR", "eur")},
            r"no row keeps the contract after .*\(currency.enum: 3, value.maximum: 1\); the 4 that",
        ),
    ],
)
def test_a_migration_that_does_not_fit_changes_nothing(landed: Path, steps: dict[str, str], message: str) -> None:
    """The message names the file to write or to mend; every batch stays as it was."""
    files = _files(landed)
    with pytest.raises((MigrationError, ContractViolation), match=message):
        _door(landed, NEW, **steps).migrate("sales")
    assert _files(landed) == files
    assert not [path for path in (landed / "staging").iterdir() if path.is_dir()]


def test_a_step_that_is_missing_is_the_one_that_is_named(tmp_path: Path) -> None:
    """Of a chain that breaks in its middle."""
    (tmp_path / "sales").mkdir()
    (tmp_path / "sales" / "1-to-2.sql").write_text(RENAME)
    with pytest.raises(MigrationError, match=r"sales/2-to-3.sql is missing"):
        Migrations(tmp_path).apply("sales", 1, 3, _sales({"a": 1}))


def test_what_others_refer_to_is_migrated_first(landed: Path) -> None:
    """A landing whose references were renamed finds them; a contract that refers to itself is no endless way."""
    parent = Field("parent", "string", "VARCHAR", rules=(Rule("reference", "sales.sale_id", "warn"),))
    new = Contract("sales", "2.0.0", (*NEW.fields, parent), "paid_at")
    sale = Field("sale", "string", "VARCHAR", rules=(Rule("reference", "sales.sale_id"),))
    returns = Contract("returns", "1.0.0", (Field("return_id", "string", "VARCHAR", key=True), sale))
    door = _door(landed, new, returns, _1_to_2=RENAME)
    rows = pa.table({"return_id": ["r1", "r2"], "sale": ["c", "zz"]})
    assert door.land("returns", rows, source_name="desk").rejects_by_rule == {"sale.reference": 1}
    assert {each.contract_version for each in door.receipts("sales")} == {"2.0.0"}
    with pytest.raises(ContractViolation, match=r"contract sale, .*did you mean 'sales'\?"):
        door.migrate("sale")


@pytest.mark.parametrize("failing", range(1, 9))
def test_a_full_disk_leaves_every_batch_whole(landed: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """Whichever write or move fails: each delivery is there once, in one version, and the next use goes on."""
    door = _door(landed, NEW, _1_to_2=RENAME)
    writes = iter(range(1, 1_000))

    def guarded(name: str) -> None:
        original = getattr(batches, name)

        def write(*arguments: object) -> None:
            if next(writes) == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            original(*arguments)

        monkeypatch.setattr(batches, name, write)

    guarded("write")
    guarded("replace")
    with pytest.raises(ContractViolation, match=r"contract sales, rule storage, .*No space left on device"):
        door.migrate("sales")
    monkeypatch.undo()
    assert [each.source_name for each in door.receipts("sales")] == ["till", "shop", "phone"]
    assert len(door.migrate("sales")) == (3 if failing <= 5 else 2 if failing <= 7 else 1)
    assert door.keys("sales", "value").to_pylist() == [1.0, 3.0, 9.0]
    assert [each.rejected for each in door.receipts("sales")] == [1, 1, 0]


MIGRATE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_migrations import NEW, RENAME, _door
from nextbest.adapters import batches

moves = iter(range(1, 100))
replace = batches.replace
def replace_until_killed(*arguments):
    if next(moves) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*arguments)
batches.replace = replace_until_killed
print(len(_door(Path(sys.argv[2]), NEW, _1_to_2=RENAME).migrate("sales")))
"""


def _migrate(root: Path, killed_at: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MIGRATE, str(Path(__file__).parent), str(root), str(killed_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.integration
def test_a_killed_migration_is_gone_on_with(landed: Path) -> None:
    """Killed between two batches: each is whole in one version, and the next process carries the rest."""
    with _migrate(landed, killed_at=4) as process:
        process.wait(60)
    door = _door(landed, NEW, _1_to_2=RENAME)
    assert [each.contract_version for each in door.receipts("sales")] == ["2.0.0", "1.2.0", "1.2.0"]
    assert len(door.migrate("sales")) == 2
    assert door.keys("sales", "value").to_pylist() == [1.0, 3.0, 9.0]
    assert [each.rejected for each in door.receipts("sales")] == [1, 1, 0]
    assert len(list((landed / "landing" / "sales").iterdir())) == 3


@pytest.mark.integration
def test_two_migrations_and_a_delivery_at_once(landed: Path) -> None:
    """One process carries each batch, the other finds it done; what is delivered meanwhile is there once."""
    door = _door(landed, NEW, _1_to_2=RENAME)
    processes = [_migrate(landed, killed_at=-1) for _ in range(2)]
    for number in range(20):
        new = pa.table({"sale_id": [f"n{number}"], "value": [5.0], "currency": ["EUR"], "paid_at": [NOON]})
        door.land("sales", new, source_name="new till")
    said = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(said) == 3
    assert sorted(door.keys("sales", "sale_id").to_pylist()) == ["a", "c", "n19"]
    assert {each.contract_version for each in door.receipts("sales")} == {"2.0.0"}


def test_a_folder_that_cannot_be_written_is_said(landed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so the operating system's refusal is played."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(landed / "staging"))

    files = _files(landed)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ContractViolation, match=r"contract sales, rule storage, .*cannot be written: .*staging"):
        _door_without_folder(landed).migrate("sales")
    assert _files(landed) == files


def _door_without_folder(root: Path) -> Door:
    return Door(root / "landing", root / "quarantine", {"sales": NEW}, root / "migrations")


def test_a_failure_quotes_no_row_that_identifies_a_person(tmp_path: Path) -> None:
    """DuckDB's message names the value that it could not convert: of personal data, only the kind of error is told."""
    mail = Field("sale_id", "string", "VARCHAR", key=True, classification="pii", rules=REQUIRED)
    old, new = (
        msgspec.structs.replace(OLD, version=version, fields=(mail, *OLD.fields[1:])) for version in ("1.0.0", "2.0.0")
    )
    _door(tmp_path, old).land("sales", _sales({"ann@example.org": 1}), source_name="till")
    door = _door(tmp_path, new, _1_to_2="select * replace (cast(sale_id as integer)::varchar as sale_id) from landed")
    with pytest.raises(MigrationError, match="ConversionException; what it says may hold personal data") as caught:
        door.migrate("sales")
    assert "ann@example.org" not in str(caught.value)
    assert caught.value.__cause__ is None
