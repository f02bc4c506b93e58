"""Online features in Redis, as Feast lays them out: one command per customer, in the event loop of the replica.

Belongs here: the command, its answer, and connections. Does not belong here: the layout (`serving.feature_layout`), or
what becomes of a decision without features (`serving.online_features`).
"""

import asyncio
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ServerGoneError

from nextbest.records import Attribute
from serving.feature_layout import Layout
from serving.feature_values import DECODERS

_CONNECTIONS = 32
_SCANS = 50
_KEYS_A_SCAN = 1_000
_SECONDS, _INTEGER, _MORE = 0x08, 0x20, 0x80


class RedisFeatures:
    """Reads with one HMGET, whose fields are written out once.

    redis-py's client and pool take another 80 µs a read, twice what the answer costs when many are asked for at once;
    so only its connections are used. Whoever reads sets the time limit: a connection whose answer nobody waited for is
    closed, since the next one would get it.
    """

    def __init__(self, url: str, layout: Layout) -> None:
        self._layout = layout
        self._project = layout.project.encode()
        self._names = tuple(layout.nothing)
        self._limited = [view for view in layout.views if view.ttl_s]
        fields = [field for view in layout.views for field in view.fields.values()]
        fields += [view.moment for view in self._limited]
        self._head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
        self._fields = b"".join(map(_word, fields))
        # Read for what `NEXTBEST_STATE` says of address, password and encryption; it never holds a connection.
        self._pool: Any = ConnectionPool.from_url(url, socket_timeout=None, retry=Retry(NoBackoff(), 0))
        self._idle: list[Any] = []
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._is_closed = False

    async def read(self, customer_id: str, now: float) -> dict[str, Attribute | None]:
        """The customer's features: all None of an unknown one.

        Raises:
            OSError: the server cannot be reached.
            RedisError: it cannot be asked.
            UnknownFormatError: a stored value is of an unknown type.

        """
        key = self._layout.key(customer_id) + self._project
        values = await self._ask(b"".join((self._head, _word(key), self._fields)))
        read = [DECODERS[value[0]](value) if value else None for value in values[: len(self._names)]]
        features = dict(zip(self._names, read, strict=True))
        for view, moment in zip(self._limited, values[len(self._names) :], strict=True):
            if moment and _seconds(moment) < now - view.ttl_s:
                features |= dict.fromkeys(view.fields)
        return features

    async def some_customers(self, most: int) -> list[str]:
        """Some of those stored; fewer, or none, where other keys are much more numerous."""
        customers: set[str] = set()
        cursor = b"0"
        pattern = self._layout.prefix + b"*" + self._project
        for _ in range(_SCANS):
            words = (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % _KEYS_A_SCAN)
            cursor, keys = await self._ask(b"*%d\r\n" % len(words) + b"".join(map(_word, words)))
            customers |= {self._layout.customer_of(key.removesuffix(self._project)) for key in keys}
            if cursor == b"0" or len(customers) >= most:
                break
        return sorted(customers)[:most]

    async def close(self) -> None:
        self._is_closed = True
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _ask(self, command: bytes) -> Any:
        async with self._room:
            while self._idle:
                try:
                    return await self._ask_on(self._idle.pop(), command)
                except ServerGoneError:  # the server was started again since: one of the other connections' fate too
                    continue
            return await self._ask_on(self._pool.make_connection(), command)

    async def _ask_on(self, connection: Any, command: bytes) -> Any:
        try:
            await connection.send_packed_command(command, check_health=False)
            answer = await connection.read_response(disable_decoding=True)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if self._is_closed:
            await connection.disconnect(nowait=True)
        else:
            self._idle.append(connection)
        return answer


def _word(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _seconds(moment: bytes) -> int:
    """Of a protobuf message `Timestamp`: its first field, an integer, which is left out when it is 0."""
    if moment[0] != _SECONDS:
        return 0
    end = next(n for n in range(1, len(moment)) if not moment[n] & _MORE) + 1
    return int(DECODERS[_INTEGER](moment[:end]))
