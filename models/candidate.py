"""A trained model on its way to the registry, with all that is known of it.

Belongs here: the values training, gate and registry hand to each other. Does not belong here: making any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from models.gates import Evidence, GateResult, Thresholds
from nextbest.features import Matrix
from nextbest.model_set import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trained and measured model. `model` has no version, run or hash yet: the registry gives it those."""

    model: Model
    onnx: bytes
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    evidence: Evidence
    thresholds: Thresholds
    figures: Mapping[str, Figure]
    card: str
    example: Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The model serving runs now: what a candidate must not fall behind."""

    model: Model
    onnx: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A version in the registry and what became of it.

    `alias` is `champion` or none; `skipped` says that nothing changed since this version was trained.
    """

    name: str
    version: str
    run_id: str
    alias: str | None
    metrics: Mapping[str, float]
    gate: GateResult
    skipped: bool
