"""Responses: JSON, and the headers that every answer carries.

Belongs here: how an answer is written. Does not belong here: what is in it, or problems (`serving.problems`).
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode
# No browser is to guess at a type, frame an answer, keep it, or say to others where it was.
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def json(
    content: object,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """`content` as JSON."""
    return Response(_encode(content), status, SECURITY | dict(headers or {}), media_type)
