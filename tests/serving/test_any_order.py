"""Events that come late or out of order are put in their place: through the door, the log and the event processor."""

import asyncio
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest import records
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.following import step
from nextbest.intake import envelope
from nextbest.records import DecisionRecord, PlacementRecord, SlotRecord, Snapshot
from nextbest.settings import CHECKOUT
from nextbest.state import SnapshotScope
from nextbest.wire import EventRow, Taken
from serving.intake import Intake
from serving.metrics import Meter

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONG_AGO = AT - timedelta(days=1)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
DECIDED = DecisionRecord(
    decision_id="d1",
    request_id="r1",
    occurred_at=AT - timedelta(hours=1),
    customer_id="c1",
    policy_hash="p",
    placements=(
        PlacementRecord(
            id="home",
            channel="web",
            pmf={},
            order=(),
            slots=tuple(
                SlotRecord(slot=slot, action=action, treatment="t", probability=1.0, expires_at=AT, takes={action: 1})
                for slot, action in enumerate(("beef", "milk"))
            ),
        ),
    ),
)
MINUTES = st.integers(0, 3).map(lambda minutes: (AT - timedelta(minutes=minutes)).isoformat())
ACTIONS = st.sampled_from(["beef", "milk"])
IMPRESSIONS = st.fixed_dictionaries(
    {"type": st.just("impression"), "channel": st.just("web"), "occurred_at": MINUTES, "action": ACTIONS},
    optional={"slot": st.integers(0, 2)},
).map(lambda said: ("events", said | {"decision_id": "d1"}))
OTHERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["click", "login"]), "channel": st.sampled_from(["web", "app"]), "occurred_at": MINUTES},
    optional={"action": ACTIONS},
).map(lambda said: ("events", said))
OUTCOMES = st.fixed_dictionaries(
    {"kind": st.sampled_from(["redemption", "dismissal"]), "action": ACTIONS, "occurred_at": MINUTES},
).map(lambda said: ("outcomes", said | {"currency": "USD"}))
CONSENTS = st.fixed_dictionaries(
    {
        "purpose": st.sampled_from(["marketing", "analytics"]),
        "status": st.sampled_from(["granted", "withdrawn"]),
        "occurred_at": MINUTES,
    }
).map(lambda said: ("consents", said | {"regime": "opt_in"}))


SIGNALS = st.fixed_dictionaries({"value": st.sampled_from([0.0, 5.0]), "occurred_at": MINUTES}).map(
    lambda said: ("signals", said | {"signal": "stock", "key": "beef"})
)


def event(number: int, contract: Taken, said: dict[str, object]) -> EventRow:
    whose = {} if contract == "signals" else {"customer_id": "c1"}
    return EventRow(contract, {**said, **whose, f"{contract[:-1]}_id": f"e{number}"})


def snapshot_after(batches: list[list[EventRow]], folder: Path) -> Snapshot:
    """What State says of the customer once these batches came, and the processor after each."""

    scope = SnapshotScope(LONG_AGO, LONG_AGO, counters=("beef", "milk"), now=AT, signals=(("stock", "beef"),))

    async def run() -> Snapshot:
        await log.append([envelope(CONTRACTS["decisions"], row, AT) for row in records.rows(DECIDED)])
        for batch in batches:
            taken = await intake.take(batch)
            assert taken.accepted == len(batch)
            while not (await step(log, state)).is_end:
                pass
        return await state.snapshot("c1", scope)

    with ExitStack() as stack:
        log = stack.enter_context(closing(SqliteLog(folder / "log.db")))
        state = stack.enter_context(closing(SqliteState(folder / "state.db")))
        quarantine = stack.enter_context(closing(Quarantine(folder / "rejects.db", CONTRACTS)))
        meter = Meter(folder)
        intake = Intake(contracts=CONTRACTS, log=log, state=state, clock=lambda: AT, quarantine=quarantine, meter=meter)
        return asyncio.run(run())


@given(data=st.data())
@settings(max_examples=25)
def test_any_order_of_a_customers_events_ends_in_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Consents, contacts, interactions and signals, however the events are divided into batches."""
    said = data.draw(st.lists(IMPRESSIONS | OTHERS | OUTCOMES | CONSENTS | SIGNALS, min_size=2, max_size=6))
    events = [event(number, *each) for number, each in enumerate(said)]
    shuffled = data.draw(st.permutations(events))
    cut = data.draw(st.integers(0, len(events)))
    in_order = snapshot_after([events], tmp_path_factory.mktemp("in_order"))
    batches = [batch for batch in (shuffled[:cut], shuffled[cut:]) if batch]
    assert snapshot_after(batches, tmp_path_factory.mktemp("shuffled")) == in_order
