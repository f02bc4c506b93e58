"""What leaves the log and the landing in time, and what a State rebuilt from the rest makes of it."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextbest import records
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.log_landing import LOG_CONTRACTS, arrivals, days_to_land, land_day
from nextbest.adapters.log_retention import Compaction, compact
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.envelope import Envelope, Identifier
from nextbest.erasure import erasure, without_customer
from nextbest.intake import envelope, landed
from nextbest.records import DecisionRecord, PlacementRecord, SlotRecord, Snapshot
from nextbest.settings import CHECKOUT
from nextbest.state import SnapshotScope

NOW = datetime(2026, 3, 2, 3, tzinfo=UTC)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
DAY = timedelta(days=1)
AGES = (1_200, 500, 100, 40, 5)
"""Days: older than decisions are kept, than events are, within, than ids are known, and lately."""
CUSTOMERS = ("c1", "c2")
BUDGET = "budget@total"


def wrapped(contract: str, at: datetime, **row: Any) -> Envelope:
    """What a channel sent under a contract."""
    return envelope(CONTRACTS[contract], {"source": "live", "occurred_at": at, "received_at": at, **row}, at)


def event(number: int, at: datetime, **row: Any) -> Envelope:
    said = {"event_id": f"e{number}", "customer_id": "c1", "channel": "web", "type": "click"}
    return wrapped("events", at, **{**said, **row})


def consent(number: int, at: datetime, customer_id: str = "c1", status: str = "granted") -> Envelope:
    said = {"customer_id": customer_id, "purpose": "marketing", "regime": "opt_in", "status": status}
    return wrapped("consents", at, consent_id=f"k{number}", **said)


def signal(number: int, at: datetime, value: float, *, of_file: bool = False) -> Envelope:
    said = {"signal_id": f"s{number}", "signal": "stock", "key": "eggs", "value": value, "text": None}
    row = {"source": "live", "occurred_at": at, "received_at": at, "expires_at": None, **said}
    return (landed if of_file else envelope)(CONTRACTS["signals"], row, at)


def identity(number: int, at: datetime, customer_id: str = "c1", *, of_file: bool = False) -> Envelope:
    row = {"kind": "email", "identifier_hmac": "ab" * 32, "customer_id": customer_id, "linked_at": at}
    row |= {name: None for field in CONTRACTS["identities"].fields if (name := field.name) not in row}
    row["source"] = "live"
    if of_file:
        return landed(CONTRACTS["identities"], row, at)
    return msgspec.structs.replace(envelope(CONTRACTS["identities"], row, at), event_id=f"identities/i{number}")


def switch(number: int, at: datetime, word: str) -> Envelope:
    return msgspec.structs.replace(
        erasure(f"{word}/{number}", "", at), type=word, action="eggs", partition_key="eggs", properties={}
    )


def decided(number: int, at: datetime, customer_id: str = "c1") -> Envelope:
    slot = SlotRecord(
        slot=0,
        action="eggs",
        treatment="mail",
        group="food",
        probability=1.0,
        expires_at=at + timedelta(hours=1),
        takes={BUDGET: 5},
    )
    placement = PlacementRecord(id="home", channel="web", pmf={}, order=(), slots=(slot,))
    made = DecisionRecord(
        decision_id=f"d{number}",
        request_id=f"d{number}",
        occurred_at=at,
        customer_id=customer_id,
        policy_hash="p",
        placements=(placement,),
    )
    [row] = records.rows(made)
    return envelope(CONTRACTS["decisions"], row, at)


def seen(number: int, decision: int, at: datetime) -> Envelope:
    return event(number, at, type="impression", decision_id=f"d{decision}", slot=0, action="eggs")


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "landing", tmp_path / "quarantine", CONTRACTS)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        yield log


def land(log: SqliteLog, door: Door) -> None:
    for arrived in arrivals(log):
        land_day(log, door, CONTRACTS[arrived.contract], arrived)


def left(log: SqliteLog) -> list[str]:
    return [record.event_id for _, record in log.read_sync(0, 10_000)]


def compacted(log: SqliteLog, door: Door, *, is_dry: bool = False) -> Compaction:
    return compact(log, door, CONTRACTS, NOW, is_dry=is_dry)


def test_a_day_leaves_log_and_landing_once_it_has_landed(log: SqliteLog, door: Door) -> None:
    """It goes when its contract says so; until it has landed nothing of it goes, and a dry run tells."""
    log.append_sync([event(1, NOW - 401 * DAY), event(2, NOW - 401 * DAY, channel="smoke"), event(3, NOW - 399 * DAY)])
    assert compacted(log, door).removed == {}
    land(log, door)
    assert compacted(log, door, is_dry=True).removed == {"events": 2}
    assert len(left(log)) == 3
    done = compacted(log, door)
    assert (done.removed, done.batches) == ({"events": 2}, {"events": 1})
    assert left(log) == ["events/e3"]
    assert door.read("events")["event_id"].to_pylist() == ["e3"]
    assert days_to_land(log, door) == []
    assert compacted(log, door) == Compaction({}, {}, {})


def test_what_is_rejected_goes_with_its_batch(log: SqliteLog, door: Door, tmp_path: Path) -> None:
    """The quarantine keeps rows no longer than the landing does."""
    log.append_sync([event(1, NOW - 401 * DAY, channel="smoke"), event(2, NOW)])
    land(log, door)
    assert len([*(tmp_path / "quarantine").rglob("rejects.parquet")]) == 1
    assert compacted(log, door).batches == {"events": 1}
    assert [*(tmp_path / "quarantine").rglob("rejects.parquet")] == []


def test_a_delivery_goes_when_all_of_it_is_old(door: Door, log: SqliteLog, tmp_path: Path) -> None:
    """A file's rows go by when they happened; a snapshot stays."""
    for name, ages in {"old": (401, 500), "mixed": (401, 5)}.items():
        file = tmp_path / f"{name}.jsonl"
        file.write_bytes(msgspec.json.Encoder().encode_lines([event(age, NOW - age * DAY).properties for age in ages]))
        door.land_file("events", file)
    assert compacted(log, door).batches == {"events": 1}
    assert [Path(each.source_name).name for each in door.receipts("events")] == ["mixed.jsonl"]


def test_the_log_never_forgets_how_far_it_has_come(log: SqliteLog, door: Door) -> None:
    """The newest record stays, be it ever so old: its offset is the log's."""
    log.append_sync([event(1, NOW - 500 * DAY), event(2, NOW - 500 * DAY)])
    land(log, door)
    compacted(log, door)
    assert left(log) == ["events/e2"]


def test_an_old_impression_counts_for_its_budget_and_names_nobody(log: SqliteLog, door: Door) -> None:
    """Events are kept for 400 days, decisions for three years: until then a State rebuilt counts what was shown."""
    log.append_sync([decided(1, NOW - 500 * DAY), seen(1, 1, NOW - 500 * DAY), event(2, NOW)])
    land(log, door)
    assert compacted(log, door).emptied == {"events": 1}
    _, impression = log.read_sync(0, 10)[1]
    assert (impression.decision_id, impression.partition_key, impression.properties) == ("d1", "erased", {})
    assert compact(log, door, CONTRACTS, NOW + 700 * DAY).removed["decisions"] == 1
    assert "events/e1" not in left(log)


def test_the_last_word_stays_and_the_one_before_goes(log: SqliteLog, door: Door) -> None:
    """Identities and the kill switch have no landing; of what came out of a file the id stays.

    That somebody else has the identifier replaces nothing: who that is may be forgotten.
    """
    old = NOW - 2_000 * DAY
    log.append_sync([identity(1, old), identity(2, old + DAY), identity(3, old, "c2")])
    log.append_sync([identity(0, old, "c3", of_file=True), identity(0, old + DAY, "c3", of_file=True)])
    log.append_sync([switch(4, old, "pause"), switch(5, old + DAY, "resume"), switch(6, NOW - DAY, "pause")])
    compacted(log, door)
    stay = [record for _, record in log.read_sync(0, 10)]
    assert [(each.type, each.event_id.partition("/")[0]) for each in stay] == [
        ("identity", "identities"),
        ("identity", "identities"),
        ("erased", "landing"),
        ("identity", "landing"),
        ("pause", "pause"),
    ]


def test_consents_are_kept_as_long_as_their_contract_says(log: SqliteLog, door: Door) -> None:
    """Ten years: then what was overruled goes, from the landing too; what holds stays in both."""
    log.append_sync(
        [consent(1, NOW - 4_000 * DAY), consent(2, NOW - 4_000 * DAY + timedelta(hours=1), "c1", "withdrawn")]
    )
    log.append_sync([consent(3, NOW - 100 * DAY, "c2"), consent(4, NOW - 99 * DAY, "c2", "withdrawn")])
    land(log, door)
    compacted(log, door)
    assert left(log) == ["consents/k2", "consents/k3", "consents/k4"]
    assert days_to_land(log, door) == [(NOW - 4_000 * DAY).date().isoformat()]
    land(log, door)
    assert sorted(door.read("consents")["consent_id"].to_pylist()) == ["k2", "k3", "k4"]


def drawn(seed: int) -> list[Envelope]:
    """A log in the order of its days, in which customers are erased, and come back."""
    draw = random.Random(seed)  # noqa: S311  no secret
    log: list[Envelope] = []
    for number in range(14 * len(AGES)):
        at = NOW - AGES[number // 14] * DAY + timedelta(seconds=draw.randrange(3_600))
        customer = draw.choice(CUSTOMERS)
        kinds: list[Callable[[], Envelope]] = [
            lambda: decided(number, at, customer),  # noqa: B023  called at once
            lambda: seen(number, draw.randrange(number + 1), at),  # noqa: B023
            lambda: event(number, at, customer_id=customer),  # noqa: B023
            lambda: consent(number, at, customer, draw.choice(["granted", "withdrawn"])),  # noqa: B023
            lambda: identity(number, at, customer, of_file=draw.random() < 0.5),  # noqa: B023
            lambda: signal(number, at, draw.choice([0.0, 1.0]), of_file=draw.random() < 0.5),  # noqa: B023
            lambda: switch(number, at, draw.choice(["pause", "resume"])),  # noqa: B023
        ]
        if draw.random() < 0.9:
            log.append(draw.choice(kinds)())
            continue
        if draw.random() < 0.7:  # else its entries have yet to be stripped
            log = [without_customer(each) if each.partition_key == customer else each for each in log]
        log.append(erasure(f"erasure/{number}", customer, at))
    return log


def rebuilt(log: Sequence[tuple[int, Envelope]], path: Path) -> tuple[list[Snapshot], str | None]:
    """All that a decision can see in a State built from nothing, as far as events and decisions are kept."""
    scope = SnapshotScope(NOW - 1_095 * DAY, NOW - 400 * DAY, (BUDGET,), signals=(("stock", "eggs"),))
    with closing(SqliteState(path)) as state:
        asyncio.run(state.apply([record for _, record in log], len(log)))
        whose = asyncio.run(state.customer_of([Identifier("email", "ab" * 32)]))
        return [asyncio.run(state.snapshot(name, scope)) for name in (*CUSTOMERS, None)], whose


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_state_rebuilt_from_what_is_left_is_the_same(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Consents, identifiers, pauses, signals, contacts, interactions; and budgets, as far as decisions are kept."""
    folder = tmp_path_factory.mktemp("log")
    door = Door(folder / "landing", folder / "quarantine", CONTRACTS)
    kept_long = {name: msgspec.structs.replace(each, retention_days=None) for name, each in CONTRACTS.items()}
    contracts = CONTRACTS | {"decisions": kept_long["decisions"]}
    with closing(SqliteLog(folder / "log.db")) as log:
        log.append_sync(drawn(seed))
        whole = log.read_sync(0, 10_000)
        land(log, door)
        for _ in range(2):
            compact(log, door, contracts, NOW)
        assert rebuilt(log.read_sync(0, 10_000), folder / "left.db") == rebuilt(whole, folder / "whole.db")


def test_everything_the_log_lands_has_a_contract() -> None:
    """What is let go by contract is what lands by contract."""
    assert set(LOG_CONTRACTS) <= CONTRACTS.keys()
