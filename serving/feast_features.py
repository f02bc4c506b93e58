"""Online features through Feast's SDK: slower than reading what it stores, and right for whatever it may store.

Belongs here: opening Feast's store, reading and writing through it, on one thread. Does not belong here: when to do so
(`serving.online_features`, `serving.live_store`).
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from nextbest.adapters.feast_files import repo_config
from nextbest.adapters.feast_import import without_checks
from nextbest.records import Attribute
from nextbest.settings import Settings
from serving.feature_layout import ENTITY

T = TypeVar("T")
SERVICE = "decisioning"


class FeastFeatures:
    """Feast's client and the feature service that decisions read.

    Its SQLite store has one connection, and importing it takes seconds: everything of it takes turns on a thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="Feast")
        self.store: Any = None
        self.service: Any = None

    async def open(self) -> None:
        """Read the registry; it raises whatever Feast does."""
        self.store, self.service = await self.run(self._open)

    async def read(self, customer_id: str, now: float) -> dict[str, Attribute | None]:  # noqa: ARG002  it keeps no TTL
        """The customer's features: all None of an unknown one. It raises whatever Feast does."""
        store, service = self.store, self.service
        return await self.run(lambda: _read(store, service, customer_id))

    async def forget(self, customer_id: str) -> None:
        """Write nothing over everything there is of a customer: Feast has no other way to remove one from a store."""
        store, service = self.store, self.service
        await self.run(lambda: _forget(store, service, customer_id))

    async def put(self, view: str, rows: Mapping[str, Mapping[str, str | None]], at: datetime) -> None:
        """Write texts of a view, by customer and feature; none where there is nothing any more."""
        store = self.store
        await self.run(lambda: _put(store, store.get_feature_view(view), rows, at))

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self, job: Callable[[], T]) -> T:
        """Do `job` on the thread of Feast."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _open(self) -> tuple[Any, Any]:
        with without_checks():
            from feast import FeatureStore, RepoConfig  # noqa: PLC0415  takes a while, for which only this thread waits

        config = RepoConfig(**repo_config(self._settings), repo_path=self._settings.feature_repo)
        store = FeatureStore(config=config)
        return store, store.get_feature_service(SERVICE)


def _read(store: Any, service: Any, customer_id: str) -> dict[str, Attribute | None]:
    answer = store.get_online_features(service, [{ENTITY: customer_id}]).to_dict()
    return {name: values[0] for name, values in answer.items() if name != ENTITY}


def _forget(store: Any, service: Any, customer_id: str) -> None:
    for projection in service.feature_view_projections:
        view = store.get_feature_view(projection.name)
        _put(store, view, {customer_id: {feature.name: None for feature in view.features}}, datetime.now(UTC))


def _put(store: Any, view: Any, rows: Mapping[str, Mapping[str, str | None]], at: datetime) -> None:
    """Past `FeatureStore.write_to_online_store`, which takes nothing where there is nothing to keep, and is slower."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey  # noqa: PLC0415  see `_open`
    from feast.protos.feast.types.Value_pb2 import Value  # noqa: PLC0415

    data = [
        (
            EntityKey(join_keys=[ENTITY], entity_values=[Value(string_val=customer_id)]),
            {name: Value() if text is None else Value(string_val=text) for name, text in row.items()},
            at,
            None,
        )
        for customer_id, row in rows.items()
    ]
    store.provider.online_write_batch(store.config, view, data, None)
