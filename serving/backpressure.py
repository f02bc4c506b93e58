"""Backpressure: a replica that has all the requests it can serve soon refuses the next at once.

Belongs here: counting what is in flight, and the refusal. Does not belong here: how many are too many
(`serving.app`), or how often one customer may ask.
"""

from http import HTTPStatus

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from nextbest.wire import ProblemDetails
from serving.responses import SECURITY

_RETRY_AFTER_S = 1
_OPERATIONS = frozenset({"/healthz", "/readyz"})
"""Never refused: who asks these would end or leave out a replica that does what it can."""
EVENTS = frozenset(
    f"/v1/{name}" for name in ("events", "batch", "track", "identify", "page", "screen", "alias", "group")
)
"""Where events come in: ours, and those of Segment's HTTP API."""


class _Places:
    """The requests of one sort that a replica has at a time, and what it says to those that are too many."""

    def __init__(self, limit: int, status: HTTPStatus, detail: str) -> None:
        self.taken = 0
        self._limit = limit
        self._status = status
        self._body = msgspec.json.encode(ProblemDetails(status.phrase, status, detail))
        self._headers = [
            *((name.encode(), said.encode()) for name, said in SECURITY.items()),
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(self._body)).encode()),
            (b"retry-after", str(_RETRY_AFTER_S).encode()),
        ]

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if self.taken >= self._limit:
            await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
            await send({"type": "http.response.body", "body": self._body})
            return
        self.taken += 1
        try:
            await app(scope, receive, send)
        finally:
            self.taken -= 1


class Backpressure:
    """An ASGI application that passes a limited number of requests at a time to `app`, and refuses the others.

    Events have places of their own, so that they never starve decisions, nor decisions them: one too many is answered
    429, since whoever sends it is to slow down. Anything else is answered 503.

    Args:
        app: what is passed to.
        limit: most requests that are no events.
        events: most requests that bring events.

    """

    def __init__(self, app: ASGIApp, limit: int, events: int) -> None:
        self._app = app
        self._events = _Places(
            events,
            HTTPStatus.TOO_MANY_REQUESTS,
            "this replica has all the events it can take soon: none of these was taken, send them again in a moment",
        )
        self._others = _Places(
            limit,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "every replica has all the requests it can answer soon: nothing was done, repeat this one in a moment",
        )

    @property
    def in_flight(self) -> int:
        """How many requests it has."""
        return self._events.taken + self._others.taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPERATIONS:
            await self._app(scope, receive, send)
        else:
            places = self._events if scope["path"] in EVENTS else self._others
            await places.serve(self._app, scope, receive, send)
