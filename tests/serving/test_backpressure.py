"""Backpressure: what is passed on, what is refused and how."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from serving.backpressure import EVENTS, Backpressure

LIMIT = 2


class Slow:
    """Answers when it is let, or fails."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.is_full = asyncio.Event()
        self.has_one_more = asyncio.Event()
        self.scopes: list[str] = []
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        self.scopes.append(scope["type"])
        if scope["type"] != "http":
            return
        if self.scopes.count("http") == LIMIT:
            self.is_full.set()
        if self.scopes.count("http") > LIMIT:
            self.has_one_more.set()
        await self.let.wait()
        if self.error:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"slow"})


@asynccontextmanager
async def full(slow: Slow, path: str = "/v1/decisions") -> AsyncIterator[tuple[Backpressure, httpx.AsyncClient]]:
    """A replica that has as many requests to a path as it takes."""
    limited = Backpressure(slow, LIMIT, LIMIT)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://test") as client:
        under_way = [asyncio.create_task(client.post(path)) for _ in range(LIMIT)]
        await slow.is_full.wait()
        yield limited, client
        slow.let.set()
        await asyncio.gather(*under_way, return_exceptions=True)


def test_over_the_limit_is_refused_at_once() -> None:
    """With problem details and when to come again; what is under way is answered, and then there is room."""

    async def ask() -> None:
        async with full(Slow()) as (limited, client):
            refused = await client.post("/v1/decisions")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.headers["content-type"] == "application/problem+json"
            problem = refused.json()
            assert (problem["status"], problem["title"]) == (503, "Service Unavailable")
            assert limited.in_flight == LIMIT
        assert limited.in_flight == 0

    asyncio.run(ask())


@pytest.mark.parametrize("path", sorted(EVENTS))
def test_too_many_events_are_told_to_slow_down(path: str) -> None:
    """429 with when to come again, whichever of their paths they come by; decisions have places of their own."""

    async def ask() -> None:
        slow = Slow()
        async with full(slow, "/v1/events") as (limited, client):
            refused = await client.post(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["title"] == "Too Many Requests"
            deciding = asyncio.create_task(client.post("/v1/decisions"))
            await slow.has_one_more.wait()
            slow.let.set()
            assert (await deciding).status_code == 200
        assert limited.in_flight == 0

    asyncio.run(ask())


def test_events_are_taken_while_decisions_are_refused() -> None:
    """What happened is not lost because many ask what to show."""

    async def ask() -> int:
        slow = Slow()
        async with full(slow) as (_, client):
            sending = asyncio.create_task(client.post("/v1/events"))
            await slow.has_one_more.wait()
            assert (await client.post("/v1/decisions")).status_code == 503
            slow.let.set()
            return (await sending).status_code

    assert asyncio.run(ask()) == 200


def test_room_again_after_an_answer() -> None:
    """A request that ended takes no place."""

    async def ask() -> list[int]:
        slow = Slow()
        slow.let.set()
        limited = Backpressure(slow, 1, 1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://test") as client:
            return [(await client.get("/v1/decisions")).status_code for _ in range(3)]

    assert asyncio.run(ask()) == [200] * 3


def test_a_request_that_fails_gives_its_place_back() -> None:
    """Otherwise a defect would fill a replica for ever."""

    async def ask() -> int:
        slow = Slow()
        slow.error = ValueError("a defect")
        slow.let.set()
        limited = Backpressure(slow, 1, 1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://test") as client:
            with pytest.raises(ValueError, match="a defect"):
                await client.get("/v1/decisions")
        return limited.in_flight

    assert asyncio.run(ask()) == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_never_refused(path: str) -> None:
    """A full replica is not a sick one."""

    async def ask() -> int:
        slow = Slow()
        async with full(slow) as (_, client):
            probe = asyncio.create_task(client.get(path))
            slow.let.set()
            return (await probe).status_code

    assert asyncio.run(ask()) == 200


def test_a_lifespan_is_passed_on() -> None:
    """Starting and ending a replica counts as no request."""

    async def start() -> list[str]:
        slow = Slow()

        async def nothing(*_: object) -> None: ...

        await Backpressure(slow, 0, 0)({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]
        return slow.scopes

    assert asyncio.run(start()) == ["lifespan"]
