"""Problems: what the API answers when it cannot do what was asked (RFC 9457).

Belongs here: the problems and their rendering. What goes wrong inside is no caller's business: neither a path, nor a
trace, nor what a part said of itself is in an answer. Does not belong here: what is a problem (the handlers).
"""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from nextbest.adapters.quarantine import QuarantineUnavailableError
from nextbest.advice import did_you_mean, listed
from nextbest.log import LogUnavailableError
from nextbest.state import StateUnavailableError
from nextbest.wire import FieldError, ProblemDetails
from serving import responses
from serving.defects import place_of

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_AGAIN = MappingProxyType({"Retry-After": "1"})


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.details = ProblemDetails(status.phrase, int(status), detail, errors=errors)
        self.headers = headers


def invalid(detail: str, *errors: FieldError) -> ProblemError:
    """422: the body is understood but not valid."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)


def missing(what: str, name: str, names: Iterable[str]) -> ProblemError:
    """404: the policy has nothing of this name; says what was probably meant, or else what there is."""
    there_is = [*names]
    advice = did_you_mean(name, there_is) or f": there is {listed(there_is)}"
    return ProblemError(HTTPStatus.NOT_FOUND, f"the policy has no {what} {name!r}{advice}")


def unavailable(part: str) -> ProblemError:
    """503: a part is down; the same call may succeed later, and repeating it is safe."""
    detail = f"the {part} cannot be used now: send the same request again, which is safe"
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=_AGAIN)


def of(error: Exception) -> ProblemError:
    """The problem that an error comes to; one that nobody foresaw is a defect of ours, and the server's log has it."""
    match error:
        case ProblemError():
            return error
        case LogUnavailableError():
            return unavailable("event log")
        case QuarantineUnavailableError():
            return unavailable("quarantine")
        case StateUnavailableError():
            return unavailable("state")
        case _:
            _log.error("a request failed: %s", place_of(error))
            detail = "the request failed for no fault of its own"
            return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def render(_request: Request, problem: ProblemError) -> Response:
    """As problem details."""
    return responses.json(problem.details, problem.status, media_type=MEDIA_TYPE, headers=problem.headers)
