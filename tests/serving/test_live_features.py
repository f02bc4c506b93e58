"""What customers do shows in their features: from the door through log and Feast to the decision's reader."""

import asyncio
import gc
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.contracts import Contract
from nextbest.erasure import erasure
from nextbest.identity import link, unlink
from nextbest.live import LIVE_STATE, NOTHING, decode, encode, union
from nextbest.live_features import Plan
from nextbest.live_history import history
from nextbest.messages import Profile
from nextbest.settings import Settings
from nextbest.wire import EventRow
from serving.app import running
from serving.intake import Intake
from serving.live_features import LiveFeatures
from serving.live_store import LiveStore
from serving.metrics import Meter
from serving.online_features import OnlineFeatures
from serving.processor import Processor
from tests.serving.conftest import FeatureHome, StoppedClock

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # ibis and sqlglot, when Feast is imported
]

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PLAN = Plan(
    [f"live_{what}_{unit}_{half}" for what in ("page_view", "add_to_cart", "purchase", "outcome_conversion", "click")
     for unit in ("count", "value") for half in ("1h", "1d", "7d")]
    + ["live_category_count_1d__beef", "live_hours_since__beef", "live_hours_since_purchase", "live_last_campaign"]
    + ["live_page_views_per_minute", "live_session_minutes", "live_session_events", "live_cart_items"]
    + ["live_cart_value", "live_cart_age_hours", "live_hours_since_campaign", "live_share_of_hour"]
    + ["live_share_of_weekday", "live_burst_score"]
)  # fmt: skip
ZONE = {"time_zone": "America/Chicago"}


def _now() -> datetime:
    return datetime.now(UTC)


class Home:
    """Log, State, door and event processor of a home; readers and writers of its features."""

    def __init__(self, settings: Settings, contracts: dict[str, Contract], clock: StoppedClock) -> None:
        self.settings = settings
        self.log = SqliteLog(settings.event_log)
        self.state: OpenState = open_state(settings)
        self.quarantine = Quarantine(settings.rejected_events, contracts)
        self.door = Intake(
            contracts=contracts,
            log=self.log,
            state=self.state,
            clock=clock,
            quarantine=self.quarantine,
            meter=Meter(settings.metrics),
        )

    def close(self) -> None:
        self.log.close()
        self.state.close()
        self.quarantine.close()

    def projection(self, store: LiveStore | None = None) -> LiveFeatures:
        return LiveFeatures(self.state, store or LiveStore(self.settings, _now))

    @asynccontextmanager
    async def following(self, projection: LiveFeatures | None = None) -> AsyncIterator[None]:
        """The event processor runs."""
        store = LiveStore(self.settings, _now)
        processor = Processor(
            log=self.log,
            state=self.state,
            skipped=SkippedRecords(self.settings.skipped_records),
            clock=_now,
            projections=[projection or self.projection(store)],
        )
        async with running(processor.follow()), running(processor.project()):
            yield
        await store.close()

    async def caught_up(self, within_s: float = 120.0) -> None:
        """Return once live states are at the log's end."""
        log_id = await self.log.log_id()
        async with asyncio.timeout(within_s):
            while (await self.state.projected("live", log_id, ())).offset < await self.log.last_offset():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def profiles(self, *customers: str) -> list[Profile]:
        """What a decision reads, without waiting for anything."""
        reader = OnlineFeatures(self.settings, 0.5, lambda: 0.0)
        async with running(reader.keep_open()):
            await asyncio.wait_for(reader.tried.wait(), 30)
            assert not reader._why_slow  # noqa: SLF001  it reads what Feast stores without Feast
            return [await reader.profile(customer) for customer in customers]

    async def states(self, *customers: str) -> list[str | None]:
        """The live states that are stored for decisions."""
        found = [each.features.get(LIVE_STATE) for each in await self.profiles(*customers)]
        return [each if isinstance(each, str) else None for each in found]


@pytest.fixture
def live_home(feature_home: FeatureHome, contracts: dict[str, Contract], clock: StoppedClock) -> Iterator[Home]:
    """On SQLite, and on Redis; the store has the view of live states."""
    feature_home.define_live()
    with closing(Home(feature_home.settings, contracts, clock)) as home:
        yield home


def event(name: str, customer: str, at: datetime, what: str = "page_view", **said: Any) -> EventRow:
    row = {"event_id": name, "customer_id": customer, "type": what, "channel": "web", "occurred_at": at.isoformat()}
    return EventRow("events", row | said)


def login(kind: str, number: int, customer: str) -> EventRow:
    said = {"kind": kind, "identifier_hmac": f"{number:064x}", "customer_id": customer, "linked_at": NOW.isoformat()}
    return EventRow("identities", said)


def _some(customer: str, chance: random.Random) -> list[EventRow]:
    """What a customer did, in no order: some of it before the horizon, some at the same moment."""
    rows = []
    for n in range(60):
        ago = timedelta(seconds=chance.choice([0, 1, 59, 600, 7_200, 90_000, 2_000_000, 3_000_000]) * chance.random())
        at, name = NOW - ago, f"{customer}/{n}"
        said = {"category": chance.choice(["BEEF", "MILK"]), "value": round(chance.random() * 100, 2)}
        action = {"action": chance.choice(["beef", "milk"])}
        match n % 6:
            case 4:
                rows.append(
                    EventRow(
                        "outcomes",
                        {"outcome_id": name, "customer_id": customer, "kind": "conversion", "currency": "USD"}
                        | {"occurred_at": at.isoformat(), "value": said["value"]}
                        | action,
                    )
                )
            case 5:
                amounts = dict.fromkeys(["retail_discount", "coupon_discount", "coupon_match_discount"], 0.0)
                rows.append(
                    EventRow(
                        "transactions",
                        {"basket_id": name, "product_id": "p", "customer_id": customer, "store_id": "s", "quantity": 1}
                        | {"sales_value": said["value"], "currency": "USD", "occurred_at": at.isoformat()}
                        | amounts,
                    )
                )
            case kind:
                what = ("page_view", "add_to_cart", "click", "impression")[kind]
                rows.append(event(name, customer, at, what, **said, **action))
    chance.shuffle(rows)
    return rows


@pytest.mark.parametrize("seed", [1, 2])
def test_online_and_offline_are_equal_to_the_last_bit(live_home: Home, clock: StoppedClock, seed: int) -> None:
    """The same events, through the door in any order, and out of the log as training reads them."""
    chance = random.Random(seed)  # noqa: S311  no secret
    customers = [f"c{n}" for n in range(5)]
    rows = [row for customer in customers for row in _some(customer, chance)]
    chance.shuffle(rows)

    async def live() -> list[Profile]:
        async with live_home.following():
            for begin in range(0, len(rows), 50):
                answer = await live_home.door.take(rows[begin : begin + 50])
                assert answer.accepted == len(rows[begin : begin + 50]), answer.results
                clock.now += timedelta(seconds=1)
            await live_home.caught_up()
            return await live_home.profiles(*customers)

    now = NOW + timedelta(minutes=3)
    online = [PLAN.features(decode(str(each.features[LIVE_STATE])), ZONE, now) for each in asyncio.run(live())]
    said = [record for _, record in live_home.log.read_sync(0, 10_000)]
    chance.shuffle(said)
    offline = history(said, {each: [now] for each in customers}, PLAN, dict.fromkeys(customers, ZONE))
    assert online == [features for _, _, features in offline]
    assert all(len(each) > 40 for each in online)


def test_an_event_is_a_feature(live_home: Home) -> None:
    """Acknowledged by the door, read by the next decision; a visitor whom no batch has seen is known by it."""

    async def visit() -> tuple[Profile, Profile]:
        reader = OnlineFeatures(live_home.settings, 0.5)
        async with running(reader.keep_open()), live_home.following():
            await reader.tried.wait()
            await live_home.door.take([event("e0", "somebody", NOW)])
            await live_home.caught_up()  # once Feast was imported
            before = await reader.profile("visitor:v1")
            await live_home.door.take([event("e1", "visitor:v1", NOW)])
            await live_home.caught_up()
            return before, await reader.profile("visitor:v1")

    before, after = asyncio.run(visit())
    assert before.unavailable == "unknown_customer"
    assert (after.unavailable, after.is_live_only) == ("", True)
    assert decode(str(after.features[LIVE_STATE])).hours["page_view"][1] == 1


def test_a_known_customer_is_not_only_live(live_home: Home, feature_home: FeatureHome) -> None:
    """What was copied from the warehouse stays beside it."""
    feature_home.write("habits", "c1", baskets=3, spend=0.1, store="s", is_new=False)

    async def visit() -> Profile:
        async with live_home.following():
            await live_home.door.take([event("e1", "c1", NOW)])
            await live_home.caught_up()
        return (await live_home.profiles("c1"))[0]

    profile = asyncio.run(visit())
    assert (profile.is_live_only, profile.features["baskets"]) == (False, 3)
    assert LIVE_STATE in profile.features


def test_erased_is_erased_and_what_comes_after_is_new(live_home: Home) -> None:
    """State and store hold nothing of what was before."""
    word = erasure("erasure/1", "c1", NOW)

    async def forget() -> tuple[list[str | None], list[str | None]]:
        async with live_home.following():
            await live_home.door.take([event("e1", "c1", NOW), event("e2", "c2", NOW)])
            await live_home.log.append([word])
            await live_home.caught_up()
            gone = await live_home.states("c1", "c2")
            kept = await live_home.state.projected("live", await live_home.log.log_id(), ["state/c1", "state/c2"])
            assert list(kept.values) == ["state/c2"]
            await live_home.door.take([event("e3", "c1", NOW)])
            await live_home.caught_up()
            return gone, await live_home.states("c1")

    (gone, other), (again,) = asyncio.run(forget())
    assert (gone, other is None) == (None, False)
    assert decode(str(again)).hours["page_view"][1] == 1


def test_a_merge_is_a_union_and_a_split_undoes_it(live_home: Home) -> None:
    """The customer has what was done under every name, and under the others there is nothing while they are theirs."""
    names = ("a", "b", f"anonymous_id:{1:064x}")
    done = [event(f"e{name}", name, NOW, "click", value=n + 0.1) for n, name in enumerate(names)]

    async def merge_and_split() -> list[list[str | None]]:
        async with live_home.following():
            seen = []
            for word in ("", "link", "unlink"):
                if not word:
                    await live_home.door.take(done)
                else:
                    say = link if word == "link" else unlink
                    await live_home.log.append([say("a", other, NOW, by="me") for other in names[1:]])
                await live_home.caught_up()
                seen.append(await live_home.states(*names))
            return seen

    before, merged, split = asyncio.run(merge_and_split())
    assert split == before
    said = [record for _, record in live_home.log.read_sync(0, 10) if record.type == "event"]
    assert merged == [encode(union([], said)), None, None]


def test_what_turns_out_to_be_shared_is_taken_from_everybody(live_home: Home) -> None:
    """A device that a second customer logs in on: the first, whom no word is about, loses what was done there."""
    device = f"device:{7:064x}"

    async def share() -> tuple[list[str | None], list[str | None]]:
        async with live_home.following():
            await live_home.door.take([event("e1", "a", NOW), event("e2", device, NOW), login("device", 7, "a")])
            await live_home.caught_up()
            alone = await live_home.states("a", device)
            await live_home.door.take([login("device", 7, "b")])
            await live_home.caught_up()
            return alone, await live_home.states("a", device, "b")

    alone, shared = asyncio.run(share())
    first, second = [record for _, record in live_home.log.read_sync(0, 2)]
    assert alone == [encode(union([], [first, second])), None]
    assert shared == [encode(union([], [first])), encode(union([], [second])), None]


def test_a_crash_before_the_offset_is_kept_changes_nothing(live_home: Home) -> None:
    """What was written to the store is written again, to the same effect."""

    async def crash() -> list[str | None]:
        await live_home.door.take([event(f"e{n}", "c1", NOW) for n in range(3)])
        store, records = LiveStore(live_home.settings, _now), await live_home.log.read(0, 10)
        projection = live_home.projection(store)

        async def nothing(_: Sequence[str]) -> dict[str, str]:
            return {}

        await store.tried()
        await projection.fold(records, nothing)
        first = await live_home.states("c1")
        async with live_home.following(projection):
            await live_home.caught_up()
        return first + await live_home.states("c1")

    first, again = asyncio.run(crash())
    assert first == again
    assert decode(str(first)).hours["page_view"][1] == 3


def test_a_store_that_was_tried_is_written_to_at_once(live_home: Home, tmp_path: Path) -> None:
    """A server that is ready need not open it first; where there is none, there is nothing to wait for."""

    async def tried() -> bool:
        store = LiveStore(live_home.settings, _now)
        await store.tried()
        is_new = await store.is_new()
        await store.close()
        await LiveStore(Settings(home=tmp_path / "empty"), _now).tried()
        return is_new

    assert asyncio.run(tried()) == (not live_home.settings.state_url)


def test_events_go_on_being_taken_where_there_is_no_store(
    tmp_path: Path, contracts: dict[str, Contract], clock: StoppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Live states wait for the first pipeline, are told of once, and catch up when the store appears."""
    with closing(Home(Settings(home=tmp_path), contracts, clock)) as home:

        async def pipeline_later() -> int:
            async with home.following():
                await home.door.take([event("e1", "c1", NOW)])
                await asyncio.sleep(2.5)
                waiting = (await home.state.projected("live", await home.log.log_id(), ())).offset
                assert await home.state.applied_offset(await home.log.log_id()) == 1
                await asyncio.to_thread(lambda: FeatureHome(home.settings).define_live())
                await home.caught_up()
            return waiting

        assert asyncio.run(pipeline_later()) == 0
        (state,) = asyncio.run(home.states("c1"))
        assert decode(str(state)).hours["page_view"][1] == 1
    assert caplog.text.count("there is no feature store yet: `nextbest pipeline` makes one") == 1


def test_a_store_that_was_made_anew_gets_everything_again(
    tmp_path: Path, contracts: dict[str, Contract], clock: StoppedClock
) -> None:
    """On SQLite the file of features can be lost without State."""
    settings = Settings(home=tmp_path)
    FeatureHome(settings).define_live()
    with closing(Home(settings, contracts, clock)) as home:

        async def lose() -> list[str | None]:
            await home.door.take([event("e1", "c1", NOW), event("e2", "c2", NOW)])
            async with home.following():
                await home.caught_up()
            before = await home.states("c1", "c2")
            gc.collect()  # whoever still had the file open would take the new one's log away when it is let go of
            for path in settings.feast_online.parent.glob(f"{settings.feast_online.name}*"):
                path.unlink()
            await asyncio.to_thread(lambda: FeatureHome(settings).define_live())
            assert await home.states("c1") == [None]
            async with home.following():
                await home.door.take([event("e3", "c2", NOW)])
                await home.caught_up()
                async with asyncio.timeout(10):
                    while (await home.states("c1"))[0] is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                await home.caught_up()
            return [*before, *await home.states("c1", "c2")]

        one, two, one_again, two_again = asyncio.run(lose())
    assert (one, two) != (None, None)
    assert one_again == one
    assert decode(str(two_again)).hours["page_view"][1] == 2


def test_who_writes_locks_out_nobody_who_reads(live_home: Home) -> None:
    """A decision reads what was there before, while a write is under way."""
    if live_home.settings.state_url:
        return

    async def visit() -> None:
        async with live_home.following():
            await live_home.door.take([event("e1", "c1", NOW)])
            await live_home.caught_up()

    asyncio.run(visit())
    with closing(sqlite3.connect(live_home.settings.feast_online, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert asyncio.run(live_home.states("c1")) != [None]


def test_nothing_is_a_state_too() -> None:
    """Whoever did nothing has features as well: the decision's rules find a number for each."""
    assert PLAN.features(NOTHING, {}, NOW)["live_page_view_count_1h"] == 0.0
