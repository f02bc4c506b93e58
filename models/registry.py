"""The model registry: the only module that imports MLflow.

Belongs here: setting the store up, logging a run with its version, tags and the alias. Does not belong here: deciding
what becomes champion (`models.gates`, `models.champions`) or serving it (`models.follower`).

The registered model is the ONNX file, with `model.json` beside it: nothing is pickled, nothing unpickled.
"""

import fcntl
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec
import numpy as np
import onnx

from models import descriptions
from models.candidate import Candidate, Champion, Registered
from models.descriptions import DESCRIPTION, MODEL_FILE
from models.gates import GateResult
from models.stability import Reference
from models.versions import (
    CHAMPION,
    FINGERPRINT,
    GATE,
    GATE_CHECKS,
    GATE_REASON,
    MAY_SERVE,
    SHADOW,
    RegistryError,
    UnservableError,
    Version,
)
from nextbest.model_set import MODELS, Model
from nextbest.settings import Settings

# MLflow reads these when it is imported: it sends no usage data, and draws no bar over our own progress.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A connection that is kept goes on reading a store that was replaced, from a backup say, as if nothing had happened.
os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")

import mlflow
import mlflow.onnx
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sqlalchemy.exc import SQLAlchemyError

STORE_ERRORS = (MlflowException, SQLAlchemyError)
"""What a store that cannot be reached raises."""

_POPULATION = "population.json"
_PICTURE = ".png"
_HEADER_BYTES, _CHANGES = 100, slice(24, 28)


class Registry:
    """The MLflow store of one home."""

    def __init__(self, settings: Settings) -> None:
        """Open the store; the first to do so creates it."""
        _setup(settings)
        self._client = _client(settings)
        self._uri = settings.mlflow_uri
        self._store = settings.mlflow_store

    def revision(self) -> object:
        """Another value after every change of the store, in microseconds where asking MLflow takes a tenth of a second.

        It is which file it is and SQLite's own count of its changes (bytes 24 to 27 of the header,
        https://www.sqlite.org/fileformat2.html#file_change_counter). None: it cannot be told.
        """
        try:
            with self._store.open("rb") as store:
                return os.fstat(store.fileno()).st_ino, store.read(_HEADER_BYTES)[_CHANGES]
        except OSError:
            return None

    def champion_version(self, name: str) -> Version | None:
        return self._of_alias(name, CHAMPION)

    def shadow_version(self, name: str) -> Version | None:
        """The version that scores beside the champion, if there is one that is not the champion itself."""
        version = self._of_alias(name, SHADOW)
        return None if version is None or version.is_champion else version

    def champion(self, name: str) -> Champion | None:
        """Who acts, to be asked or compared with.

        Raises:
            UnservableError: the alias is on a version that must not serve.

        """
        version = self.champion_version(name)
        if version is None:
            return None
        try:
            model, content = self.judged(version)
        except UnservableError as error:
            raise UnservableError(
                f"{name} {version.version} is called champion and must not serve: {error}; "
                f"`nextbest models promote {name} VERSION` makes another one champion"
            ) from error
        return Champion(model=model, onnx=content)

    def versions(self, name: str) -> list[Version]:
        """Every version of a model, newest first."""
        aliases = self.aliases(name)
        found = [_version(each, aliases) for each in self._client.search_model_versions(f"name = '{name}'")]
        return sorted(found, key=lambda version: int(version.version), reverse=True)

    def current(self, name: str) -> Version:
        """The champion, or the newest version as long as there is none.

        Raises:
            RegistryError: there is no version at all.

        """
        versions = self.versions(name)
        if not versions:
            raise RegistryError(f"there is no version of {name}: `nextbest pipeline` trains one")
        return next((version for version in versions if version.is_champion), versions[0])

    def last_judged(self, name: str) -> Version | None:
        """The newest version that its gate has judged, whatever it found."""
        return next((version for version in self.versions(name) if GATE_CHECKS in version.tags), None)

    def metrics(self, version: Version) -> Mapping[str, float]:
        """What was measured when the version was trained."""
        metrics: Mapping[str, float] = self._client.get_run(version.run_id).data.metrics
        return metrics

    def population(self, version: Version) -> Reference | None:
        """The population that the version was trained for; None of one that was registered without."""
        if _POPULATION not in [file.path for file in self._client.list_artifacts(version.run_id)]:
            return None
        file = Path(self._client.download_artifacts(version.run_id, _POPULATION))
        return msgspec.json.decode(file.read_bytes(), type=Reference)

    def figures(self, version: Version) -> dict[str, bytes]:
        """The run's pictures, as PNG by name."""
        names = [file.path for file in self._client.list_artifacts(version.run_id) if file.path.endswith(_PICTURE)]
        files = {name: Path(self._client.download_artifacts(version.run_id, name)) for name in names}
        return {name.removesuffix(_PICTURE): file.read_bytes() for name, file in files.items()}

    def judged(self, version: Version) -> tuple[Model, bytes]:
        """The artifacts of a version that may serve: its gate let it through, and they are what the gate judged.

        Raises:
            UnservableError: it must not serve.

        """
        if version.tags.get(GATE) not in MAY_SERVE:
            reason = version.tags.get(GATE_REASON, "it was never judged")
            raise UnservableError(f"its gate did not let it through: {reason}")
        content, description = self._files(version)
        descriptions.check_judged(version, content, description)
        return descriptions.described(version, content, description), content

    def artifacts(self, version: Version) -> tuple[Model, bytes]:
        """What `model.json` says, completed by name, version, run and hash; and the ONNX file. Nothing is unpickled.

        Raises:
            UnservableError: the version is of another flavour, or was registered without a description to go by.

        """
        content, description = self._files(version)
        return descriptions.described(version, content, description), content

    def files(self, version: Version) -> tuple[Path, ...]:
        """Where the files are that a version serves by."""
        uri = self._client.get_model_version_download_uri(version.name, version.version)
        folder = Path(url2pathname(urlsplit(uri).path))
        return tuple(folder / name for name in ("MLmodel", MODEL_FILE, DESCRIPTION))

    def _files(self, version: Version) -> tuple[bytes, bytes]:
        """The ONNX file and `model.json`."""
        uri = self._client.get_model_version_download_uri(version.name, version.version)
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=self._uri))
        _check_flavour(folder)
        return (folder / MODEL_FILE).read_bytes(), (folder / DESCRIPTION).read_bytes()

    def trained_on(self, name: str, fingerprint: str) -> Registered | None:
        """The judged version that was trained on exactly this, if any."""
        for version in self.versions(name):
            if version.tags.get(FINGERPRINT) == fingerprint and GATE_CHECKS in version.tags:
                return Registered(
                    name=name,
                    version=version.version,
                    run_id=version.run_id,
                    alias=version.alias or None,
                    metrics=self.metrics(version),
                    gate=msgspec.json.decode(version.tags[GATE_CHECKS], type=GateResult),
                    skipped=True,
                )
        return None

    def log(self, candidate: Candidate, fingerprint: str, population: Reference, now: datetime) -> Version:
        """Log a run with everything known of the candidate, and register its ONNX file as a new version."""
        model = candidate.model
        with _run(self._uri, model.name, f"{model.name} {now:%Y-%m-%d %H:%M:%S}", fingerprint) as run_id:
            mlflow.log_params(dict(candidate.params))
            mlflow.log_metrics(dict(candidate.metrics))
            mlflow.log_text(candidate.card, "model_card.md")
            mlflow.log_text(msgspec.json.encode(population).decode(), _POPULATION)
            for name, figure in candidate.figures.items():
                mlflow.log_figure(figure, name + _PICTURE)
            number = _log_model(candidate)
        self._client.set_model_version_tag(model.name, number, FINGERPRINT, fingerprint)
        version = _version(self._client.get_model_version(model.name, number), {})
        if self.artifacts(version)[1] != candidate.onnx:
            raise RegistryError(
                f"{model.name} {number}: the registry holds another file than the one that was measured"
            )
        return replace(version, run_id=run_id, created_at=now)

    def tag(self, version: Version, key: str, value: str) -> None:
        self._client.set_model_version_tag(version.name, version.version, key, value)

    def set_alias(self, name: str, alias: str, number: str) -> None:
        self._client.set_registered_model_alias(name, alias, number)

    def remove_alias(self, name: str, alias: str) -> None:
        self._client.delete_registered_model_alias(name, alias)

    def tag_model(self, name: str, key: str, value: str) -> None:
        self._client.set_registered_model_tag(name, key, value)

    def model_tags(self, name: str) -> Mapping[str, str]:
        """The tags of a model; none of one that was never registered."""
        model = self._model(name)
        return dict(model.tags) if model else {}

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Of all processes that use this store, one does this at a time."""
        with self._store.with_name(f".{what}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Of all processes, one trains a model: another that learned the same would go into the shadow of its twin.

        Raises:
            RegistryError: nothing can be logged, as somebody deleted the experiment; said now, not after the fit.

        """
        with self.alone(f"training-{name}"):
            [experiment] = self._client.search_experiments(ViewType.ALL, filter_string=f"name = '{name}'")
            if experiment.lifecycle_stage != "active":
                raise RegistryError(
                    f"somebody deleted the MLflow experiment {name}, so that no training can be logged: "
                    f"`MLFLOW_TRACKING_URI={self._uri} mlflow experiments restore -x {experiment.experiment_id}` "
                    "brings it back"
                )
            self._end_killed(experiment.experiment_id)
            yield

    def _end_killed(self, experiment: str) -> None:
        """Have MLflow show runs as killed whose process said nothing any more: no other one trains this model now."""
        is_ours = f"attributes.status = 'RUNNING' AND tags.{FINGERPRINT} != ''"
        for run in self._client.search_runs([experiment], is_ours):
            self._client.set_terminated(run.info.run_id, "KILLED")

    def aliases(self, name: str) -> dict[str, str]:
        """The version that has each alias."""
        model = self._model(name)
        return {alias: str(number) for alias, number in model.aliases.items()} if model else {}

    def _model(self, name: str) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _of_alias(self, name: str, alias: str) -> Version | None:
        aliases = self.aliases(name)
        return _version(self._client.get_model_version(name, aliases[alias]), aliases) if alias in aliases else None


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Say in words what keeps the store from being used.

    Raises:
        RegistryError: the store cannot be read or written; the disk is full, say.

    """
    try:
        yield
    except (OSError, *STORE_ERRORS) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RegistryError(
            f"the model registry {settings.mlflow_store} cannot be used: {reason}. What serves goes on serving; try "
            "again once nothing else holds it and the disk has room, or put a backup of the folder in its place"
        ) from error


def _setup(settings: Settings) -> None:
    """Create the store, one process at a time, with artifacts below the home instead of the current folder."""
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    with settings.mlflow_store.with_name(".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not settings.mlflow_store.exists():
            _create(settings.mlflow_store)
        client = _client(settings)
        for name in MODELS:
            if client.get_experiment_by_name(name) is None:
                client.create_experiment(name, artifact_location=(settings.mlflow_artifacts / name).as_uri())


def _create(store: Path) -> None:
    """Make the tables aside and move them in by one rename: killed between two migrations, MLflow could not go on."""
    with tempfile.TemporaryDirectory(dir=store.parent) as folder:
        draft = Path(folder) / store.name
        MlflowClient(tracking_uri=f"sqlite:///{draft}")
        draft.rename(store)


def _client(settings: Settings) -> MlflowClient:
    return MlflowClient(tracking_uri=settings.mlflow_uri, registry_uri=settings.mlflow_uri)


@contextmanager
def _run(uri: str, experiment: str, name: str, fingerprint: str) -> Iterator[str]:
    # Logging a model works on MLflow's process-wide store only.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=name, tags={FINGERPRINT: fingerprint}) as run:
        yield run.info.run_id


def _log_model(candidate: Candidate) -> str:
    example = candidate.example
    proto = onnx.load_model_from_string(candidate.onnx)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Of a type hint of its own, when MLflow imports what logging needs.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred", category=UserWarning)
        description = Path(folder) / Path(DESCRIPTION).name
        description.write_bytes(descriptions.description(candidate.model))
        info = mlflow.onnx.log_model(
            proto,
            name="model",
            registered_model_name=candidate.model.name,
            signature=ModelSignature(_schema(proto.graph.input), _schema(proto.graph.output)),
            input_example=example,
            pip_requirements=["onnx", "onnxruntime"],
            onnx_execution_providers=["CPUExecutionProvider"],
            save_as_external_data=False,
            extra_files=[str(description)],
        )
    return str(info.registered_model_version)


def _schema(tensors: Sequence[onnx.ValueInfoProto]) -> Schema:
    widths = {tensor.name: tensor.type.tensor_type.shape.dim[1].dim_value for tensor in tensors}
    return Schema([TensorSpec(np.dtype(np.float32), (-1, width), name) for name, width in widths.items()])


def _check_flavour(folder: Path) -> None:
    """Raise what keeps a registered model from being served, by what MLflow says of it; none of its code is run."""
    try:
        flavours = sorted(mlflow.models.Model.load(str(folder)).flavors)
    except Exception as error:  # of a file `MLmodel` that is none, each reader of it raises its own
        raise UnservableError(f"its file MLmodel cannot be read: {error}") from error
    if "onnx" not in flavours:
        said = ", ".join(flavour for flavour in flavours if flavour != "python_function") or "python_function"
        raise UnservableError(f"its flavour is {said}: serving loads ONNX only, and unpickles nothing")
    for name in (MODEL_FILE, DESCRIPTION):
        if not (folder / name).is_file():
            raise UnservableError(f"it was registered without {name}: its recipe registers it (models/recipes/)")


def _version(version: ModelVersion, aliases: Mapping[str, str]) -> Version:
    """A version; `aliases` are those of the whole model, by alias."""
    number = str(version.version)
    return Version(
        name=version.name,
        version=number,
        run_id=str(version.run_id),
        aliases=frozenset(alias for alias, of in aliases.items() if of == number),
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        tags=dict(version.tags),
    )
