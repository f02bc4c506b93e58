"""Following State: loading what it names, off the request path, and swapping it without a decision noticing.

Belongs here: when to load and when to swap. Does not belong here: what is followed (`serving.model_sets`,
`serving.policies`), or who says what is to be used.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from nextbest.errors import NextbestError
from nextbest.state import StateUnavailableError
from serving.defects import place_of, without_paths

T = TypeVar("T")

_log = logging.getLogger(__name__)
_POLL_S = 0.5
_AGAIN_S = 30.0
"""How long what was refused is left alone: it may take seconds to find out that it cannot be used."""


class Followed(Generic[T]):
    """Holds what State names; a decision that has begun keeps what it began with.

    What cannot be loaded is refused, and said once; the last good one stays. It is tried again now and then, since a
    file may still be on its way from another machine.
    """

    def __init__(
        self,
        what: str,
        wanted: Callable[[], Awaitable[str | None]],
        load: Callable[[str], T],
        newest_first: Callable[[], Sequence[str]],
    ) -> None:
        """Follow.

        Args:
            what: In words.
            wanted: The name that State says.
            load: From a name; raises where that cannot be used.
            newest_first: The names there are, for when State has none or one that cannot be used.

        """
        self._what = what
        self._wanted = wanted
        self._load_from = load
        self._newest_first = newest_first
        self._refused: str | None = None
        self._again_at = 0.0
        self._name: str | None = None
        self.current: T | None = None

    async def start(self) -> None:
        """Load what State names, or else the newest that can be; none is no error here."""
        await self.update()
        if self.current is None:
            for name in await asyncio.to_thread(self._newest_first):
                if await self._load(name):
                    return

    async def follow(self) -> None:
        """Look every half second for another one, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            await self.update()

    async def update(self) -> None:
        """Load what State names, where it is another one."""
        try:
            wanted = await self._wanted()
        except StateUnavailableError as error:
            _log.warning("another %s is not followed: %s", self._what, without_paths(error))
            return
        is_left_alone = wanted == self._refused and time.monotonic() < self._again_at
        if wanted and wanted != self._name and not is_left_alone and not await self._load(wanted):
            self._refused, self._again_at = wanted, time.monotonic() + _AGAIN_S

    async def _load(self, name: str) -> bool:
        try:
            self.current = await asyncio.to_thread(self._load_from, name)
        except Exception as error:  # noqa: BLE001  whatever it is, what is published next must be followed
            if name != self._refused:
                why = without_paths(error) if isinstance(error, NextbestError) else place_of(error)
                _log.error("%s %s is refused, the last good one stays: %s", self._what, name, why)
            return False
        self._name = name
        if name == self._refused:
            self._refused = None
        _log.info("%s %s is in use", self._what, name)
        return True
