"""What training depends on besides its rows: the code that trains, and how features are declared.

Belongs here: one version over all of it, by which a run knows that it would only repeat the last one. Does not belong
here: the rows (`models.frames`), or anything that takes time to import: orchestration asks before it imports a trainer.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from nextbest.settings import Settings

_BESIDE_TRAINING = {"commands.py", "follower.py", "linkage.py", "scoring.py"}
_SHARED = ("nextbest.features", "nextbest.model_set", "nextbest.adapters.onnx")
"""What training and serving have in common: how a matrix is made, described and scored."""


def training_digest(settings: Settings) -> str:
    """Changes with the source of training, of what it shares with serving, and with the declared features."""
    digest = hashlib.sha256()
    for file in training_files(settings):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def training_files(settings: Settings) -> list[Path]:
    """The files training depends on, always in the same order."""
    own = [file for file in Path(__file__).parent.rglob("*.py") if file.name not in _BESIDE_TRAINING]
    shared = [Path(spec.origin) for name in _SHARED if (spec := find_spec(name)) and spec.origin]
    features = [file for file in settings.feature_repo.iterdir() if file.suffix in {".py", ".yaml"}]
    return [*sorted(own), *shared, *sorted(features)]
