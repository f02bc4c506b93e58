"""The client for code that has an event loop.

Belongs here: sending and waiting. Does not belong here: what is sent (`nextbest.client.calls`), or when it is sent
again (`nextbest.client.tries`).
"""

import asyncio
import random as chance
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from nextbest.client import calls, connections
from nextbest.client.calls import Call, Customer, DecideOptions
from nextbest.client.failures import ApiError
from nextbest.client.tries import Patience, Tries
from nextbest.wire import (
    Consents,
    CustomerExport,
    DecisionDetails,
    DecisionResponse,
    Erasure,
    EventRow,
    EventsResponse,
    Status,
    SwitchResponse,
)

T = TypeVar("T")


class AsyncClient:
    """`Client`, with the same methods and arguments, to be awaited; the tasks of one event loop may share it."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str,
        timeout_s: float = 10.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._patience = Patience(timeout_s=timeout_s, retries=retries, clock=clock, random=random)
        self._http = httpx.AsyncClient(transport=transport, **connections.options(url, key))
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={str(self._http.base_url)!r})"

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def decide(
        self, customer: Customer, placements: Iterable[str], **options: Unpack[DecideOptions]
    ) -> DecisionResponse:
        """Fill placements for one customer; without a request id it gets one, which all its tries share."""
        return await self._ask(calls.decide(customer, placements, options))

    async def decision(self, decision_id: str, *, explain: bool = False) -> DecisionDetails:
        """The record of a decision; with `explain` also whether it can be decided again, and what it rests on."""
        return await self._ask(calls.decision(decision_id, explain=explain))

    async def send(self, events: Iterable[EventRow]) -> EventsResponse:
        """Say what happened: 500 rows at most, each accepted, a duplicate, or rejected. None valid is an `ApiError`."""
        return await self._ask(calls.send(events))

    async def consents(self, customer: Customer) -> Consents:
        """What a customer allows."""
        return await self._ask(calls.consents(customer))

    async def set_consents(self, customer: Customer, consents: Mapping[str, Status]) -> Consents:
        """Say what a customer allows, by purpose; the next decision obeys it."""
        return await self._ask(calls.set_consents(customer, consents))

    async def export(self, customer: Customer) -> CustomerExport:
        """Everything that is kept of a customer online."""
        return await self._ask(calls.export(customer))

    async def erase(self, customer: Customer) -> Erasure:
        """Forget a customer."""
        return await self._ask(calls.erase(customer))

    async def pause(self, action: str, reason: str = "") -> SwitchResponse:
        """Stop an action: the next decision does not propose it. At a second try `changed` is false."""
        return await self._ask(calls.switch(action, "pause", reason))

    async def resume(self, action: str, reason: str = "") -> SwitchResponse:
        """Let decisions propose an action again."""
        return await self._ask(calls.switch(action, "resume", reason))

    async def _ask(self, call: Call[T]) -> T:
        tries = Tries(call, self._patience)
        while True:
            try:
                return await self._once(call, tries)
            except (httpx.RequestError, ApiError) as error:
                await self._sleep(tries.wait_s(error))

    async def _once(self, call: Call[T], tries: Tries) -> T:
        extensions = {"timeout": tries.timeouts()}
        async with self._http.stream(call.method, call.path, content=call.content, extensions=extensions) as response:
            content = b"".join([tries.in_time(piece) async for piece in response.aiter_bytes()])
        return calls.read(call, response, content)
