"""The server that State on Redis is kept on: its commands and scripts, and what its errors mean.

Belongs here: asking it. Does not belong here: the connection (`nextbest.adapters.redis_line`), or what is asked.
"""

from collections.abc import Awaitable
from typing import Any

import hiredis

from nextbest.adapters.redis_line import LineError, Lines, Script, Word, packed, run_script
from nextbest.state import StateUnavailableError

PREFIX = "nextbest:"
"""Of all keys of State."""
_OVERFLOW = "not an integer or out of range"


class Server:
    """The one at `url`; a command that has no answer after `patience_s` seconds fails.

    Its methods raise `StateUnavailableError` where it cannot be used, and `OverflowError` where a number is too large
    for it: what it refuses because of a value is no fault of its own.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        self._lines = Lines(url, patience_s)

    async def ask(self, *words: Word) -> Any:
        """The reply to a command."""
        return await _answer(self._lines.here().ask(packed(*words)))

    async def run(self, script: Script, *words: Word) -> Any:
        """The reply of a script, which is told the prefix of its keys."""
        return await _answer(run_script(self._lines.here(), script, (1, PREFIX, *words)))

    def close(self) -> None:
        self._lines.close()


async def _answer(reply: Awaitable[Any]) -> Any:
    try:
        return await reply
    except hiredis.ReplyError as error:
        if _OVERFLOW in str(error):
            raise OverflowError(str(error)) from error
        raise StateUnavailableError(f"State cannot be used: {error}") from error
    except (LineError, hiredis.HiredisError) as error:
        raise StateUnavailableError(f"State cannot be used: {error}") from error
