"""Problems: what the API answers when it cannot do what was asked (RFC 9457).

Belongs here: the problem details and their rendering. Does not belong here: what is a problem (the handlers).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_PATH = re.compile(r"(?P<detail>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one part of the body; `pointer` is a JSON pointer as a URI fragment."""

    detail: str
    pointer: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with the parts of the body that are wrong as `errors`."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: tuple[FieldError, ...] = ()


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: HTTPStatus, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.details = ProblemDetails(status.phrase, int(status), detail, errors=errors)


def not_understood(error: msgspec.DecodeError) -> ProblemError:
    """400 for what is not JSON, 422 with the field for what is not a valid body."""
    if not isinstance(error, msgspec.ValidationError):
        return ProblemError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}")
    match = _PATH.fullmatch(str(error))
    path = (match and match["path"]) or ""
    pointer = "#" + re.sub(r"\.|\[", "/", path).replace("]", "")
    detail = match["detail"] if match else str(error)
    return invalid(str(error), FieldError(detail, pointer))


def invalid(detail: str, *errors: FieldError) -> ProblemError:
    """422: the body is understood but not valid."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)


async def render(_request: Request, error: ProblemError) -> Response:
    """What a handler says."""
    return _response(error.details)


async def render_http_exception(_request: Request, error: HTTPException) -> Response:
    """What the router says: no such route, or not with this method."""
    status = HTTPStatus(error.status_code)
    return _response(ProblemDetails(status.phrase, int(status), error.detail), error.headers)


async def render_unavailable(_request: Request, error: Exception) -> Response:
    """A part is down; the same call may succeed later, and repeating it is safe."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return _response(ProblemDetails(status.phrase, int(status), str(error)), {"Retry-After": "1"})


async def render_conflict(_request: Request, error: Exception) -> Response:
    """What is asked contradicts what was asked before."""
    status = HTTPStatus.CONFLICT
    return _response(ProblemDetails(status.phrase, int(status), str(error)))


async def render_internal(_request: Request, _error: Exception) -> Response:
    """A defect of ours: the caller learns no more than that; the server raises it again, into its log."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _response(ProblemDetails(status.phrase, int(status), "the request failed for no fault of its own"))


def _response(details: ProblemDetails, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(details), details.status, headers, media_type="application/problem+json")
