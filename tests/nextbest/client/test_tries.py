"""When a call is tried again."""

import httpx
import pytest

from nextbest.client import ApiError, ApiUnavailableError, calls
from nextbest.client.tries import Patience, Tries

DROPPED = httpx.ReadError("dropped")
REFUSED = httpx.ConnectError("refused")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tries(clock: Clock, *, retries: int = 9, customer: calls.Customer = "c1", random: float = 1.0) -> Tries:
    patience = Patience(timeout_s=10.0, retries=retries, clock=clock, random=lambda: random)
    return Tries(calls.erase(customer), patience)


def test_the_wait_doubles_up_to_a_bound(clock: Clock) -> None:
    """At most so long; chance takes something off, so that not all come back at once."""
    asked = tries(clock)
    assert [asked.wait_s(DROPPED) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert tries(clock, random=0.25).wait_s(DROPPED) == 0.025


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(clock: Clock, status: int) -> None:
    """Not before the API asks for it."""
    assert tries(clock).wait_s(ApiError(status, "")) == 0.1
    assert tries(clock, random=0.0).wait_s(ApiError(status, "", retry_after_s=3.0)) == 3.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_what_would_fail_again_is_not(clock: Clock, status: int) -> None:
    """The same request would get the same answer."""
    error = ApiError(status, "no")
    with pytest.raises(ApiError) as caught:
        tries(clock).wait_s(error)
    assert caught.value is error


def test_nobody_waits_for_what_would_come_too_late(clock: Clock) -> None:
    """Who is asked to wait longer than there is time hears so at once."""
    with pytest.raises(ApiUnavailableError) as caught:
        tries(clock).wait_s(ApiError(429, "Too Many Requests", "wait", retry_after_s=10.0))
    assert (caught.value.status, caught.value.retry_after_s) == (429, 10.0)


def test_the_tries_come_to_an_end(clock: Clock) -> None:
    """By number, and by time."""
    few = tries(clock, retries=1)
    few.wait_s(DROPPED)
    with pytest.raises(ApiUnavailableError, match="no answer: ReadError: dropped") as caught:
        few.wait_s(DROPPED)
    assert (caught.value.status, caught.value.__cause__) == (None, DROPPED)
    late = tries(clock)
    clock.now += 9.95
    with pytest.raises(ApiUnavailableError):
        late.wait_s(DROPPED)


@pytest.mark.parametrize("error", [REFUSED, httpx.ConnectTimeout(""), httpx.PoolTimeout(""), ApiError(429, "")])
def test_what_never_got_there_can_be_said_again(clock: Clock, error: httpx.RequestError | ApiError) -> None:
    """Even what must not be done twice."""
    assert tries(clock, customer=("email", "0f" * 32)).wait_s(error) == 0.1


@pytest.mark.parametrize("error", [DROPPED, httpx.ReadTimeout(""), ApiError(503, ""), ApiError(504, "")])
def test_what_may_have_been_done_is_not_asked_for_twice(clock: Clock, error: httpx.RequestError | ApiError) -> None:
    """Where a second time is another thing."""
    with pytest.raises(ApiUnavailableError):
        tries(clock, customer=("email", "0f" * 32)).wait_s(error)


def test_a_step_has_the_time_that_is_left_when_it_begins(clock: Clock) -> None:
    """What connecting took is not there for waiting."""
    timeouts = tries(clock).timeouts()
    assert set(timeouts) == {"pool", "connect", "write", "read"}
    assert timeouts.get("connect") == 10.0
    clock.now += 4.0
    assert timeouts.get("read") == 6.0
    clock.now += 7.0
    assert timeouts["read"] > 0  # 0 would mean no waiting at all, which sockets call something else


def test_an_answer_that_comes_in_drops_ends_in_time(clock: Clock) -> None:
    """Though every drop is there at once."""
    asked = tries(clock)
    assert asked.in_time(b"drop") == b"drop"
    clock.now += 10.1
    with pytest.raises(httpx.ReadTimeout):
        asked.in_time(b"drop")


@pytest.mark.parametrize(("timeout_s", "retries"), [(0.0, 1), (-1.0, 1), (1.0, -1)])
def test_patience_is_a_number_of_something(clock: Clock, timeout_s: float, retries: int) -> None:
    """No time at all is a mistake, not a wish."""
    with pytest.raises(ValueError, match="takes"):
        Patience(timeout_s=timeout_s, retries=retries, clock=clock, random=lambda: 0.0)
