"""Online features in Redis, as Feast lays them out: one command per customer, in the event loop of the replica.

Belongs here: the command and its answer. Does not belong here: the layout (`serving.feature_layout`), or
what becomes of a decision without features (`serving.online_features`).
"""

import asyncio
from collections.abc import AsyncIterator

from nextbest.adapters.redis_line import Lines, packed
from nextbest.records import Attribute
from serving.feature_layout import Layout
from serving.feature_values import DECODERS

_SCANS = 50
_KEYS_A_SCAN = 1_000
_LOOKED_AT = 1_000
_SECONDS, _INTEGER, _MORE = 0x08, 0x20, 0x80


class RedisFeatures:
    """Reads with one HMGET, whose fields are written out once."""

    def __init__(self, url: str, layout: Layout, patience_s: float) -> None:
        self._layout = layout
        self._project = layout.project.encode()
        self._names = tuple(layout.nothing)
        self._limited = [view for view in layout.views if view.ttl_s]
        fields = [field for view in layout.views for field in view.fields.values()]
        fields += [view.moment for view in self._limited]
        self._head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
        self._fields = b"".join(map(_word, fields))
        self._lines = Lines(url, patience_s, as_text=False)

    async def read(self, customer_id: str, now: float) -> dict[str, Attribute | None]:
        """The customer's features: all None of an unknown one.

        Raises:
            LineError: the server cannot be reached, or does not answer in time.
            hiredis.ReplyError: it refuses.
            UnknownFormatError: a stored value is of an unknown type.

        """
        key = self._layout.key(customer_id) + self._project
        values = await self._lines.here().ask(b"".join((self._head, _word(key), self._fields)))
        read = [DECODERS[value[0]](value) if value else None for value in values[: len(self._names)]]
        features = dict(zip(self._names, read, strict=True))
        for view, moment in zip(self._limited, values[len(self._names) :], strict=True):
            if moment and _seconds(moment) < now - view.ttl_s:
                features |= dict.fromkeys(view.fields)
        return features

    async def some_customers(self, most: int) -> list[str]:
        """Some of those stored; fewer, or none, where other keys are much more numerous."""
        found: set[bytes] = set()
        async for keys, _ in self._pages():
            found |= {*keys}
            if len(found) >= most:
                break
        return sorted(self._layout.customer_of(key.removesuffix(self._project)) for key in found)[:most]

    async def is_empty(self) -> bool:
        """Whether nobody was copied into it, for certain: what the event processor wrote does not count."""
        looked_at = 0
        async for keys, is_last in self._pages():
            looked_at += len(keys)
            if looked_at > _LOOKED_AT or any(await asyncio.gather(*map(self._was_copied, keys))):
                return False
            if is_last:
                return True
        return False

    async def _was_copied(self, key: bytes) -> bool:
        moments = [view.moment for view in self._layout.copied]
        return any(await self._lines.here().ask(packed("HMGET", key, *moments)))

    async def _pages(self) -> AsyncIterator[tuple[list[bytes], bool]]:
        """Keys of customers, as many as are found in some time, page by page, and whether those were the last."""
        cursor = b"0"
        pattern = self._layout.prefix + b"*" + self._project
        for _ in range(_SCANS):
            words = ("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_A_SCAN)
            cursor, keys = await self._lines.here().ask(packed(*words))
            yield keys, cursor == b"0"
            if cursor == b"0":
                return

    async def close(self) -> None:
        self._lines.close()


def _word(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _seconds(moment: bytes) -> int:
    """Of a protobuf message `Timestamp`: its first field, an integer, which is left out when it is 0."""
    if moment[0] != _SECONDS:
        return 0
    end = next(n for n in range(1, len(moment)) if not moment[n] & _MORE) + 1
    return int(DECODERS[_INTEGER](moment[:end]))
