"""Trying again: what is worth another try, after how long, and when it is enough.

Belongs here: these decisions for one call, which both clients share; clock and chance come in as arguments. Does not
belong here: waiting, or the network.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from nextbest.client.calls import Call
from nextbest.client.failures import ApiError, ApiUnavailableError

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_SHORTEST_S = 0.001
_REFUSED = HTTPStatus.TOO_MANY_REQUESTS
_PASSING = {_REFUSED, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client bears with the API."""

    timeout_s: float
    """For a call with all its tries, and the waiting between them."""
    retries: int
    """Most tries after the first."""
    clock: Callable[[], float]
    """Seconds, of a clock that nobody sets back."""
    random: Callable[[], float]
    """From 0 to 1: clients that failed together do not come back together."""

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.retries < 0:
            raise ValueError("timeout_s takes more than 0, retries 0 or more")


class TimeLeft(Mapping[str, float]):
    """The timeouts of a try, by its steps, as httpx takes them: whichever comes, it has what is left when it begins."""

    def __init__(self, left_s: Callable[[], float]) -> None:
        self._left_s = left_s

    def __getitem__(self, step: str) -> float:
        return max(self._left_s(), _SHORTEST_S)

    def __iter__(self) -> Iterator[str]:
        return iter(("pool", "connect", "write", "read"))

    def __len__(self) -> int:
        return 4


@dataclass(slots=True)
class Tries:
    """The tries of one call."""

    call: Call[Any]
    patience: Patience
    failed: int = 0
    ends_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.ends_at = self.patience.clock() + self.patience.timeout_s

    def left_s(self) -> float:
        """Until the call must have ended."""
        return self.ends_at - self.patience.clock()

    def timeouts(self) -> TimeLeft:
        """For the steps of the next try."""
        return TimeLeft(self.left_s)

    def in_time(self, piece: bytes) -> bytes:
        """A piece of an answer, unless it is late: one that comes in drops must end too.

        Raises:
            ReadTimeout: it is.

        """
        if self.left_s() < 0:
            raise httpx.ReadTimeout("the answer is not complete in time")
        return piece

    def wait_s(self, error: httpx.RequestError | ApiError) -> float:
        """How long to wait after a try that failed, before the next one.

        Raises:
            ApiError: the same call would fail again.
            ApiUnavailableError: it might not, but time or tries are used up, or it must not be said twice.

        """
        failure = _unavailable(error)
        self.failed += 1
        most_s = min(_FIRST_WAIT_S * 2.0 ** (self.failed - 1), _LONGEST_WAIT_S)
        wait_s = (failure.retry_after_s or 0.0) + most_s * self.patience.random()
        if self.failed > self.patience.retries or wait_s >= self.left_s() or not self._may_be_repeated(error):
            raise failure from error
        return wait_s

    def _may_be_repeated(self, error: httpx.RequestError | ApiError) -> bool:
        """A call that counts each time may be repeated where it was not begun."""
        is_refused = isinstance(error, ApiError) and error.status == _REFUSED
        return self.call.is_repeatable or is_refused or isinstance(error, _NEVER_SENT)


def _unavailable(error: httpx.RequestError | ApiError) -> ApiUnavailableError:
    """What `error` is called when no further try is made.

    Raises:
        ApiError: it is of a kind that no further try would mend.

    """
    if not isinstance(error, ApiError):
        return ApiUnavailableError(None, "no answer", f"{type(error).__name__}: {error}")
    if error.status not in _PASSING:
        raise error
    return ApiUnavailableError(error.status, error.title, error.detail, error.errors, error.retry_after_s)
