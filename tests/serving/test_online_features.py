"""Features that cannot be read are a reason, never an exception, and never a wait."""

import asyncio
from pathlib import Path

from serving.app import running
from serving.online_features import OnlineFeatures


async def _opened(features: OnlineFeatures) -> str:
    async with running(features.keep_open()):
        await asyncio.sleep(0.05)
        return await features.missing()


def test_a_missing_store_is_a_reason(tmp_path: Path) -> None:
    """Before the first pipeline there is no registry."""
    features = OnlineFeatures(tmp_path, tmp_path / "registry.db")
    assert "nothing was materialized yet" in asyncio.run(_opened(features))
    assert asyncio.run(features.profile("c1")).unavailable == "features_unavailable"


def test_decisions_do_not_wait_for_the_store_to_open(tmp_path: Path) -> None:
    """Feast takes seconds to import: until it is open there are no features, and readiness says so."""
    features = OnlineFeatures(tmp_path, tmp_path)
    assert asyncio.run(features.profile("c1")).unavailable == "features_unavailable"
    assert "being opened" in asyncio.run(features.missing())
