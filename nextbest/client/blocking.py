"""The client for code that waits.

Belongs here: sending and waiting. Does not belong here: what is sent (`nextbest.client.calls`), or when it is sent
again (`nextbest.client.tries`).
"""

import random as chance
import time
from collections.abc import Callable, Iterable, Mapping
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


class Client:
    """A client of the API with connections that are kept; threads may share it.

    Every method raises `ApiError` where the API says no, and `ApiUnavailableError`, which is one, where no answer could
    be had. A call that failed in passing (no connection, 429, 502, 503, 504) is tried again, if that cannot do harm.

    Args:
        url: Where the API is.
        key: An API key; it is in no message and no `repr`.
        timeout_s: For a call with all its tries, and the waiting between them.
        retries: Most tries after the first.
        transport: httpx's, where certificates or proxies ask for one.
        clock: Seconds, of a clock that nobody sets back.
        sleep: Waits so many seconds.
        random: From 0 to 1, for the time between tries.

    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str,
        timeout_s: float = 10.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._patience = Patience(timeout_s=timeout_s, retries=retries, clock=clock, random=random)
        self._http = httpx.Client(transport=transport, **connections.options(url, key))
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={str(self._http.base_url)!r})"

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def decide(
        self, customer: Customer, placements: Iterable[str], **options: Unpack[DecideOptions]
    ) -> DecisionResponse:
        """Fill placements for one customer; without a request id it gets one, which all its tries share."""
        return self._ask(calls.decide(customer, placements, options))

    def decision(self, decision_id: str, *, explain: bool = False) -> DecisionDetails:
        """The record of a decision; with `explain` also whether it can be decided again, and what it rests on."""
        return self._ask(calls.decision(decision_id, explain=explain))

    def send(self, events: Iterable[EventRow]) -> EventsResponse:
        """Say what happened: 500 rows at most, each accepted, a duplicate, or rejected. None valid is an `ApiError`."""
        return self._ask(calls.send(events))

    def consents(self, customer: Customer) -> Consents:
        """What a customer allows."""
        return self._ask(calls.consents(customer))

    def set_consents(self, customer: Customer, consents: Mapping[str, Status]) -> Consents:
        """Say what a customer allows, by purpose; the next decision obeys it."""
        return self._ask(calls.set_consents(customer, consents))

    def export(self, customer: Customer) -> CustomerExport:
        """Everything that is kept of a customer online."""
        return self._ask(calls.export(customer))

    def erase(self, customer: Customer) -> Erasure:
        """Forget a customer."""
        return self._ask(calls.erase(customer))

    def pause(self, action: str, reason: str = "") -> SwitchResponse:
        """Stop an action: the next decision does not propose it. At a second try `changed` is false."""
        return self._ask(calls.switch(action, "pause", reason))

    def resume(self, action: str, reason: str = "") -> SwitchResponse:
        """Let decisions propose an action again."""
        return self._ask(calls.switch(action, "resume", reason))

    def _ask(self, call: Call[T]) -> T:
        tries = Tries(call, self._patience)
        while True:
            try:
                return self._once(call, tries)
            except (httpx.RequestError, ApiError) as error:
                self._sleep(tries.wait_s(error))

    def _once(self, call: Call[T], tries: Tries) -> T:
        extensions = {"timeout": tries.timeouts()}
        with self._http.stream(call.method, call.path, content=call.content, extensions=extensions) as response:
            content = b"".join([tries.in_time(piece) for piece in response.iter_bytes()])
        return calls.read(call, response, content)
