"""Online features through Feast: what the feature service `decisioning` holds of a customer.

Belongs here: keeping the store open and reading one customer's features, both off the event loop. Does not belong here:
which features there are (`feature_repo/`), or what they mean.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from nextbest.messages import Profile
from nextbest.records import Attribute
from serving.defects import place_of

T = TypeVar("T")
_log = logging.getLogger(__name__)
_ENTITY = "customer_id"
_SERVICE = "decisioning"
_POLL_S = 1.0
_NOBODY = ""
_WHY_NOT: dict[type[Exception], str] = {FileNotFoundError: "nothing was materialized yet: run `nextbest pipeline`"}


class OnlineFeatures:
    """Feast's online store, opened and reopened beside the decisions, which never wait for that.

    Args:
        repo: Feast's folder, with its settings.
        registry: Feast's registry file: the store is opened anew whenever it has changed.

    """

    def __init__(self, repo: Path, registry: Path) -> None:
        self._repo = repo
        self._registry = registry
        self._registry_version = 0
        self._store: Any = None
        self._service: Any = None
        self._missing = "the feature store is being opened"
        self.tried = asyncio.Event()
        """Set once the store was opened, or could not be, for the first time."""
        # Feast's SQLite store has one connection: reads take turns.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features")

    async def keep_open(self) -> None:
        """Open the store, and again whenever its definitions change or it failed, until cancelled."""
        while True:
            try:
                await self._run(self._open_if_changed)
                self._missing = ""
            except Exception as error:  # noqa: BLE001  the store's errors are its backends'
                self._missing = _WHY_NOT.get(type(error), "the feature store cannot be opened")
            self.tried.set()
            await asyncio.sleep(_POLL_S)

    async def profile(self, customer_id: str) -> Profile:
        """The customer's features; none of a customer the store has never heard of, or when it cannot be read."""
        if self._store is None:
            return Profile(unavailable="features_unavailable")
        try:
            features = await self._run(lambda: self._read(customer_id))
        except Exception as error:  # noqa: BLE001  see `keep_open`; a decision goes on without features
            _log.error("features cannot be read: %s", place_of(error))
            self._registry_version = 0
            return Profile(unavailable="features_unavailable")
        if all(value is None for value in features.values()):
            return Profile(unavailable="unknown_customer")
        return Profile(features=features)

    async def forget(self, customer_id: str) -> int:
        """Remove what the store holds of the customer; returns how many features that were."""
        known = (await self.profile(customer_id)).features
        if known:
            await self._run(lambda: self._forget(customer_id))
        return len(known)

    async def missing(self) -> str:
        return self._missing

    async def _run(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _open_if_changed(self) -> None:
        if not self._registry.exists():
            raise FileNotFoundError(self._registry)
        version = self._registry.stat().st_mtime_ns
        if version == self._registry_version:
            return
        from feast import FeatureStore  # noqa: PLC0415  takes seconds, which only this thread waits for

        store = FeatureStore(repo_path=str(self._repo))
        self._service = store.get_feature_service(_SERVICE)
        self._store = store
        self._read(_NOBODY)  # what a first read prepares is not for a customer to wait for
        self._registry_version = version

    def _read(self, customer_id: str) -> dict[str, Attribute | None]:
        answer = self._store.get_online_features(self._service, [{_ENTITY: customer_id}]).to_dict()
        return {name: values[0] for name, values in answer.items() if name != _ENTITY}

    def _forget(self, customer_id: str) -> None:
        """Feast has no way to remove one customer from a store: nothing is written over everything there is."""
        import pandas as pd  # noqa: PLC0415  of no use to decisions

        for projection in self._service.feature_view_projections:
            view = self._store.get_feature_view(projection.name)
            nothing = {feature.name: [None] for feature in view.features}
            when = {view.batch_source.timestamp_field: [datetime.now(UTC)]}
            self._store.write_to_online_store(view.name, pd.DataFrame({_ENTITY: [customer_id], **nothing, **when}))
