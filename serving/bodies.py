"""Bodies: what a request brings, read up to a limit and decoded to a type.

Belongs here: what a body may call itself, the limits of size and depth, and what is said where one is broken. Does not
belong here: the types (`nextbest.wire`), which limit lists and texts themselves.
"""

import re
from http import HTTPStatus
from typing import TypeVar

import msgspec
from starlette.requests import Request

from serving import problems
from serving.problems import ProblemError

T = TypeVar("T")

SMALL_BYTES = 20_000
DECISION_BYTES = 200_000
EVENTS_BYTES = 2_000_000
_JSON = re.compile(r"application/(json|[^/\s]+\+json)")


async def read(request: Request, decoder: "msgspec.json.Decoder[T]", limit_bytes: int, *, nothing: bytes = b"") -> T:
    """The body as the decoder's type; no body is read as `nothing`.

    Raises:
        ProblemError: 415, 413, 400 or 422.

    """
    _check_media_type(request.headers.get("content-type", ""))
    content = await _content(request, limit_bytes) or nothing
    try:
        return decoder.decode(content)
    except msgspec.DecodeError as error:
        raise problems.not_understood(error) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not UTF-8, or nests too deep") from error


def _check_media_type(said: str) -> None:
    """JSON, or nothing is said; whatever a form of another site can send without asking is something else."""
    name = said.partition(";")[0].strip().lower()
    if name and not _JSON.fullmatch(name):
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json, or a type that ends in +json",
            headers={"Accept": "application/json"},
        )


async def _content(request: Request, limit_bytes: int) -> bytes:
    content = b""
    async for chunk in request.stream():
        content = content + chunk if content else chunk
        if len(content) > limit_bytes:
            detail = f"the body is larger than {limit_bytes:,} bytes"
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return content
