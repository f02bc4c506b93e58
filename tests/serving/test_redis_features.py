"""Reading from a Redis server that dies, comes back, hangs, or holds something else."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import pytest
import redis

from nextbest.adapters.redis_line import LineError
from serving.feature_layout import Layout, StoredView
from serving.redis_features import RedisFeatures

VIEW = StoredView(name="rfm", table="", fields={"spend": b"\x01\x02\x03\x04", "baskets": b"\r\n\r\n"}, ttl_s=0.0)
LAYOUT = Layout(project="shop", prefix=b"key", views=(VIEW,))
NOTHING = {"spend": None, "baskets": None}


def _write(url: str, customer_id: str, **baskets: int) -> None:
    with redis.Redis.from_url(url) as server:
        values: Any = {VIEW.fields[name]: bytes([0x20, value]) for name, value in baskets.items()}
        server.hset(LAYOUT.key(customer_id) + b"shop", mapping=values)


@asynccontextmanager
async def _opened(url: str, patience_s: float = 5.0) -> AsyncIterator[RedisFeatures]:
    features = RedisFeatures(url, LAYOUT, patience_s)
    try:
        yield features
    finally:
        await features.close()


def test_what_is_not_stored_is_none(redis_server: Any) -> None:
    """Every feature has a value, in the order of the layout; an unknown customer's are all None."""
    _write(redis_server.url, "c1", baskets=3)

    async def read() -> list[dict[str, Any]]:
        async with _opened(redis_server.url) as features:
            return [await features.read(customer_id, 0.0) for customer_id in ("c1", "c2")]

    assert asyncio.run(read()) == [{"spend": None, "baskets": 3}, NOTHING]


def test_many_at_once_get_their_own(redis_server: Any) -> None:
    """They share a connection, and some give up in the middle: nobody gets another's answer."""
    for n in range(100):
        _write(redis_server.url, f"many{n}", baskets=n)

    async def read() -> list[object]:
        async with _opened(redis_server.url) as features:
            given_up = [asyncio.create_task(features.read("many0", 0.0)) for _ in range(10)]
            await asyncio.sleep(0)
            for each in given_up:
                each.cancel()
            found = await asyncio.gather(*(features.read(f"many{n}", 0.0) for n in range(100)))
            return [each["baskets"] for each in found]

    assert asyncio.run(read()) == list(range(100))


def test_a_server_that_was_started_again_is_read_at_once(redis_server: Any) -> None:
    """Its old connections are dead; while it was down, reading is an error."""
    _write(redis_server.url, "c1", baskets=3)

    async def read() -> dict[str, Any]:
        async with _opened(redis_server.url) as features:
            await asyncio.gather(*(features.read("c1", 0.0) for _ in range(3)))
            redis_server.kill()
            with pytest.raises(LineError):
                await features.read("c1", 0.0)
            redis_server.start()
            return await features.read("c1", 0.0)

    assert asyncio.run(read())["baskets"] == 3


def test_a_server_that_hangs_is_left_when_the_reader_has_no_more_patience() -> None:
    """It takes the connection and says nothing."""

    async def read(port: int) -> None:
        async with _opened(f"redis://127.0.0.1:{port}/0", 0.05) as features, asyncio.timeout(5.0):
            await features.read("c1", 0.0)

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(LineError):
        asyncio.run(read(silent.getsockname()[1]))


def test_a_key_of_another_kind_is_an_error(redis_server: Any) -> None:
    """Somebody else's key under the same name is not read as nothing."""
    with redis.Redis.from_url(redis_server.url) as server:
        server.set(LAYOUT.key("taken") + b"shop", "text")

    async def read() -> None:
        async with _opened(redis_server.url) as features:
            await features.read("taken", 0.0)

    with pytest.raises(hiredis.ReplyError, match="WRONGTYPE"):
        asyncio.run(read())


def test_some_customers_are_found_among_other_keys(redis_server: Any) -> None:
    """State is on the same server."""
    with redis.Redis.from_url(redis_server.url) as server:
        server.flushdb()
        server.mset({f"nextbest:{n}": n for n in range(2_000)})
    _write(redis_server.url, "c1", baskets=3)

    async def some() -> list[str]:
        async with _opened(redis_server.url) as features:
            return await features.some_customers(5)

    assert asyncio.run(some()) == ["c1"]
