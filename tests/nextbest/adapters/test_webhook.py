"""Posting an alert: a real receiver has it once, and one that is wrong or not there is said so."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from nextbest.adapters.webhook import post

Receiver = Callable[..., AbstractContextManager[tuple[str, list[dict[str, Any]]]]]


def test_the_receiver_has_it(receiver: Receiver) -> None:
    """As JSON, and nothing went wrong."""
    with receiver() as (url, heard):
        assert post(url, {"text": "hello"}) == ""
    assert heard == [{"text": "hello"}]


@pytest.mark.parametrize("status", [302, 500])
def test_a_receiver_that_does_not_take_it_is_said_so(receiver: Receiver, status: int) -> None:
    """A redirect would drop the body, and is followed nowhere."""
    with receiver(status) as (url, heard):
        assert str(status) in post(url, {"text": "hello"})
    assert len(heard) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/hook", "no address"])
def test_an_address_where_nobody_is_is_said_so(address: str) -> None:
    """It raises nothing: whoever tells of something has other work to do."""
    assert post(address, {}) != ""
