"""The State of a home: on SQLite or on Redis, as `NEXTBEST_STATE` says.

Belongs here: the choice, and whether what was chosen is there. Does not belong here: either of them.
"""

import asyncio
from contextlib import closing
from typing import Protocol

from nextbest.adapters.sqlite import PATIENCE_S
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.identity import Limits
from nextbest.settings import Settings
from nextbest.state import State, StateUnavailableError

_LOOK_S = 3.0


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
    limits = Limits.parse(settings.identity_limits)
    if settings.state_url:
        from nextbest.adapters.redis_state import RedisState  # noqa: PLC0415  SQLite need not load its client

        return RedisState(settings.state_url, patience_s, limits)
    return SqliteState(settings.online_state, patience_s, limits)


def check_state(settings: Settings) -> None:
    """See, before anything starts, that the server of State answers; on SQLite there is none.

    Raises:
        StateUnavailableError: it does not within seconds; the message names the setting, and no password.

    """
    if not settings.state_url:
        return
    with closing(open_state(settings, _LOOK_S)) as state:
        try:
            asyncio.run(state.current_policy())
        except StateUnavailableError as error:
            raise StateUnavailableError(
                f"nothing was started: NEXTBEST_STATE is {settings.state_server}, and that server cannot be used "
                f"({error.__cause__}). Start it, or set NEXTBEST_STATE to one that runs, or to nothing for SQLite files"
            ) from error
