"""Scoring with ONNX: the models of one bundle, loaded once and ready to score.

Belongs here: onnxruntime, the names and shapes it is called with, and refusing what a model must not answer. Does not
belong here: what the columns are (`nextbest.features`), or files and hashes (`nextbest.adapters.bundles`). Nothing is
ever unpickled.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nextbest.adapters.bundles import read_bundle
from nextbest.features import Matrix
from nextbest.model_set import Model, ModelSet
from nextbest.situation import ScoringError

INPUT = "features"
_PARITY = 1e-3
"""Above what a gate lets through: another machine may round otherwise."""
_OUTPUTS = {"probability": "probabilities", "value": "variable"}


class OnnxModel:
    """One ONNX model under the house's convention: input `features`, float32 (rows, features)."""

    def __init__(self, model: Model, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a handful of rows: handing them to threads costs more than scoring them
        options.inter_op_num_threads = 1
        self._model = model
        self._output = _OUTPUTS[model.output]
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise ScoringError(f"{self._name}: not an ONNX model that can be loaded: {error}") from error
        self._check_signature()

    def score(self, matrix: Matrix) -> NDArray[np.float64]:
        """Probabilities of a response, or values; shape (rows,).

        Raises:
            ScoringError: the matrix has another shape, the model fails, or an answer is not finite or no probability.

        """
        if matrix.ndim != 2 or matrix.shape[1] != len(self._model.features):  # noqa: PLR2004  a matrix has two
            raise ScoringError(f"{self._name}: takes {len(self._model.features)} features, got shape {matrix.shape}")
        scores = self._run(matrix)
        if not np.isfinite(scores).all():
            raise ScoringError(f"{self._name}: {np.count_nonzero(~np.isfinite(scores))} scores are not finite")
        if self._model.output == "probability" and not ((scores >= 0.0) & (scores <= 1.0)).all():
            raise ScoringError(f"{self._name}: a probability is outside 0 to 1")
        return scores

    def prove(self) -> None:
        """Score the rows of the model's probe; of a model without one, a customer of whom nothing is known.

        Raises:
            ScoringError: the model says something else of them than where it was trained, or cannot score them.

        """
        probe = self._model.probe
        if probe is None:
            self.score(np.array([[feature.default for feature in self._model.features]], dtype=np.float32))
            return
        if {len(row) for row in probe.rows} != {len(self._model.features)} or len(probe.rows) != len(probe.scores):
            raise ScoringError(
                f"{self._name}: its probe has {len(probe.rows)} rows and {len(probe.scores)} scores, "
                f"and should have a score for each row of {len(self._model.features)} features"
            )
        said = self.score(np.array(probe.rows, dtype=np.float32))
        expected = np.array(probe.scores)
        if not np.allclose(said, expected, rtol=_PARITY, atol=_PARITY):
            raise ScoringError(f"{self._name}: says {said.tolist()} of its probe, and said {expected.tolist()} before")

    def _run(self, matrix: Matrix) -> NDArray[np.float64]:
        try:
            answer = self._session.run([self._output], {INPUT: matrix.astype(np.float32, copy=False)})[0]
            scores: NDArray[np.float64] = answer[:, -1].astype(np.float64)
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise ScoringError(f"{self._name}: failed: {error}") from error
        if scores.shape != matrix.shape[:1]:
            raise ScoringError(f"{self._name}: gave {len(scores)} scores for {len(matrix)} rows")
        return scores

    @property
    def _name(self) -> str:
        return f"{self._model.name} version {self._model.version}"

    def _check_signature(self) -> None:
        inputs = {given.name: given for given in self._session.get_inputs()}
        outputs = {given.name for given in self._session.get_outputs()}
        if set(inputs) != {INPUT} or self._output not in outputs:
            raise ScoringError(
                f"{self._name}: has inputs {sorted(inputs)} and outputs {sorted(outputs)}, "
                f"not the input {INPUT} and the output {self._output}"
            )
        given = inputs[INPUT]
        if given.type != "tensor(float)" or given.shape[1:] != [len(self._model.features)]:
            raise ScoringError(
                f"{self._name}: takes {given.type} of shape {given.shape}, but {len(self._model.features)} features "
                "are declared for it"
            )


class Scorer:
    """The models of one set (`nextbest.scoring.Models`)."""

    def __init__(self, model_set: ModelSet, files: dict[str, bytes]) -> None:
        self._model_set = model_set
        self._models, self._shadows = (
            {name: OnnxModel(model, files[model.file]) for name, model in some.items()}
            for some in (model_set.models, model_set.shadows)
        )

    @classmethod
    def load(cls, bundles: Path, model_set_id: str) -> "Scorer":
        """Load a bundle, every file verified before it is parsed.

        Raises:
            BundleError: the bundle is missing or was changed.
            ScoringError: a model cannot be loaded, or takes or gives something else than declared.

        """
        return cls(*read_bundle(bundles, model_set_id))

    @property
    def model_set(self) -> ModelSet:
        return self._model_set

    def prove(self) -> None:
        """Have every model say what it said where it was trained.

        Raises:
            ScoringError: one does not.

        """
        for model in (*self._models.values(), *self._shadows.values()):
            model.prove()

    def score(self, name: str, matrix: Matrix) -> NDArray[np.float64]:
        """Scores of model `name` for each row of `matrix`; shape (rows,).

        Raises:
            ScoringError: the set has no such model, or it cannot score the matrix.

        """
        if name not in self._models:
            raise ScoringError(f"model set {self._model_set.id} has no model {name}")
        return self._models[name].score(matrix)

    def score_beside(self, name: str, matrix: Matrix) -> NDArray[np.float64]:
        """What the shadow of model `name` says; it must have one.

        Raises:
            ScoringError: it cannot score the matrix.

        """
        return self._shadows[name].score(matrix)
