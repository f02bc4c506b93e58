"""The State of a home: on SQLite or on Redis, as `NEXTBEST_STATE` says.

Belongs here: the choice. Does not belong here: either of them.
"""

from typing import Protocol

from nextbest.adapters.sqlite import PATIENCE_S
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.settings import Settings
from nextbest.state import State


class OpenState(State, Protocol):
    """A State that somebody has to close."""

    def close(self) -> None:
        """Let go of threads, files and connections; it takes no event loop."""
        ...


def open_state(settings: Settings, patience_s: float = PATIENCE_S) -> OpenState:
    """The State of the home; it is connected to when it is first used.

    Args:
        settings: Of the home.
        patience_s: Seconds after which a call that has not succeeded fails.

    """
    if settings.state_url:
        from nextbest.adapters.redis_state import RedisState  # noqa: PLC0415  SQLite need not load its client

        return RedisState(settings.state_url, patience_s)
    return SqliteState(settings.online_state, patience_s)
