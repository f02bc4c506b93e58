"""The two clients, which are to behave alike: each test asks both, of a server that is made up or one that is slow."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import msgspec
import pytest

from nextbest.client import ApiError, ApiUnavailableError, AsyncClient, Client, DecisionResponse

KEY = "nb_0123abcd_" + "5e" * 32
Handler = Callable[[httpx.Request], httpx.Response]
ANSWER = {
    "decision_id": "d1",
    "request_id": "r1",
    "customer_id": "c1",
    "occurred_at": "2026-03-02T12:00:00Z",
    "mode": "live",
    "tier": "full",
    "degraded": [],
    "logged": True,
    "policy_hash": "p",
    "model_set_id": None,
    "placements": [],
    "stage_us": {},
}


class Asker:
    """A client of either kind, as a function; it keeps how long it slept."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.slept: list[float] = []

    def __call__(self, handler: Handler, method: str = "decide", **options: Any) -> Any:
        return self.ask(method, transport=httpx.MockTransport(handler), **options)

    def ask(self, method: str, *, call: dict[str, Any] | None = None, **options: Any) -> Any:
        call = {"customer": "c1", "placements": ["home_banner"]} if call is None else call
        options = {"key": KEY, "random": lambda: 1.0, **options}
        if self.kind == "sync":
            with Client(sleep=self.slept.append, **options) as client:
                return getattr(client, method)(**call)
        return asyncio.run(self._ask(method, call, options))

    async def _ask(self, method: str, call: dict[str, Any], options: dict[str, Any]) -> Any:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        async with AsyncClient(sleep=sleep, **options) as client:
            return await getattr(client, method)(**call)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Asker:
    return Asker(request.param)


def test_a_call_is_answered_with_its_type(ask: Asker) -> None:
    """The key goes along, as a bearer token, and the body is JSON."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    decided = ask(handler)
    assert isinstance(decided, DecisionResponse)
    assert (decided.decision_id, ask.slept) == ("d1", [])
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "http://127.0.0.1:8000/v1/decisions")
    assert (request.headers["authorization"], request.headers["content-type"]) == (f"Bearer {KEY}", "application/json")


def test_every_try_of_a_decision_has_the_same_request_id(ask: Asker) -> None:
    """A repeated request is the same decision, whichever of its answers got lost."""
    sent: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        if len(sent) == 1:
            raise httpx.ReadError("dropped")
        return httpx.Response(*[(503,), (200,)][len(sent) - 2], json=ANSWER)

    ask(handler)
    assert len(sent) == 3
    assert len({msgspec.json.decode(content)["request_id"] for content in sent}) == 1
    assert ask.slept == [0.1, 0.2]


def test_the_api_says_when_to_come_again(ask: Asker) -> None:
    """Retry-After is waited for."""
    answers = [httpx.Response(429, headers={"Retry-After": "2"}), httpx.Response(200, json=ANSWER)]
    ask(lambda _request: answers.pop(0))
    assert ask.slept == [2.1]


def test_tries_are_used_up(ask: Asker) -> None:
    """The error says what the last try was told."""
    with pytest.raises(ApiUnavailableError, match="503 Service Unavailable") as caught:
        ask(lambda _request: httpx.Response(503), retries=3)
    assert (caught.value.status, len(ask.slept)) == (503, 3)


def test_a_no_is_a_no(ask: Asker) -> None:
    """It is not asked for again, and it is no lack of availability."""
    with pytest.raises(ApiError, match="403 Forbidden") as caught:
        ask(lambda _request: httpx.Response(403))
    assert type(caught.value) is ApiError
    assert ask.slept == []


def test_the_time_is_over_for_all_tries_together(ask: Asker) -> None:
    """However many tries are left."""
    clock = iter(range(100))
    with pytest.raises(ApiUnavailableError):
        ask(lambda _request: httpx.Response(503), retries=50, timeout_s=5.0, clock=lambda: float(next(clock)))
    assert 0 < len(ask.slept) < 5


@pytest.mark.parametrize(
    ("method", "call", "sent"),
    [
        ("consents", {"customer": "c1"}, "GET /v1/customers/c1/consents"),
        ("set_consents", {"customer": "c1", "consents": {"marketing": "granted"}}, "PUT /v1/customers/c1/consents"),
        ("export", {"customer": "c1"}, "GET /v1/customers/c1/export"),
        ("erase", {"customer": "c1"}, "DELETE /v1/customers/c1"),
        ("decision", {"decision_id": "d1", "explain": True}, "GET /v1/decisions/d1?explain=true"),
        ("send", {"events": []}, "POST /v1/events"),
        ("pause", {"action": "beef", "reason": "a recall"}, "POST /v1/actions/beef/pause"),
        ("resume", {"action": "beef"}, "POST /v1/actions/beef/resume"),
    ],
)
def test_every_call_goes_where_the_api_has_it(ask: Asker, method: str, call: dict[str, Any], sent: str) -> None:
    """With the method that it has there."""
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.raw_path.decode()}")
        return httpx.Response(404)

    with pytest.raises(ApiError, match="404"):
        ask(handler, method, call=call)
    assert seen == [sent]


@pytest.mark.parametrize("customer", [18, None, ("email",), ("email", 18)])
def test_a_customer_is_named_as_the_api_names_one(ask: Asker, customer: object) -> None:
    """A number is not an id: what to write instead is said before anything is sent."""
    with pytest.raises(TypeError, match="a customer is an id as a str, or a pair of kind and hmac, and not"):
        ask(lambda _request: httpx.Response(500), call={"customer": customer, "placements": ["home_banner"]})


def test_one_placement_may_be_said_without_a_list(ask: Asker) -> None:
    """Its letters are no placements."""
    sent: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(200, json=ANSWER)

    ask(handler, call={"customer": "18", "placements": "home_banner"})
    assert msgspec.json.decode(sent[0])["placements"] == ["home_banner"]


def test_an_api_behind_a_path(ask: Asker) -> None:
    """A gateway may have put it there."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url == "https://gateway.example/nextbest/v1/decisions"
        return httpx.Response(200, json=ANSWER)

    ask(handler, url="https://gateway.example/nextbest/")


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_key_is_never_shown(client: Callable[..., Any]) -> None:
    """Neither by `repr`, nor by the message about one that is wrong; a line end after it is no part of it."""
    assert repr(client(key=f"{KEY}\n")) == f"{client.__name__}(url='http://127.0.0.1:8000')"
    for wrong in ("", f"{KEY}\n{KEY}", f"{KEY} {KEY}", f"{KEY}é"):
        with pytest.raises(ValueError, match="nextbest keys create") as caught:
            client(key=wrong)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://user:secret@host", "http://h/?a=b"])
def test_an_address_is_checked_at_once(url: str) -> None:
    """A password in it would take the key's place."""
    with pytest.raises(ValueError, match="the URL is like") as caught:
        Client(url, key=KEY)
    assert "secret" not in str(caught.value)


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a server that begins an answer and then sends a byte from time to time."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with closing(connection), suppress(OSError):  # the client does not stay to the end
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not is_over.wait(0.02):
                connection.sendall(b" ")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    is_over.set()
    thread.join()
    listener.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("server", ["silent", "dripping"])
def test_a_slow_server_costs_no_more_than_was_said(ask: Asker, server: str, request: pytest.FixtureRequest) -> None:
    """On real sockets; the timeout that httpx takes from us is one that it asks for at each step."""
    url, began = request.getfixturevalue(server), time.monotonic()
    with pytest.raises(ApiUnavailableError, match="no answer: ReadTimeout") as caught:
        ask.ask("decide", url=url, timeout_s=0.3)
    assert caught.value.status is None
    assert time.monotonic() - began < 5


def test_nobody_at_the_address_is_tried_again(ask: Asker) -> None:
    """A server that starts anew is back in a moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ApiUnavailableError, match="no answer: ConnectError"):
        ask.ask("decide", url=url)
    assert ask.slept == [0.1, 0.2]
