"""Online features: what the feature service `decisioning` holds of a customer.

Belongs here: which reader is used, keeping it open beside the decisions, and what becomes of one that fails. Does not
belong here: a reader (`serving.sqlite_features`, `serving.redis_features`, `serving.feast_features`), which features
there are (`feature_repo/`), or what they mean.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from hiredis import ReplyError
from redis.exceptions import RedisError

from nextbest.adapters.redis_line import LineError
from nextbest.errors import NextbestError
from nextbest.live import LIVE_STATE
from nextbest.messages import Profile
from nextbest.records import Attribute
from nextbest.settings import Settings
from serving.defects import without_paths
from serving.feast_features import FeastFeatures
from serving.feature_layout import layout_of
from serving.feature_values import UnknownFormatError
from serving.redis_features import RedisFeatures
from serving.sqlite_features import SqliteFeatures

_log = logging.getLogger(__name__)
_POLL_S = 1.0
_OPENING_S = 60.0
_NOBODY = ""
_LIVE = {LIVE_STATE}
_SAMPLE = 5
_TRIES = 3
_LONG_AGO = 0.0
_OPENING = "the feature store is being opened"
_EMPTY = "nothing was materialized yet: run `nextbest pipeline`"
_NOBODY_STORED = "the feature store holds nobody: run `nextbest pipeline`, which fills the one of NEXTBEST_STATE"
_BROKEN = "the feature store cannot be read: run `nextbest pipeline`; the log of the server says what is wrong"
_SILENT = "the feature store does not answer: see that the Redis server of NEXTBEST_STATE runs"


class Reader(Protocol):
    """Reads one customer's features."""

    async def read(self, customer_id: str, now: float) -> dict[str, Attribute | None]:
        """All of them by name: all None of a customer who is unknown. It raises whatever the store does."""
        ...

    async def close(self) -> None: ...


class StoredFeatures(Reader, Protocol):
    """Reads what Feast has stored without Feast, and gives a store up by itself that does not answer."""

    async def some_customers(self, most: int) -> list[str]:
        """Customers to try it with."""
        ...

    async def is_empty(self) -> bool:
        """Whether it holds nobody, for certain."""
        ...


class NothingMaterializedError(NextbestError):
    """There is no registry or no file yet, or no more."""


class NotForgottenError(NextbestError):
    """The store holds what it was told to forget."""


class OnlineFeatures:
    """The fastest reader that agrees with Feast's SDK; opened anew, and tried anew, whenever the registry changed.

    Every materialization changes it. Decisions never wait for that, nor for a store longer than their patience.

    Args:
        settings: of the home.
        patience_s: seconds after which a read that has no answer is given up.
        clock: seconds since the epoch.

    """

    def __init__(self, settings: Settings, patience_s: float, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._clock = clock
        self._feast = FeastFeatures(settings)
        self._reader: Reader | None = None
        self._registry_version = 0
        self._has_somebody = False
        self._missing = _OPENING
        self._has_failed = False
        self._why_slow = ""
        self.tried = asyncio.Event()
        """Set once the store was opened, or could not be, for the first time."""

    async def keep_open(self) -> None:
        """Open the store, and again whenever its definitions change or it failed, until cancelled."""
        try:
            while True:
                await self._try_to_open()
                self.tried.set()
                await asyncio.sleep(_POLL_S)
        finally:
            await self._use(None)
            await self._feast.close()

    async def profile(self, customer_id: str) -> Profile:
        """The customer's features; none of a customer the store has never heard of, or when it cannot be read."""
        if self._reader is None:
            return Profile(unavailable="features_unavailable")
        try:
            features = await self._read(self._reader, customer_id)
        except UnknownFormatError as error:
            await self._fall_back(error)
            return await self.profile(customer_id)
        except Exception as error:  # noqa: BLE001  the store's errors are its backends'; a decision goes on without features
            self._note_failure(error)
            return Profile(unavailable="features_unavailable")
        known = {name for name, value in features.items() if value is not None}
        if not known:
            return Profile(unavailable="unknown_customer")
        return Profile(features=features, is_live_only=known == _LIVE)

    async def forget(self, customer_id: str) -> int:
        """Remove what the store holds of the customer; returns how many features that were.

        It raises whatever Feast does.

        Raises:
            NotForgottenError: the store holds them still.

        """
        known = (await self.profile(customer_id)).features
        if known:
            await self._feast.forget(customer_id)
            if (await self.profile(customer_id)).features:
                raise NotForgottenError("the feature store was told to forget a customer, and did not")
        return len(known)

    async def missing(self) -> str:
        """Why features cannot be read, and what to do; the log has the rest."""
        return self._missing

    async def _read(self, reader: Reader, customer_id: str) -> dict[str, Attribute | None]:
        if reader is not self._feast:
            return await reader.read(customer_id, self._clock())  # it has patience of its own
        async with asyncio.timeout(self._patience_s):
            return await reader.read(customer_id, self._clock())

    async def _try_to_open(self) -> None:
        try:
            async with asyncio.timeout(_OPENING_S):  # its reads have no other limit
                await self._open_if_needed()
                await self._refuse_nobody()
            self._missing = ""
        except NothingMaterializedError as error:
            self._missing = str(error)
        except Exception as error:  # noqa: BLE001  see `profile`
            is_silent = bool(self._settings.state_url) and isinstance(error, LineError | RedisError | OSError)
            self._missing = _SILENT if is_silent else _BROKEN
            self._note_failure(error)

    async def _open_if_needed(self) -> None:
        version = self._version()
        reader = self._reader if version == self._registry_version else None
        if reader is not None and not self._has_failed:
            return
        if reader is not None and reader is not self._feast:
            await self._read(reader, _NOBODY)
        else:
            await self._feast.open()
            await self._use(await self._fastest())
        self._registry_version, self._has_somebody = version, False
        self._note_success()

    async def _refuse_nobody(self) -> None:
        """A store that holds nobody is another one than the registry tells of: State was moved, or emptied, say."""
        reader = self._reader
        if not self._has_somebody and isinstance(reader, SqliteFeatures | RedisFeatures) and await reader.is_empty():
            raise NothingMaterializedError(_NOBODY_STORED)
        self._has_somebody = True

    def _version(self) -> int:
        is_there = bool(self._settings.state_url) or self._settings.feast_online.exists()  # Feast would make one
        if not (is_there and self._settings.feast_registry.exists()):
            raise NothingMaterializedError(_EMPTY)
        return self._settings.feast_registry.stat().st_mtime_ns

    async def _fastest(self) -> Reader:
        await self._feast.read(_NOBODY, self._clock())  # what a first read prepares is not for a customer to wait for
        try:
            thin = await self._compared(await self._thin())
        except UnknownFormatError as error:
            self._note_reader(error)
            return self._feast
        self._note_reader(None)
        return thin

    async def _thin(self) -> StoredFeatures:
        """The reader of what Feast stores here.

        Raises:
            UnknownFormatError: there is none.

        """
        layout = await self._feast.run(lambda: layout_of(self._feast.store, self._feast.service))
        kind = self._feast.store.config.online_store.type
        if kind == "sqlite":
            return SqliteFeatures(self._settings.feast_online, layout, self._patience_s)
        if kind == "redis":
            return RedisFeatures(self._settings.state_url, layout, self._patience_s)
        raise UnknownFormatError(f"the online store is of the type {kind}")

    async def _compared(self, thin: StoredFeatures) -> StoredFeatures:
        """The reader, once it reads nobody and some customers as the SDK does; else it is closed.

        Raises:
            UnknownFormatError: it reads something else.

        """
        try:
            await self._compare(thin)
        except BaseException:
            await thin.close()
            raise
        return thin

    async def _compare(self, thin: StoredFeatures) -> None:
        for customer_id in [_NOBODY, *await thin.some_customers(_SAMPLE)]:
            if not await self._agree(thin, customer_id):
                raise UnknownFormatError("Feast's SDK reads something else than what seems to be stored")

    async def _agree(self, thin: Reader, customer_id: str) -> bool:
        """Whether both read the same, all of which is young enough: Feast does not ask."""
        for _ in range(_TRIES):  # a materialization may come between
            one, other = await thin.read(customer_id, _LONG_AGO), await self._feast.read(customer_id, _LONG_AGO)
            if {name: repr(value) for name, value in one.items()} == {k: repr(value) for k, value in other.items()}:
                return True
        return False

    async def _fall_back(self, why: UnknownFormatError) -> None:
        self._note_reader(why)
        await self._use(self._feast)

    async def _use(self, reader: Reader | None) -> None:
        before, self._reader = self._reader, reader
        if before is not None and before is not self._feast and before is not reader:
            await before.close()

    def _note_failure(self, error: Exception) -> None:
        if not self._has_failed:  # else every decision would say so
            _log.warning("features cannot be read: %s", _said(error))
        self._has_failed = True

    def _note_success(self) -> None:
        if self._has_failed:
            _log.warning("features can be read again")
        self._has_failed = False

    def _note_reader(self, why_slow: UnknownFormatError | None) -> None:
        said = str(why_slow or "")
        if said not in {"", self._why_slow}:  # else every materialization would say so
            _log.warning("features are read with Feast's SDK, which takes longer: %s", said)
        self._why_slow = said


def _said(error: Exception) -> str:
    """What went wrong, without paths, and without the command that Redis refuses: it names a customer."""
    kind = type(error).__name__
    return kind if isinstance(error, ReplyError) else f"{kind}: {without_paths(error)}"
