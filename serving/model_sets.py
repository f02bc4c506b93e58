"""The model set in use: follows the one State names, and swaps it without a decision noticing.

Belongs here: when to load and when to swap. Does not belong here: which set is to be used (the follower in `models/`
publishes it), or what a bundle is (`nextbest.adapters.bundles`).
"""

import asyncio
import logging
from pathlib import Path

import numpy as np

from nextbest.adapters.bundles import MANIFEST, BundleError
from nextbest.adapters.onnx import Scorer
from nextbest.situation import ScoringError
from nextbest.state import State, StateUnavailableError

_log = logging.getLogger(__name__)
_POLL_S = 0.5
_WARM_ROWS = (1, 32)


class ModelSets:
    """Holds the current model set; a decision that has begun keeps the set it began with."""

    def __init__(self, bundles: Path, state: State) -> None:
        self._bundles = bundles
        self._state = state
        self._refused: str | None = None
        self.current: Scorer | None = None

    async def start(self) -> None:
        """Load the set State names, or else the last good bundle; none is no error: decisions fall back."""
        await self.update()
        if self.current is None:
            for model_set_id in await asyncio.to_thread(_newest_first, self._bundles):
                if await self._load(model_set_id):
                    return

    async def follow(self) -> None:
        """Look every half second for another set, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            await self.update()

    async def update(self) -> None:
        """Load the set State names, where it is another one; what cannot be used is refused once, and said."""
        try:
            wanted = await self._state.current_model_set()
        except StateUnavailableError as error:
            _log.warning("model sets are not followed: %s", error)
            return
        in_use = self.current and self.current.model_set.id
        if wanted and wanted not in (in_use, self._refused) and not await self._load(wanted):
            self._refused = wanted

    async def _load(self, model_set_id: str) -> bool:
        try:
            self.current = await asyncio.to_thread(_load_warm, self._bundles, model_set_id)
        except (BundleError, ScoringError) as error:
            _log.error("model set %s is refused, the last good one stays: %s", model_set_id, error)
            return False
        self._refused = None
        _log.info("model set %s is in use", model_set_id)
        return True


def _load_warm(bundles: Path, model_set_id: str) -> Scorer:
    """Load a set and score its defaults: the first real decision must not be the one that is slow, or that fails."""
    scorer = Scorer.load(bundles, model_set_id)
    for name, model in scorer.model_set.models.items():
        defaults = np.array([feature.default for feature in model.features], dtype=np.float32)
        together, alone = (scorer.score(name, np.tile(defaults, (rows, 1))) for rows in reversed(_WARM_ROWS))
        if not np.allclose(together, alone[0], rtol=1e-5):
            raise ScoringError(f"model set {model_set_id}: {name} scores the same row differently in a batch")
    return scorer


def _newest_first(bundles: Path) -> list[str]:
    manifests = sorted(bundles.glob(f"[!.]*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [manifest.parent.name for manifest in manifests]
