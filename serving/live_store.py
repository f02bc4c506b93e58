"""Where live states are written for decisions to read: the view `live` of Feast's online store.

Belongs here: opening the store once there is one, and again when it is another; and writing. Does not belong here: what
is written (`serving.live_features`), or reading it (`serving.online_features`).
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

from nextbest.live import LIVE_STATE
from nextbest.projection import ProjectionWaitsError
from nextbest.settings import Settings
from serving.defects import without_paths
from serving.feast_features import FeastFeatures
from serving.feature_layout import LIVE_VIEW

_BEGUN = 1
_TICK = timedelta(microseconds=1)


class LiveStore:
    """Writes through Feast, which takes seconds to open: events do not wait for that.

    On SQLite the file keeps a log of its own (WAL) from then on, so that whoever writes locks out nobody who reads.
    Its `user_version`, which Feast leaves alone, says whether states were ever written to it.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._feast = FeastFeatures(settings)
        self._version: tuple[int, ...] = ()
        self._is_begun = True
        self._opening: asyncio.Task[None] | None = None
        self._at: datetime | None = None

    async def tried(self) -> None:
        """Return once the store that is there now was opened, or could not be."""
        with suppress(ProjectionWaitsError):
            await self._open()
        if self._opening is not None:
            await asyncio.wait([self._opening])

    async def is_new(self) -> bool:
        """Whether nothing of live states was ever written there: the file was made anew, say.

        On Redis there is nothing to ask: what loses them loses State too.

        Raises:
            ProjectionWaitsError: it cannot be said now.

        """
        await self._open()
        return not self._is_begun

    async def begin(self) -> None:
        """From now on states are written there.

        Raises:
            ProjectionWaitsError: it cannot be said there now.

        """
        try:
            await asyncio.to_thread(_begin, self._settings.feast_online)
        except sqlite3.Error as error:
            raise _waits("cannot be written", error) from error
        self._is_begun = True

    async def write(self, states: Mapping[str, str | None]) -> None:
        """Write states by customer; none where there is nothing any more.

        Raises:
            ProjectionWaitsError: they cannot be written now.

        """
        await self._open()
        now = self._clock()
        self._at = now if self._at is None else max(now, self._at + _TICK)
        try:
            await self._feast.put(
                LIVE_VIEW, {customer: {LIVE_STATE: state} for customer, state in states.items()}, self._at
            )
        except Exception as error:  # the store's errors are its backends'
            self._version = ()
            raise _waits("cannot be written", error) from error

    async def close(self) -> None:
        await self._feast.close()

    async def _open(self) -> None:
        """Return once the store is open that is there now."""
        version = self._found()
        if version == self._version:
            return
        if self._opening is None:
            self._opening = asyncio.create_task(self._reopen(version))
        if not self._opening.done():
            raise ProjectionWaitsError  # for some seconds, which is nothing to tell
        opening, self._opening = self._opening, None
        try:
            await opening
        except Exception as error:
            raise _waits("cannot be opened", error) from error
        if version != self._version:
            raise ProjectionWaitsError("the feature store is being changed")

    def _found(self) -> tuple[int, ...]:
        """Names the store that is there: on SQLite its file. Feast itself sees when its definitions change.

        Raises:
            ProjectionWaitsError: there is none.

        """
        try:
            self._settings.feast_registry.stat()
            if self._settings.state_url:
                return (0,)
            file = self._settings.feast_online.stat()
        except OSError:
            raise ProjectionWaitsError("there is no feature store yet: `nextbest pipeline` makes one") from None
        return (file.st_dev, file.st_ino)

    async def _reopen(self, version: tuple[int, ...]) -> None:
        await self._feast.open()
        view = self._feast.store.get_feature_view
        await self._feast.run(lambda: view(LIVE_VIEW))
        if not self._settings.state_url:
            self._is_begun = await asyncio.to_thread(_prepare, self._settings.feast_online)
        self._version = version


def _begin(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {_BEGUN}")


def _prepare(path: Path) -> bool:
    """Whether states were ever written to the file; readers need not wait for writers from now on."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        return bool(connection.execute("PRAGMA user_version").fetchone()[0] == _BEGUN)


def _waits(what: str, error: Exception) -> ProjectionWaitsError:
    return ProjectionWaitsError(f"the feature store {what}: {type(error).__name__}: {without_paths(error)}")
