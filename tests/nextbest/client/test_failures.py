"""Errors of the client."""

import pickle

import httpx

from nextbest.client.failures import ApiError, ApiUnavailableError, problem
from nextbest.wire import FieldError


def test_the_page_of_a_proxy_is_named_by_its_status() -> None:
    """Its text is not ours to show."""
    error = problem(httpx.Response(503, headers={"Retry-After": "7"}), b"<html>503 Service Unavailable</html>")
    assert (str(error), error.detail, error.retry_after_s) == ("503 Service Unavailable", "", 7.0)


def test_a_date_to_retry_after_says_nothing() -> None:
    """The API never says one."""
    assert problem(httpx.Response(503, headers={"Retry-After": "Thu, 26 Nov 2026"}), b"").retry_after_s is None


def test_an_error_comes_through_between_processes() -> None:
    """As what it was."""
    error = ApiUnavailableError(503, "Service Unavailable", "later", (FieldError("a", "#/b"),), 1.0)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert isinstance(again, ApiUnavailableError)
    assert (str(again), again.errors, again.retry_after_s) == (str(error), error.errors, 1.0)


def test_without_an_answer_there_is_no_status() -> None:
    """The message does not make one up."""
    assert str(ApiError(None, "no answer", "ConnectError: refused")) == "no answer: ConnectError: refused"
