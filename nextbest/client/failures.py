"""What a call ends with when it does not end with an answer.

Belongs here: the errors, and the problems (RFC 9457) they are made from. No message holds a key. Does not belong here:
when a call is tried again (`nextbest.client.tries`).
"""

import httpx
import msgspec

from nextbest.errors import NextbestError
from nextbest.wire import FieldError, ProblemDetails


class ApiError(NextbestError):
    """The API said no."""

    def __init__(
        self,
        status: int | None,
        title: str,
        detail: str = "",
        errors: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, title, detail, errors, retry_after_s)  # all of it, so that it can be pickled
        self.status = status
        """Of the answer; none where no answer came."""
        self.title = title
        self.detail = detail
        self.errors = errors
        """The parts of the request that are wrong."""
        self.retry_after_s = retry_after_s
        """How long to wait before asking again, where the answer says so."""

    def __str__(self) -> str:
        said = self.title if self.status is None else f"{self.status} {self.title}"
        return f"{said}: {self.detail}" if self.detail else said


class ApiUnavailableError(ApiError):
    """No answer in time, or not in as many tries as there were; the same call may succeed later."""


def problem(response: httpx.Response, content: bytes) -> ApiError:
    """The error that an answer is; the page of a proxy in between is no problem of the API's, and is not shown."""
    said = response.headers.get("retry-after", "")
    retry_after_s = float(said) if said.isdecimal() else None  # the API says seconds, never a date
    try:
        details = msgspec.json.decode(content, type=ProblemDetails)
    except msgspec.MsgspecError:
        return ApiError(response.status_code, response.reason_phrase, retry_after_s=retry_after_s)
    return ApiError(response.status_code, details.title, details.detail, details.errors, retry_after_s)
