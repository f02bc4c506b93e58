"""Segments of a path: a name in one may hold any character, percent-encoded, `/` as `%2F`.

Belongs here: keeping an encoded `/` apart from one that separates, until the route is found. Servers decode the whole
path before anybody looks at its segments, and put a character of their own where it is not UTF-8: a customer would be
out of reach, or another one within it. Does not belong here: the routes (`serving.api`).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import problems
from serving.problems import ProblemError


class Segments:
    """Middleware that routes by the path as it was sent, each segment encoded in the one way there is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope["path"] = _encoded(scope)
            except UnicodeDecodeError:
                nothing = ProblemError(HTTPStatus.NOT_FOUND, "the path is not UTF-8")
                await problems.render(Request(scope), nothing)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def decoded(path_params: Mapping[str, Any]) -> dict[str, Any]:
    """The names that were found in an encoded path."""
    return {name: unquote(value) for name, value in path_params.items()}


def _encoded(scope: Scope) -> str:
    """The path, each segment encoded anew, so that what may be written in several ways is written in one.

    Raises:
        UnicodeDecodeError: it is not UTF-8.

    """
    sent: bytes | None = scope.get("raw_path")
    if sent is None:
        return quote(scope["path"])
    if b"%" not in sent and sent.isascii():
        return sent.decode()
    return "/".join(quote(unquote_to_bytes(each).decode(), safe="") for each in sent.split(b"/"))
