"""`nextbest.client` and the API, which must understand each other: every call, on a real log and State."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from nextbest.adapters.key_file import KeyFile
from nextbest.client import ApiError, ApiUnavailableError, AsyncClient, EventRow
from nextbest.keys import SCOPES
from nextbest.settings import Settings

T = TypeVar("T")
Use = Callable[..., Any]
Publish = Callable[[Settings, float], str]


@pytest.fixture
def use(client: Any, settings: Settings, clock: Any) -> Use:
    """Call it with what to do with a client of the API, for what comes of it; `rate` is its requests a second."""

    def used(do: Callable[[AsyncClient], Awaitable[T]], rate: int = 0, **options: Any) -> T:
        async def run() -> T:
            async with client() as connected:
                _, key = KeyFile(settings.api_keys).create("client", tuple(SCOPES), rate, clock())
                transport = connected._transport  # noqa: SLF001  where httpx keeps it
                async with AsyncClient("http://test", key=key, transport=transport, **options) as typed:
                    return await do(typed)

        return asyncio.run(run())

    return used


def impression(decision_id: str, event_id: str = "e1", **fields: Any) -> EventRow:
    row = {"event_id": event_id, "customer_id": "c1", "type": "impression", "channel": "web", "action": "beef"}
    return EventRow(
        "events", {**row, "decision_id": decision_id, "slot": 0, "occurred_at": "2026-03-02T12:00Z"} | fields
    )


def test_from_a_decision_to_what_came_of_it(use: Use, settings: Settings, publish: Publish) -> None:
    """Decide, say that it was seen, and look at its record."""
    publish(settings, 0.1)

    async def do(api: AsyncClient) -> None:
        decided = await api.decide("c1", ["home_banner"], limit=1, include=["content", "explanation"], budget_ms=9_000)
        (slot,) = decided.placements[0].slots
        assert (slot.action, slot.content, decided.tier) == ("beef", {"headline": "Beef"}, "full")
        assert decided.explanation
        sent = await api.send([impression(decided.decision_id), impression(decided.decision_id, "e2", type="dream")])
        assert [each.status for each in sent.results] == ["accepted", "rejected"]
        details = await api.decision(decided.decision_id, explain=True)
        assert (details.record.decision_id, details.replay and details.replay.identical) == (decided.decision_id, True)

    use(do)


def test_a_request_sent_again_is_the_same_decision(use: Use, settings: Settings, publish: Publish) -> None:
    """The caller's request id goes along; the same one for another request is refused."""
    publish(settings, 0.1)

    async def do(api: AsyncClient) -> None:
        first, again = [await api.decide("c1", ["home_banner"], request_id="r1") for _ in range(2)]
        assert first.decision_id == again.decision_id
        with pytest.raises(ApiError, match="409 Conflict"):
            await api.decide("c2", ["home_banner"], request_id="r1")

    use(do)


def test_a_customer_says_no_and_is_forgotten(use: Use, settings: Settings, publish: Publish) -> None:
    """Consents, export and erasure."""
    publish(settings, 0.1)

    async def do(api: AsyncClient) -> None:
        assert [each.is_allowed for each in (await api.consents("c1")).consents] == [True]
        said = await api.set_consents("c1", {"marketing": "withdrawn"})
        assert [(each.status, each.is_allowed) for each in said.consents] == [("withdrawn", False)]
        decided = await api.decide("c1", ["home_banner"])
        assert {slot.action for slot in decided.placements[0].slots} == {"do_nothing"}
        exported = await api.export("c1")
        assert {entry.type for entry in exported.log} == {"consent", "decision"}
        assert (await api.erase("c1")).log_entries == len(exported.log)
        assert (await api.export("c1")).state.consents == {}
        assert (await api.erase("c1")).log_entries == 0  # which makes it safe to repeat

    use(do)


def test_an_action_is_stopped_and_started_again(use: Use, settings: Settings, publish: Publish) -> None:
    """The next decision obeys; said again, nothing changes."""
    publish(settings, 0.1)

    async def do(api: AsyncClient) -> None:
        paused = [await api.pause("beef", "a recall") for _ in range(2)]
        assert [(each.is_paused, each.changed) for each in paused] == [(True, True), (True, False)]
        decided = await api.decide("c1", ["home_banner"], limit=1)
        assert decided.placements[0].slots[0].action == "milk"
        assert not (await api.resume("beef")).is_paused

    use(do)


def test_the_parts_of_a_request_that_are_wrong_are_named(use: Use) -> None:
    """As the API names them."""

    async def do(api: AsyncClient) -> None:
        with pytest.raises(ApiError) as caught:
            await api.decide("c1", ["nowhere"])
        assert (caught.value.status, caught.value.errors[0].pointer) == (422, "#/placements")
        with pytest.raises(ApiError) as caught:
            await api.send([impression("d1", type="dream"), impression("d1", "e2", action="No Slug")])
        assert [each.pointer for each in caught.value.errors] == [
            "#/events/0/properties/type",
            "#/events/1/properties/action",
        ]
        with pytest.raises(ApiError, match="422"):
            await api.consents(("email", "0f"))

    use(do)


def test_a_key_that_asks_too_often_waits(use: Use) -> None:
    """As long as the API says, if there is time for it."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def do(api: AsyncClient) -> None:
        for _ in range(2):
            await api.consents("c1")

    with pytest.raises(ApiUnavailableError, match="429 Too Many Requests") as caught:
        use(do, rate=1, retries=3, sleep=sleep)
    assert caught.value.retry_after_s
    assert len(slept) == 3
    assert all(seconds >= 1.0 for seconds in slept)
