"""External signals in every State, on SQLite and on Redis alike: the latest word holds, in whatever order."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import Envelope, decode, encode
from nextbest.records import Signal
from nextbest.settings import Settings
from nextbest.state import SnapshotScope

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
BEEF, WEATHER = ("stock", "beef"), ("weather_temperature", "aisle 5/\u00e9t\u00e9")
EVERYTHING = (BEEF, ("stock", "milk"), WEATHER)


def said(key: tuple[str, str], at: datetime = NOW, **what: Any) -> Envelope:
    signal, of = key
    return Envelope(
        event_id=f"signals/{signal}-{of}-{at}-{what}",
        type="signal",
        contract="signals",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key=f"{signal}:{of}",
        properties={"signal": signal, "key": of, **what},
    )


def signal(key: tuple[str, str], at: datetime = NOW, **what: Any) -> Signal:
    return Signal(signal=key[0], key=key[1], at=at, **what)


def known(state: OpenState, *asked: tuple[str, str], customer_id: str | None = "c1") -> tuple[Signal, ...]:
    return asyncio.run(state.snapshot(customer_id, SnapshotScope(NOW, NOW, ("volume",), NOW, asked))).signals


@pytest.fixture
def state(home: Callable[[], Settings]) -> Iterator[OpenState]:
    with closing(open_state(home())) as state:
        yield state


def test_a_snapshot_has_the_signals_it_asks_for(state: OpenState) -> None:
    """Numbers and texts come back as they were said, for a customer as for nobody; what was not said is absent."""
    soon: dict[str, Any] = {"text": "sunny, 'very'", "expires_at": LATER}
    asyncio.run(state.apply([said(WEATHER, **soon), said(BEEF, value=0.1), said(("stock", "eggs"), value=1.0)], 3))
    expected = (signal(BEEF, value=0.1), signal(WEATHER, **soon))
    assert known(state, *EVERYTHING) == known(state, *reversed(EVERYTHING), customer_id=None) == expected
    assert known(state) == ()


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_the_latest_word_holds_in_any_order(state: OpenState, order: tuple[int, ...]) -> None:
    """What comes late about earlier changes nothing, nor does what comes twice."""
    words = [said(BEEF, value=9.0), said(BEEF, LATER, value=0.0), said(BEEF, NOW - timedelta(days=1), value=5.0)]
    for number in (*order, 0):
        asyncio.run(state.apply([words[number]], None))
    assert known(state, BEEF) == (signal(BEEF, LATER, value=0.0),)


@pytest.mark.parametrize(
    "words",
    [
        ({"value": 10.0}, {"value": 9.0}, {}),
        ({"value": 0.0}, {"value": -0.5}, {"text": "none"}),
        ({"value": 1.0, "text": "b"}, {"value": 1.0}, {"value": 1e9}),
    ],
)
def test_of_two_words_at_the_same_moment_one_holds_in_any_order(
    state: OpenState, words: tuple[dict[str, Any], ...]
) -> None:
    """It is one of the lowest number."""
    found: list[Signal] = []
    for order in permutations(words):
        asyncio.run(state.clear())
        asyncio.run(state.apply([said(BEEF, **what) for what in order], None))
        found += known(state, BEEF)
    assert len(found) == 6
    assert len(set(found)) == 1
    assert found[0].value == min(what["value"] for what in words if "value" in what)


def test_signals_are_of_the_log(state: OpenState) -> None:
    """They come again with it, after State was emptied; a record as the log has it says the same."""
    word = decode(encode(said(BEEF, value=2.0, expires_at=LATER)))
    asyncio.run(state.apply([word], 1))
    asyncio.run(state.clear())
    assert known(state, BEEF) == ()
    asyncio.run(state.apply([word], 1))
    assert known(state, BEEF) == (signal(BEEF, value=2.0, expires_at=LATER),)


def test_a_signal_of_the_future_can_be_overruled(state: OpenState) -> None:
    """It holds from when it came: a clock that is ahead does not silence what is said after."""
    ahead = msgspec.structs.replace(said(BEEF, LATER, value=0.0), received_at=NOW)
    asyncio.run(state.apply([ahead, said(BEEF, NOW + timedelta(seconds=1), value=7.0)], 2))
    assert [each.value for each in known(state, BEEF)] == [7.0]


def test_as_many_signals_as_a_policy_may_ask_for(state: OpenState) -> None:
    """A stock for each of thousands of actions is one question."""
    keys = [("stock", f"a{number:04}") for number in range(3_000)]
    asyncio.run(state.apply([said(key, value=1.0) for key in keys], 3_000))
    assert len(known(state, *keys)) == 3_000
