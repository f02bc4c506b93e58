"""Whether the online store still holds what was copied into it: a file can be deleted, a Redis server emptied.

Belongs here: asking, and leaving the note that is asked for. Does not belong here: the copying, or the reading of
features, which are Feast's.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError

from nextbest.adapters.redis_server import PREFIX
from nextbest.errors import NextbestError
from nextbest.settings import Settings

_NOTE = f"{PREFIX}online_features"


class OnlineStoreError(NextbestError):
    """The online store cannot be asked."""


def is_filled(settings: Settings, version: str) -> bool:
    """Whether the store holds `version` of the features; on SQLite, any.

    Raises:
        OnlineStoreError: the server does not answer.

    """
    if not settings.state_url:
        return settings.feast_online.exists()
    with _server(settings) as server:
        return server.get(_NOTE) == version.encode()


def note_filled(settings: Settings, version: str) -> None:
    """Leave on the server that `version` of the features was copied there; what empties the server takes it away too.

    Raises:
        OnlineStoreError: the server does not answer.

    """
    if settings.state_url:
        with _server(settings) as server:
            server.set(_NOTE, version)


@contextmanager
def _server(settings: Settings) -> Iterator["Redis"]:
    try:
        with Redis.from_url(settings.state_url) as server:
            yield server
    except (RedisError, OSError) as error:
        raise OnlineStoreError(
            f"the online store, Redis at {settings.state_server}, cannot be used: {error}"
        ) from error
