"""What a new training is a matter of: the code that trains, not the code that follows or lists."""

import subprocess
import sys

from models.dependencies import training_digest, training_files
from nextbest.settings import Settings


def test_training_depends_on_what_makes_a_model(settings: Settings) -> None:
    """Its own source, the matrix it shares with serving, the declared features; nothing that comes after a model."""
    files = {f"{file.parent.name}/{file.name}" for file in training_files(settings)}
    assert {"models/linear.py", "models/gates.py", "nextbest/features.py", "nextbest/model_set.py"} <= files
    assert {"adapters/onnx.py", "feature_repo/feature_services.py", "feature_repo/feature_store.yaml"} <= files
    assert not {"models/follower.py", "models/commands.py", "models/scoring.py"} & files
    assert training_digest(settings) == training_digest(settings)


def test_asking_is_light() -> None:
    """Orchestration asks whenever it loads; trainers and MLflow take seconds to import."""
    heavy = "mlflow", "sklearn", "onnx", "onnxruntime", "feast", "pandas"
    code = f"import sys, models.dependencies; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
