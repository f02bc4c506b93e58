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
_BUSY = msgspec.json.encode(
    ProblemDetails(
        HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "every replica has all the requests it can answer soon: nothing was done, repeat this one in a moment",
    )
)
_HEADERS = [
    *((name.encode(), said.encode()) for name, said in SECURITY.items()),
    (b"content-type", b"application/problem+json"),
    (b"content-length", str(len(_BUSY)).encode()),
    (b"retry-after", str(_RETRY_AFTER_S).encode()),
]


class Backpressure:
    """An ASGI application that passes at most `limit` requests at a time to `app`, and answers the others 503."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.in_flight = 0
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPERATIONS:
            await self._app(scope, receive, send)
        elif self.in_flight >= self._limit:
            await send({"type": "http.response.start", "status": HTTPStatus.SERVICE_UNAVAILABLE, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _BUSY})
        else:
            self.in_flight += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self.in_flight -= 1
