"""Online features through Feast: what the feature service `decisioning` holds of a customer.

Belongs here: reading one customer's features without blocking the event loop. Does not belong here: which features
there are (`feature_repo/`), or what they mean.
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nextbest.messages import Profile

_log = logging.getLogger(__name__)
_ENTITY = "customer_id"
_SERVICE = "decisioning"


class OnlineFeatures:
    """Feast's online store, opened when first read and again after an error, in a thread of its own."""

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features")
        self._store: Any = None
        self._service: Any = None

    async def profile(self, customer_id: str) -> Profile:
        """The customer's features; none of a customer the store has never heard of, or when it cannot be read."""
        try:
            features = await self._run(lambda: self._read(customer_id))
        except Exception:  # noqa: BLE001  the store's errors are its backends'; a decision goes on without features
            _log.exception("features cannot be read")
            self._store = None
            return Profile(unavailable="features_unavailable")
        if all(value is None for value in features.values()):
            return Profile(unavailable="unknown_customer")
        return Profile(features=features)

    async def missing(self) -> str:
        """Why features cannot be read; empty when they can."""
        try:
            await self._run(self._open)
        except Exception as error:  # noqa: BLE001  see `profile`
            return str(error) or type(error).__name__
        return ""

    async def _run(self, job: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _open(self) -> None:
        if self._store is None:
            from feast import FeatureStore  # noqa: PLC0415  takes seconds, which the event loop must not wait for

            store = FeatureStore(repo_path=str(self._repo))
            self._service = store.get_feature_service(_SERVICE)
            self._store = store

    def _read(self, customer_id: str) -> Mapping[str, float | int | str | bool | None]:
        self._open()
        answer = self._store.get_online_features(self._service, [{_ENTITY: customer_id}]).to_dict()
        return {name: values[0] for name, values in answer.items() if name != _ENTITY}
