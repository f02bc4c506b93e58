"""Orders to a running server: how they wait, what becomes of them, and the size they leave behind."""

from dataclasses import replace

import pytest

from nextbest.settings import Settings
from serving.orders import Order, Orders, Outcome


@pytest.fixture
def orders(settings: Settings) -> Orders:
    return Orders(settings)


def test_an_order_waits_until_it_is_closed(orders: Orders) -> None:
    """Who gave it learns what became of it, and nothing is left behind."""
    order = Order(replicas=3)
    assert (orders.first(), orders.outcome(order)) == (None, None)
    orders.give(order)
    assert (orders.first(), orders.outcome(order)) == (order, None)
    orders.close(order)
    assert (orders.first(), orders.outcome(order)) == (None, Outcome())
    orders.forget(order)
    assert orders.outcome(order) is None
    assert list((orders.settings.run / "orders").iterdir()) == []


def test_the_oldest_order_comes_first(orders: Orders) -> None:
    """Two people may ask at once; neither is forgotten."""
    first, second = Order(fresh=True), Order(replicas=2)
    orders.give(first)
    orders.give(second)
    assert orders.first() == first
    orders.close(first, "it could not be")
    assert (orders.first(), orders.outcome(first)) == (second, Outcome("it could not be"))


def test_an_order_taken_back_is_not_carried_out(orders: Orders) -> None:
    """Ctrl-C of the command, before the server has seen it."""
    order = Order(fresh=True)
    orders.give(order)
    orders.forget(order)
    assert orders.first() is None


def test_a_server_that_starts_anew_answers_what_waited(orders: Orders) -> None:
    """Nobody waits for ever, and nothing old is done later."""
    waiting = [Order(fresh=True), Order(replicas=2)]
    for order in waiting:
        orders.give(order)
    orders.close_all("ask again")
    assert orders.first() is None
    assert [orders.outcome(order) for order in waiting] == [Outcome("ask again")] * 2


def test_the_number_said_last_is_what_a_server_starts_with(settings: Settings) -> None:
    """What was scaled to outlives the server, until NEXTBEST_REPLICAS says another number than it did then."""
    assert Orders(settings).size() == settings.replicas == 1
    Orders(settings).keep_size(3)
    assert Orders(settings).size() == 3
    assert Orders(replace(settings, replicas=2)).size() == 2
