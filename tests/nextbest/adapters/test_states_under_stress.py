"""Every State, whatever happens in whatever order at whatever hour: beside a model, and in several processes."""

import asyncio
import pickle
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nextbest import records
from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import Envelope
from nextbest.messages import Bound, Cap, Caps, Grant, Limit, Option, PlacementProposal, Proposal
from nextbest.records import DO_NOTHING, DecisionRecord, PlacementRecord, SlotRecord, Usage
from nextbest.reservations import reserve
from nextbest.settings import Settings
from nextbest.state import SnapshotScope

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONG_AGO, LONG_AFTER = NOW - timedelta(days=4_000), NOW + timedelta(days=4_000)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCOPE = SnapshotScope(LONG_AGO, LONG_AGO, ("volume@2026-03-02", "budget@total"))
DAY_S = 86_400
PRICES = {"eggs": 30, "milk": 20}
CAPS = (
    Cap("two_seen", "all", "", "impression", 2, 2 * DAY_S),
    Cap("one_decided", "action", "eggs", "decision", 1, DAY_S),
)


def limits(action: str, volume: int, money: int) -> tuple[Limit, ...]:
    return (Limit("volume", "day", 1, volume), Limit("budget", "total", PRICES[action], money, is_money=True))


def proposal(
    decision_id: str,
    customer_id: str | None,
    *,
    volume: int = 3,
    money: int = 120,
    ttl_s: int = 3_600,
    channel: str = "web",
) -> Proposal:
    options = [
        Option(key=action, action=action, treatment="", group="food", limits=limits(action, volume, money))
        for action in PRICES
    ]
    nothing = Option(key=DO_NOTHING, action=DO_NOTHING, treatment="", group="")
    caps: Caps = {
        ("all", ""): [Bound(CAPS[0], frozenset(PRICES))],
        ("action", "eggs"): [Bound(CAPS[1], frozenset({"eggs"}))],
    }
    placement = PlacementProposal(
        id="home", channel=channel, slots=1, order=(*options, nothing), pmf=(0.5, 0.5, 0.0), caps=caps
    )
    record = DecisionRecord(
        decision_id=decision_id, request_id=decision_id, occurred_at=NOW, customer_id=customer_id, policy_hash="p"
    )
    return Proposal(record=record, placements=(placement,), dedup=True, reserves=True, ttl_seconds=ttl_s)


def envelope(type_: str, event_id: str, at: datetime, **properties: Any) -> Envelope:
    return Envelope(
        event_id=event_id,
        type=type_,
        contract="",
        contract_version="",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c",
        properties=properties,
    )


def decision(asked: Proposal, grant: Grant, at: datetime) -> Envelope:
    (slot,) = grant.placements["home"]
    filled = SlotRecord(
        slot=0,
        action=slot.key,
        treatment="",
        group="food",
        probability=1.0,
        expires_at=slot.expires_at,
        takes=slot.takes,
    )
    placement = PlacementRecord(id="home", channel="web", pmf={}, order=(), slots=(filled,))
    made = msgspec.structs.replace(asked.record, occurred_at=at, placements=(placement,))
    return envelope("decision", made.decision_id, at, slot=0, record=records.encode(made).decode())


class Held(msgspec.Struct):
    """A contact as the model keeps it; it is `held`, `expired`, `released` or `seen`."""

    customer_id: str | None
    decided_at: datetime
    expires_at: datetime
    takes: dict[str, int]
    status: str = "held"
    seen_at: datetime | None = None


class Model:
    """A State in memory, as plain as it can be: contacts by decision and action, all of them counted each time."""

    def __init__(self) -> None:
        self.contacts: dict[tuple[str, str], Held] = {}
        self.overruns = 0

    def usage(self, besides: str | None = None) -> dict[str, Usage]:
        """What is used of each counter, without what the decision `besides` holds."""
        used: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (decision_id, _), contact in self.contacts.items():
            if contact.status == "seen" or (contact.status == "held" and decision_id != besides):
                for counter, amount in contact.takes.items():
                    used[counter][contact.status] += amount
        return {counter: Usage(each["seen"], each["held"]) for counter, each in used.items()}

    def expire(self, now: datetime) -> None:
        for contact in self.contacts.values():
            if contact.status == "held" and contact.expires_at <= now:
                contact.status = "expired"

    def available(self, asked: Proposal, now: datetime) -> tuple[bool, ...]:
        return tuple(self._has_room(option, asked, now) for option in asked.placements[0].order)

    def reserve(self, asked: Proposal, action: str, now: datetime, expires_at: datetime, takes: dict[str, int]) -> None:
        key = (asked.record.decision_id, action)
        new = Held(asked.record.customer_id, now, expires_at, takes)
        old = self.contacts.setdefault(key, new)
        if old.status == "held":
            merged = {name: max(old.takes.get(name, 0), takes.get(name, 0)) for name in {**old.takes, **takes}}
            times = (max(old.decided_at, now), max(old.expires_at, expires_at))
            self.contacts[key] = Held(new.customer_id, *times, merged)
        elif old.status != "seen":
            self.contacts[key] = Held(new.customer_id, max(old.decided_at, now), expires_at, takes)

    def take_place(self, decision_id: str, action: str, contact: Held | None) -> None:
        for key in [key for key, each in self.contacts.items() if key[0] == decision_id and each.status != "seen"]:
            was = self.contacts.pop(key)
            if key[1] == action and was.status == "expired" and contact is not None:
                contact.status = "expired"
        if contact is not None:
            self.contacts.setdefault((decision_id, action), contact)

    def see(self, decision_id: str, action: str, at: datetime) -> None:
        contact = self.contacts.get((decision_id, action))
        if contact is not None and contact.status != "seen":
            self.overruns += contact.status != "held"
            contact.status, contact.seen_at = "seen", max(at, contact.decided_at)

    def _has_room(self, option: Option, asked: Proposal, now: datetime) -> bool:
        used = self.usage(besides=asked.record.decision_id)
        for limit in option.limits:
            each = used.get(limit.counter(now), Usage())
            if limit.most is not None and each.seen + each.held + limit.amount > limit.most:
                return False
        bounds = [bound for each in asked.placements[0].caps.values() for bound in each if option.key in bound.keys]
        return all(self._count(bound.cap, asked, now) < bound.cap.limit for bound in bounds)

    def _count(self, cap: Cap, asked: Proposal, now: datetime) -> int:
        since = now - timedelta(seconds=cap.window_seconds)
        count = 0
        for (decision_id, action), each in self.contacts.items():
            is_other = decision_id != asked.record.decision_id and each.customer_id == asked.record.customer_id
            if not is_other or each.customer_id is None or each.status == "released" or cap.member not in {"", action}:
                continue
            if cap.count == "decision":
                count += each.decided_at > since
            else:
                count += each.seen_at > since if each.seen_at else each.status == "held"
        return count


class Story:
    """What happens to a State and to the model alike; each call is made twice, and the second must change nothing."""

    def __init__(self, state: OpenState) -> None:
        self.state, self.model, self.now = state, Model(), NOW
        self.log: list[Envelope] = []
        self.open: dict[str, tuple[Proposal, Grant, datetime]] = {}
        """Decisions that the log does not have yet, by id."""
        self.made: dict[str, str] = {}
        """The action of those it has."""
        self.counters: set[str] = set()

    async def reserve(self, number: int) -> None:
        """Half of the numbers are of a decision that was tried before, if it is not logged yet."""
        decision_id = f"d{number // 2}"
        if decision_id in self.made:
            return
        asked = proposal(decision_id, (None, "c1", "c2")[number // 2 % 3])
        self.model.expire(self.now)
        expected = self.model.available(asked, self.now)
        for _ in range(2):
            grant = await self.state.reserve(asked, self.now)
            (slot,) = grant.placements["home"]
            assert slot.available == expected
        self.open[decision_id] = (asked, grant, self.now)
        self.counters |= {limit.counter(self.now) for option in asked.placements[0].order for limit in option.limits}
        if slot.expires_at is not None:
            self.model.reserve(asked, slot.key, self.now, slot.expires_at, slot.takes)

    async def take_place(self, number: int) -> None:
        decision_id = f"d{number // 2}"
        if decision_id not in self.open:
            return
        asked, grant, at = self.open.pop(decision_id)
        await self._append(decision(asked, grant, at))
        (slot,) = grant.placements["home"]
        contact = slot.expires_at and Held(asked.record.customer_id, at, slot.expires_at, slot.takes)
        self.model.take_place(decision_id, slot.key, contact or None)
        self.made[decision_id] = slot.key

    async def see(self, number: int) -> None:
        decision_id = f"d{number // 2}"
        if decision_id in self.made:
            action, event_id = self.made[decision_id], f"e{len(self.log)}"
            await self._append(envelope("impression", event_id, self.now, decision_id=decision_id, action=action))
            self.model.see(decision_id, action, self.now)

    async def release(self, number: int) -> None:
        decision_id = f"d{number // 2}"
        if decision_id in self.open:
            for _ in range(2):
                await self.state.release(decision_id, 0)
            for key, contact in self.model.contacts.items():
                if key[0] == decision_id:
                    contact.status = "released"

    async def check(self) -> None:
        found = await self.state.snapshot("c1", SnapshotScope(LONG_AGO, LONG_AGO, tuple(self.counters)))
        used = {counter: each for counter, each in self.model.usage().items() if each != Usage()}
        assert found.usage == used
        assert await self.state.overruns() == self.model.overruns

    async def _append(self, entry: Envelope) -> None:
        self.log.append(entry)
        for offset in (None, len(self.log), None):
            await self.state.apply([entry], offset)


STEPS = (Story.reserve, Story.reserve, Story.take_place, Story.see, Story.release)
HOURS = st.sampled_from([0.0, 0.0, 0.5, 1.0, 25.0, -0.5, -25.0])


@budget(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 13), HOURS), min_size=8, max_size=40))
def test_it_counts_as_the_model_does(
    home: Callable[[], Settings], steps: list[tuple[Callable[[Story, int], Any], int, float]]
) -> None:
    """Whatever is tried, logged, seen, released or left to expire, by a clock that jumps as it likes.

    At every reservation just that is available which the model finds room for, at that moment; the counters are what
    the contacts take; and of the log alone the same State comes about.
    """

    async def happen() -> None:
        with closing(open_state(home())) as state:
            story = Story(state)
            for step, number, hours in steps:
                story.now += timedelta(hours=hours)
                await step(story, number)
                await story.check()
            kept = await _in_the_end(state, story)
        with closing(open_state(home())) as rebuilt:
            await rebuilt.apply(story.log, len(story.log))
            assert await _in_the_end(rebuilt, story) == kept

    asyncio.run(happen())


async def _in_the_end(state: OpenState, story: Story) -> list[Any]:
    """What is left of decisions in the log once everything has expired."""
    dry = msgspec.structs.replace(proposal("last", None), reserves=False)
    left: list[Any] = []
    for customer_id in ("c1", "c2"):
        await state.reserve(dry, LONG_AFTER)
        found = await state.snapshot(customer_id, SnapshotScope(LONG_AGO, LONG_AGO, tuple(story.counters)))
        left += [each for each in found.contacts if each.decision_id in story.made]
        left.append(found.usage)
        assert all(each.held == 0 for each in found.usage.values())
    return left


async def used(state: OpenState) -> Usage:
    return (await state.snapshot(None, SCOPE)).usage["volume@2026-03-02"]


def test_a_customer_waits_for_nobody_elses_expiry(home: Callable[[], Settings]) -> None:
    """More has expired than one reservation gives back: the customer's own is among it, and the rest follows."""

    async def chosen(state: OpenState, decision_id: str, hours: float) -> str:
        asked = proposal(decision_id, "c1", volume=10_000, money=10**9)
        return (await state.reserve(asked, NOW + timedelta(hours=hours))).placements["home"][0].key

    async def happen() -> None:
        with closing(open_state(home())) as state:
            asked = [proposal(f"d{n}", None, volume=10_000, money=10**9) for n in range(1_001)]
            await state.apply([decision(each, reserve(each, (), NOW)[0], NOW) for each in asked], 1)
            keys = [await chosen(state, "first", 0.25), await chosen(state, "second", 0.25)]
            assert keys == ["eggs", "milk"]
            assert await chosen(state, "next", 2) == "milk"
            assert await used(state) == Usage(held=2), "the next, and one of everybody's that waits"
            await state.release("next", 0)
            assert await chosen(state, "by a clock set back", 0.5) == "milk"
            assert await chosen(state, "last", 9) == "milk"
            assert await used(state) == Usage(held=1)

    asyncio.run(happen())


def test_a_long_batch_is_applied_whole(home: Callable[[], Settings]) -> None:
    """Hundreds of records at once, of which some are about the same decision, and all of them once more."""
    asked = [proposal(f"d{n}", f"c{n}", volume=10_000, money=10**9) for n in range(400)]
    log = [decision(each, reserve(each, (), NOW)[0], NOW) for each in asked]
    log += [envelope("impression", f"e{n}", NOW, decision_id=f"d{n}", action="eggs") for n in range(0, 400, 2)]

    async def happen() -> None:
        with closing(open_state(home())) as state:
            for each in asked[:20]:
                await state.reserve(each, NOW)
            for offset in (len(log), None):
                await state.apply(log, offset)
            assert await used(state) == Usage(seen=200, held=200)
            assert await state.applied_offset() == len(log)

    asyncio.run(happen())


_WORKER = """
import asyncio, pickle, sys
from datetime import timedelta
import msgspec
from nextbest.adapters.states import open_state

settings, name, start, step_s, rounds, proposals = pickle.load(sys.stdin.buffer)
state = open_state(settings)

async def decide(n, asked):
    decision_id = f"{name}-{n}"
    asked = msgspec.structs.replace(asked, record=msgspec.structs.replace(asked.record, decision_id=decision_id))
    now = start + timedelta(seconds=step_s * n)
    (slot,) = (await state.reserve(asked, now)).placements["home"]
    if step_s and n % 4 == 0 and slot.expires_at:
        await state.commit(decision_id, 0, f"e-{decision_id}", now)
    return slot.key

async def main():
    for first in range(0, rounds, 10):
        some = [decide(n, proposals[n % len(proposals)]) for n in range(first, first + 10)]
        print(*await asyncio.gather(*some), sep="\\n")

asyncio.run(main())
state.close()
"""


@contextmanager
def working(
    settings: Settings, proposals: list[Proposal], *, step_s: float, rounds: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Four processes that decide at once, each by a clock of its own."""
    with ExitStack() as ended:
        processes = []
        for n, name in enumerate("abcd"):
            process = subprocess.Popen([sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            ended.enter_context(process)
            ended.callback(process.kill)
            assert process.stdin is not None
            start = NOW + timedelta(seconds=step_s * n)
            process.stdin.write(pickle.dumps((settings, name, start, step_s, rounds, proposals)))
            process.stdin.close()
            processes.append(process)
        yield processes


def _granted(processes: list[subprocess.Popen[bytes]]) -> Counter[str]:
    granted: Counter[str] = Counter()
    for process in processes:
        assert process.stdout is not None
        granted.update(process.stdout.read().decode().split())
        assert process.wait() == 0
    return granted


def test_processes_at_once_grant_all_there_is_and_no_more(home: Callable[[], Settings]) -> None:
    """With demand above it the limit is used up to the last, and what is held is what was granted."""
    settings = home()
    asked = [proposal("d", f"c{n}", volume=17, money=10_000, channel="web" if n % 2 else "email") for n in range(9)]
    with working(settings, asked, step_s=0, rounds=200) as processes:
        granted = _granted(processes)
    assert granted["eggs"] + granted["milk"] == 17
    assert sum(granted.values()) == 800
    with closing(open_state(settings)) as state:
        usage = asyncio.run(state.snapshot(None, SCOPE)).usage
    money = granted["eggs"] * PRICES["eggs"] + granted["milk"] * PRICES["milk"]
    assert usage == {"volume@2026-03-02": Usage(held=17), "budget@total": Usage(held=money)}


def test_processes_at_once_exceed_nothing_while_reservations_expire(home: Callable[[], Settings]) -> None:
    """At no moment is more seen and held than a cap or limit allows, but for impressions that came too late.

    In the end all that was not seen is back.
    """
    settings = home()
    asked = [proposal("d", f"c{n}" if n else None, volume=25, money=500, ttl_s=20) for n in range(4)]
    looks = 0
    with (
        closing(open_state(settings)) as state,
        working(settings, asked, step_s=2.0, rounds=300) as processes,
    ):
        while any(process.poll() is None for process in processes):
            looks += 1
            for customer_id in ("c1", "c2", "c3"):
                asyncio.run(_check(state, customer_id))
        granted = _granted(processes)
        asyncio.run(state.reserve(msgspec.structs.replace(asked[0], reserves=False), LONG_AFTER))
        usage = asyncio.run(state.snapshot(None, SCOPE)).usage
    assert looks
    assert granted["eggs"] + granted["milk"] > usage["volume@2026-03-02"].seen
    assert [each.held for each in usage.values()] == [0, 0]


async def _check(state: OpenState, customer_id: str) -> None:
    found = await state.snapshot(customer_id, SCOPE)
    late = await state.overruns()
    used = {counter: each.seen + each.held for counter, each in found.usage.items()}
    assert used.get("volume@2026-03-02", 0) <= 25 + late
    assert used.get("budget@total", 0) <= 500 + late * max(PRICES.values())
    assert sum(each.expires_at > EPOCH for each in found.contacts) <= CAPS[0].limit + late
