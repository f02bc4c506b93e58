"""The model set in use: the one State names, warmed before a decision needs it.

Belongs here: loading a bundle. Does not belong here: when (`serving.followed`), which set is to be used (the
follower of `models/` publishes it), or what a bundle is (`nextbest.adapters.bundles`).
"""

from functools import partial
from pathlib import Path

import numpy as np

from nextbest.adapters.bundles import MANIFEST
from nextbest.adapters.onnx import Scorer
from nextbest.situation import ScoringError
from nextbest.state import State
from serving.followed import Followed

_WARM_ROWS = (1, 32)


class ModelSets(Followed[Scorer]):
    """The current model set; without one decisions fall back."""

    def __init__(self, bundles: Path, state: State) -> None:
        super().__init__(
            "model set", state.current_model_set, partial(_load_warm, bundles), partial(_newest_first, bundles)
        )


def _load_warm(bundles: Path, model_set_id: str) -> Scorer:
    """Load a set, score probes and defaults: the first real decision must not be the one that is slow or fails."""
    scorer = Scorer.load(bundles, model_set_id)
    scorer.prove()
    found = scorer.model_set
    for score, some in ((scorer.score, found.models), (scorer.score_beside, found.shadows)):
        for name, model in some.items():
            defaults = np.array([feature.default for feature in model.features], dtype=np.float32)
            together, alone = (score(name, np.tile(defaults, (rows, 1))) for rows in reversed(_WARM_ROWS))
            if not np.allclose(together, alone[0], rtol=1e-5):
                raise ScoringError(f"model set {model_set_id}: {name} scores the same row differently in a batch")
    return scorer


def _newest_first(bundles: Path) -> list[str]:
    manifests = sorted(bundles.glob(f"[!.]*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [manifest.parent.name for manifest in manifests]
