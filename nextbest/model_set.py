"""The model set: the models that decide together, published and swapped as one.

Belongs here: what a bundle's manifest says. Does not belong here: reading or writing bundles
(`nextbest.adapters.bundles`), running a model (`nextbest.adapters.onnx`), or training one (`models/`).
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

MODELS = ("propensity", "clv", "churn", "segments", "opens", "clicks", "uplift", "preferences", "intent")
"""The models there are, by the names that registry, pipeline and model sets have for them."""
Origin = Literal["customer", "action", "match", "context"]
Output = Literal["probability", "value"]


class FeatureSpec(msgspec.Struct, frozen=True):
    """One column of a model's input and where its value comes from.

    `customer`: the online feature `name`; `action`: the model's own table of action features; `match`: the online
    feature `name__<action>`; `context`: a numeric attribute of the request or the action. `default` stands in for
    what is missing.
    """

    name: str
    origin: Origin
    default: float = 0.0


class Probe(msgspec.Struct, frozen=True):
    """Rows of a model's input, and what it said of them where it was trained: whoever loads it must find the same."""

    rows: tuple[tuple[float, ...], ...]
    scores: tuple[float, ...]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model version of a set: an ONNX file and everything needed to feed it.

    `trained_until` is the moment from which on it has seen nothing, neither feature nor label. `labels` are the names
    of what it says by number, where a value is the number of a kind.
    """

    name: str
    version: str
    run_id: str
    file: str
    sha256: str
    features: tuple[FeatureSpec, ...]
    action_features: dict[str, dict[str, float]] = {}
    output: Output
    trained_until: datetime | None = None
    probe: Probe | None = None
    labels: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.sha256)


class ModelSet(msgspec.Struct, frozen=True, kw_only=True):
    """The models of one bundle by name; a decision uses exactly one set and says which.

    `shadows` score beside the model of their name, and decide nothing.
    """

    id: str
    created_at: datetime
    models: dict[str, Model]
    shadows: dict[str, Model] = {}
    feature_service: str = "decisioning"

    @property
    def everyone(self) -> tuple[Model, ...]:
        """The models and the shadows."""
        return (*self.models.values(), *self.shadows.values())


def model_set(
    models: Iterable[Model],
    created_at: datetime,
    feature_service: str = "decisioning",
    *,
    shadows: Iterable[Model] = (),
) -> ModelSet:
    """The set of `models`, under the id their content gives it: the same models are the same set, whenever made."""
    acting, beside = ({each.name: each for each in sorted(some, key=_name)} for some in (models, shadows))
    content = msgspec.json.encode([acting, beside, feature_service], order="sorted")
    return ModelSet(
        id=hashlib.sha256(content).hexdigest()[:16],
        created_at=created_at,
        models=acting,
        shadows=beside,
        feature_service=feature_service,
    )


def _name(model: Model) -> str:
    return model.name


def encode_manifest(model_set: ModelSet) -> bytes:
    """The manifest file of a bundle, indented for people."""
    return msgspec.json.format(msgspec.json.encode(model_set), indent=2)


def decode_manifest(data: bytes) -> ModelSet:
    """The model set a manifest describes.

    Raises:
        msgspec.ValidationError: not a manifest; the message names the field.

    """
    return msgspec.json.decode(data, type=ModelSet)
