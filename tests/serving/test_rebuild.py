"""A State that is rebuilt from the log is the State that was kept, as far as any decision can see; on every State."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.contracts import Contract
from nextbest.envelope import Identifier
from nextbest.intake import envelope
from nextbest.messages import Proposal
from nextbest.names import CustomerNames
from nextbest.records import DecisionRecord
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, StateBehindError
from nextbest.switches import switched, use
from nextbest.wire import CustomerReference, DecisionRequest, EventRow
from serving.basis import Basis
from serving.customers import Customers
from serving.decider import Decider
from serving.intake import Intake
from serving.metrics import Meter
from serving.policies import Policies
from serving.processor import Processor

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVER, LONG_AFTER = datetime(1970, 1, 1, tzinfo=UTC), NOON + timedelta(days=4_000)
CUSTOMERS = ("c0", "c1", "c2")
MAILS = tuple(f"{n}" * 64 for n in range(3))


class NoModels:
    current = None


class Shop:
    """The parts of one home's servers around a real log and State, the event processor among them; no features."""

    def __init__(self, settings: Settings, contracts: dict[str, Contract], features: Any) -> None:
        self.now, self.contracts, self.number = NOON, contracts, 0
        self.decisions: list[DecisionRecord] = []
        self.log, self.state = SqliteLog(settings.event_log), open_state(settings)
        policies = Policies(settings.policies_archive, self.state)
        asyncio.run(policies.start())
        self.decider = Decider(
            policies=policies,
            models=NoModels(),
            features=features,
            basis=Basis(self.state, self.log),
            contract=contracts["decisions"],
            clock=lambda: self.now,
            budget_ms=60_000,
        )
        self.intake = Intake(
            contracts=contracts,
            log=self.log,
            state=self.state,
            clock=lambda: self.now,
            quarantine=Quarantine(settings.rejected_events, contracts),
            meter=Meter(settings.metrics),
        )
        self.customers = Customers(
            basis=self.decider.basis,
            features=features,
            intake=self.intake,
            names=CustomerNames(contracts["identities"]),
            clock=lambda: self.now,
        )
        self.processor = Processor(
            log=self.log, state=self.state, skipped=SkippedRecords(settings.skipped_records), clock=lambda: self.now
        )

    async def catch_up(self, _: int = 0) -> None:
        while not (await self.processor.step()).is_end:
            pass

    async def decide(self, n: int) -> None:
        by_mail = CustomerReference(kind="email", hmac=MAILS[n % 3])
        whom = by_mail if n % 4 == 3 else CustomerReference(customer_id=CUSTOMERS[n % 3])
        asked = DecisionRequest(customer=whom, placements=("home_banner",), request_id=f"r{self._next()}")
        self.decisions.append(await self.decider.decide(asked))

    async def see(self, n: int) -> None:
        """An impression of a decision, by slot or by action, now and then of none."""
        who: dict[str, Any] = {"event_id": f"e{self._next()}", "customer_id": CUSTOMERS[n % 3]}
        row = who | {"type": "impression", "channel": "web"}
        if self.decisions:
            made = self.decisions[n % len(self.decisions)]
            slot = made.placements[0].slots[n % len(made.placements[0].slots)]
            row |= {"decision_id": made.decision_id, "action": slot.action} | ({"slot": slot.slot} if n % 2 else {})
        await self._take("events", row)

    async def visit(self, n: int) -> None:
        await self._take(
            "events",
            {"event_id": f"e{self._next()}", "customer_id": CUSTOMERS[n % 3], "type": "page_view", "channel": "web"},
        )

    async def redeem(self, n: int) -> None:
        row = {"outcome_id": f"o{self._next()}", "customer_id": CUSTOMERS[n % 3], "action": "beef"}
        await self._take("outcomes", row | {"kind": "redemption", "value": 1.0, "currency": "USD"})

    async def consent(self, n: int) -> None:
        row = {"consent_id": f"k{self._next()}", "customer_id": CUSTOMERS[n % 3], "purpose": "marketing"}
        await self._take("consents", row | {"regime": "opt_out", "status": ("granted", "withdrawn")[n % 2]})

    async def link(self, n: int) -> None:
        row = {"kind": "email", "identifier_hmac": MAILS[n % 3], "customer_id": CUSTOMERS[n // 2 % 3], "source": "live"}
        entry = envelope(self.contracts["identities"], row | {"linked_at": self.now}, self.now)
        await self.log.append([msgspec.structs.replace(entry, event_id=f"i{self._next()}")])

    async def pause(self, n: int) -> None:
        name = f"s{self._next()}"
        await use(
            self.log, self.state, switched("pause" if n % 3 else "resume", ("beef", "milk")[n % 2], name, self.now)
        )

    async def erase(self, n: int) -> None:
        await self.customers.erase(CUSTOMERS[n % 3])

    async def known(self) -> list[Any]:
        """All that any decision can see, once everything has expired that may."""
        counters = ("beef/volume@total", *(f"beef/volume@{NOON + timedelta(days=n):%Y-%m-%d}" for n in range(-3, 9)))
        log_id, scope = await self.log.log_id(), SnapshotScope(EVER, EVER, counters)
        asked = DecisionRecord(
            decision_id="last", request_id="last", occurred_at=LONG_AFTER, customer_id=None, policy_hash="p"
        )
        dry = Proposal(record=asked, placements=(), dedup=True, reserves=False, ttl_seconds=1)
        for customer_id in (*CUSTOMERS, None):
            of_customer = replace_customer(dry, customer_id)
            await self.state.reserve(of_customer, LONG_AFTER, log_id)
        found: list[Any] = [await self.state.snapshot(each, scope, log_id) for each in (*CUSTOMERS, None)]
        found += [await self.state.customer_of([Identifier("email", mail)]) for mail in MAILS]
        found.append(await self.state.members([*CUSTOMERS, *(f"email:{mail}" for mail in MAILS)]))
        return [*found, await self.state.overruns(), await self.state.current_policy()]

    def close(self) -> None:
        self.log.close()
        self.state.close()

    async def _take(self, contract: Literal["events", "outcomes", "consents"], row: dict[str, Any]) -> None:
        taken = await self.intake.take([EventRow(contract, row | {"occurred_at": self.now.isoformat()})])
        assert taken.rejected == 0, taken.results

    def _next(self) -> int:
        self.number += 1
        return self.number


def replace_customer(asked: Proposal, customer_id: str | None) -> Proposal:
    return msgspec.structs.replace(asked, record=msgspec.structs.replace(asked.record, customer_id=customer_id))


@pytest.fixture
def open_shop(
    home: Callable[[], Settings], policy_files: dict[str, Any], contracts: dict[str, Contract], features: Any
) -> Callable[[], Shop]:
    """Call it for a shop in which nothing has happened yet: with a volume, a cap, and an experiment."""
    beef, *others = policy_files["actions"]["actions"]
    policy_files["actions"] = policy_files["actions"] | {
        "actions": [beef | {"volume": {"limit": 6, "per": "total"}}, *others]
    }
    policy_files["arbitration"] = {
        "formula": {"use_propensity": False},
        "exploration": {"strategy": "inverse_gap", "gamma": 0.5},
        "salt": "test",
    }
    policy_files["experiments"] = {"challengers": [{"id": "bold", "percent": 50, "changes": {"levers": {"milk": 900}}}]}

    def opened() -> Shop:
        settings = replace(home(), budget_ms=60_000)
        folder = settings.home / "policies"
        folder.mkdir(exist_ok=True)
        for name, content in policy_files.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
        for file in settings.event_log.parent.glob("events.db*"):
            file.unlink()
        policy_hash = read_and_archive(folder, settings.policies_archive).hash
        with closing(open_state(settings)) as state:
            asyncio.run(state.publish_policy(policy_hash))
        return Shop(settings, contracts, features)

    return opened


STEPS = (
    *(Shop.decide, Shop.decide, Shop.see, Shop.see, Shop.visit, Shop.redeem, Shop.consent, Shop.link, Shop.pause),
    *(Shop.erase, Shop.catch_up, Shop.catch_up),
)
HOURS = st.sampled_from([0.0, 0.1, 0.1, 2.0, 25.0])


@budget(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11), HOURS), min_size=8, max_size=30))
def test_rebuilt_is_what_was_kept(
    open_shop: Callable[[], Shop], steps: list[tuple[Callable[[Shop, int], Any], int, float]]
) -> None:
    """Whatever is decided, seen, done, said, linked, paused and erased, with a processor that comes when it likes."""

    async def happen(shop: Shop) -> None:
        await shop.catch_up()
        for step, number, hours in steps:
            shop.now += timedelta(hours=hours)
            await step(shop, number)
        await shop.catch_up()
        kept = await shop.known()
        await shop.state.clear()
        await shop.catch_up()
        assert await shop.known() == kept

    with closing(open_shop()) as shop:
        asyncio.run(happen(shop))


def test_nothing_is_decided_by_a_state_that_is_being_rebuilt(open_shop: Callable[[], Shop], features: Any) -> None:
    """The customer who said no hears nothing: fallbacks that are not logged, until all is there again."""

    async def happen(shop: Shop) -> None:
        await shop.decide(0)  # the log is empty: there is nothing to wait for
        await shop.consent(1)
        await shop.catch_up()
        await shop.state.clear()
        for asked in (shop.customers.consents("c1", shop.decider.in_force.policy), shop.customers.export("c1")):
            with pytest.raises(StateBehindError):
                await asked
        with pytest.raises(StateBehindError):
            await shop.customers.erase(CUSTOMERS[1])
        await shop.decide(1)
        await shop.catch_up()
        await shop.decide(1)
        await shop.decide(2)

    with closing(open_shop()) as shop:
        features.reason = ""
        asyncio.run(happen(shop))
        first, rebuilding, withdrawn, other = shop.decisions
    assert first.logged
    assert (rebuilding.logged, rebuilding.tier, rebuilding.degraded) == (False, "fallback", ("state_rebuilding",))
    assert {each.reason.partition(":")[0] for each in withdrawn.candidates if each.stage == "consent"} != set()
    assert not any(each.stage == "consent" for each in other.candidates)


def test_a_state_emptied_between_reading_and_reserving_grants_nothing(
    open_shop: Callable[[], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caps that nobody remembers any more must not look as if they had room."""

    async def happen(shop: Shop) -> None:
        await shop.catch_up()
        await shop.decide(0)
        await shop.catch_up()
        kind: type[OpenState] = type(shop.state)
        reserve = kind.reserve

        async def emptied(state: OpenState, *arguments: Any) -> Any:
            await state.clear()
            return await reserve(state, *arguments)

        monkeypatch.setattr(kind, "reserve", emptied)
        for _ in range(8):
            await shop.decide(0)

    with closing(open_shop()) as shop:
        asyncio.run(happen(shop))
        first, *others = shop.decisions
    refused = [each for each in others if each.degraded == ("state_rebuilding",)]
    assert first.logged
    assert refused
    assert not any(each.logged for each in refused)
    shown = [place.slots[0].action for each in others if each not in refused for place in each.placements]
    assert {*shown} <= {"do_nothing"}, "what takes nothing needs no room"
