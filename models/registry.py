"""The model registry: the only module that imports MLflow.

Belongs here: setting the store up, logging a run with its version, tags and the alias. Does not belong here: deciding
what becomes champion (`models.gates`) or serving it (`models.follower`).

The registered model is the ONNX file, with `model.json` beside it: nothing is pickled, nothing unpickled.
"""

import fcntl
import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec
import numpy as np
import onnx

from models.candidate import Candidate, Champion, Registered
from models.gates import Check, GateResult, Verdict
from models.stability import Reference
from nextbest.errors import NextbestError
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

CHAMPION, SHADOW = "champion", "shadow"
GATE, GATE_SHA256, GATE_REASON, GATE_CHECKS = "gate", "gate_sha256", "gate_reason", "gate_checks"
GATE_DESCRIPTION = "gate_description_sha256"
"""The tag with the hash of the `model.json` that was judged: another order of features is another model."""
FINGERPRINT = "training_fingerprint"
LABELS_UNTIL = "labels_until"
"""The tag of a version that has the time of the newest label there was when it was trained."""
HISTORY = "champions"
"""The tag of a registered model that names its champions so far, the newest last: what a rollback goes back by."""
MAY_SERVE: tuple[Verdict, ...] = ("passed", "undecided")
"""Verdicts with which a version may act: of what is undecided somebody may decide."""
STORE_ERRORS = (MlflowException, SQLAlchemyError)
"""What a store that cannot be reached raises."""

_MODEL_FILE = "model.onnx"
_POPULATION = "population.json"
_PICTURE = ".png"
_DESCRIPTION = "extra_files/model.json"
_KEPT_CHAMPIONS = 20
_HEADER_BYTES, _CHANGES = 100, slice(24, 28)


class RegistryError(NextbestError):
    """The registry does not hold what was asked for, or does not allow it."""


class UnservableError(NextbestError):
    """A version that was not registered as serving takes models: it says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A model version as the registry knows it."""

    name: str
    version: str
    run_id: str
    aliases: frozenset[str]
    created_at: datetime
    tags: Mapping[str, str]

    @property
    def is_champion(self) -> bool:
        return CHAMPION in self.aliases

    @property
    def alias(self) -> str:
        """What it is in words: champion, shadow, or nothing."""
        return next((alias for alias in (CHAMPION, SHADOW) if alias in self.aliases), "")

    @property
    def labels_until(self) -> datetime | None:
        """The time of the newest label that it was trained or measured on, where that is known."""
        said = self.tags.get(LABELS_UNTIL)
        return datetime.fromisoformat(said) if said else None


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
        aliases = self._aliases(name)
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
        for tag, data, what in ((GATE_SHA256, content, "file"), (GATE_DESCRIPTION, description, "description")):
            # Of versions from before there was such a tag, the description is taken as it is.
            found, judged = _sha256(data), version.tags.get(tag)
            if found != judged and (judged is not None or tag == GATE_SHA256):
                raise UnservableError(f"the {what}'s sha256 is {found}, but the gate judged {judged}")
        return _described(version, content, description), content

    def artifacts(self, version: Version) -> tuple[Model, bytes]:
        """What `model.json` says, completed by name, version, run and hash; and the ONNX file. Nothing is unpickled.

        Raises:
            UnservableError: the version is of another flavour, or was registered without a description to go by.

        """
        content, description = self._files(version)
        return _described(version, content, description), content

    def files(self, version: Version) -> tuple[Path, ...]:
        """Where the files are that a version serves by."""
        uri = self._client.get_model_version_download_uri(version.name, version.version)
        folder = Path(url2pathname(urlsplit(uri).path))
        return tuple(folder / name for name in ("MLmodel", _MODEL_FILE, _DESCRIPTION))

    def _files(self, version: Version) -> tuple[bytes, bytes]:
        """The ONNX file and `model.json`."""
        uri = self._client.get_model_version_download_uri(version.name, version.version)
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=self._uri))
        _check_flavour(folder)
        return (folder / _MODEL_FILE).read_bytes(), (folder / _DESCRIPTION).read_bytes()

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

    def conclude(self, version: Version, candidate: Candidate, gate: GateResult, rival: str | None) -> Registered:
        """Write the verdict on the version; if it passed, it becomes champion, and what is undecided the shadow.

        So is one whose `rival`, the champion that it was compared with, is champion no more: somebody decided.
        `GATE_CHECKS` comes last: it is what `trained_on` looks for, so that a run killed before it trains again.
        """
        with self._one_at_a_time():
            champion = self.champion_version(version.name)
            if champion is not None and champion.version != rival:
                gate = GateResult((*gate.checks, _overtaken(champion.version, rival)))
            return self._conclude(version, candidate, gate)

    def _conclude(self, version: Version, candidate: Candidate, gate: GateResult) -> Registered:
        self.tag(version, GATE_SHA256, _sha256(candidate.onnx))
        self.tag(version, GATE_DESCRIPTION, _sha256(_description(candidate.model)))
        self.tag(version, GATE_REASON, gate.reason)
        self.tag(version, GATE, gate.verdict)  # with it somebody may promote the version: everything else is there
        if gate.verdict == "passed":
            self._make_champion(version.name, version.version)
        elif gate.verdict == "undecided":
            self._client.set_registered_model_alias(version.name, SHADOW, version.version)
        self.tag(version, GATE_CHECKS, msgspec.json.encode(gate).decode())
        return Registered(
            name=version.name,
            version=version.version,
            run_id=version.run_id,
            alias={"passed": CHAMPION, "undecided": SHADOW}.get(gate.verdict),
            metrics=candidate.metrics,
            gate=gate,
            skipped=False,
        )

    def reconsider(self, shadow: Version, check: Check, rival: str) -> None:
        """Have the version in the shadow become champion where it is not worse, and leave the shadow where it is.

        Where it is in the shadow no more, or `rival`, which it was compared with, champion no more, somebody decided.
        """
        verdict: Verdict = (
            "passed" if check.outcome == "met" else "failed" if check.outcome == "missed" else "undecided"
        )
        with self._one_at_a_time():
            aliases = self._aliases(shadow.name)
            if (str(aliases.get(CHAMPION)), str(aliases.get(SHADOW))) != (rival, shadow.version):
                return
            self.tag(shadow, GATE_REASON, check.message)
            self.tag(shadow, GATE, verdict)
            if verdict == "passed":
                self._make_champion(shadow.name, shadow.version)
            elif verdict == "failed":
                self._client.delete_registered_model_alias(shadow.name, SHADOW)

    def tag(self, version: Version, key: str, value: str) -> None:
        self._client.set_model_version_tag(version.name, version.version, key, value)

    def promote(self, name: str, number: str) -> None:
        """Make a version champion; its gate must not be against it.

        Raises:
            RegistryError: there is no such version, or its gate did not let it through.

        """
        with self._one_at_a_time():
            self._check_may_serve(name, number)
            self._make_champion(name, number)

    def rollback(self, name: str) -> str:
        """Make the champion of before champion again; returns its version. Once more, and the one before that is.

        Versions that were deleted are passed over; also the champion may be one.

        Raises:
            RegistryError: there is none that is known, or it may not serve any more.

        """
        with self._one_at_a_time():
            champion, former = self.champion_version(name), self._history(name)
            last = champion.version if champion else former[-1] if former else None
            there = {version.version for version in self.versions(name)}
            while former and (former[-1] == last or former[-1] not in there):
                former.pop()
            if not former:
                raise RegistryError(f"{name} had no champion before this one: `nextbest models promote {name} VERSION`")
            self._check_may_serve(name, former[-1])
            # Killed in between, the next rollback is this one; the other way round it would undo it.
            self._note(name, former)
            self._set_champion(name, former)
        return former[-1]

    def note_champion(self, version: Version) -> None:
        """Have a rollback know of the champion, however it became that: in MLflow's UI nobody else would say so."""
        with self._one_at_a_time():
            current = self.champion_version(version.name)
            if current is not None and current.version == version.version:
                self._note_last(version)

    @contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Of all processes, one trains a model: another that learned the same would go into the shadow of its twin.

        Raises:
            RegistryError: nothing can be logged, as somebody deleted the experiment; said now, not after the fit.

        """
        with self._store.with_name(f".training-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
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

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Of all processes, one changes who is champion: MLflow has no step that sets alias and history together."""
        with self._store.with_name(".champions.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _note_last(self, champion: Version) -> None:
        former = self._history(champion.name)
        if former[-1:] != [champion.version]:
            self._note(champion.name, [*former, champion.version])

    def _check_may_serve(self, name: str, number: str) -> None:
        found = [version for version in self.versions(name) if version.version == number]
        if not found:
            raise RegistryError(f"there is no version {number} of {name}: `nextbest models list` shows what there is")
        tags = found[0].tags
        if tags.get(GATE) not in MAY_SERVE:
            reason = tags.get(GATE_REASON, "it was never judged")
            raise RegistryError(f"{name} {number} did not pass its gate: {reason}")

    def _make_champion(self, name: str, number: str) -> None:
        if former := self.champion_version(name):
            self._note_last(former)
        before = self._history(name)
        self._set_champion(name, before if before[-1:] == [number] else [*before, number])

    def _set_champion(self, name: str, champions: Sequence[str]) -> None:
        """Set the alias on the last of them; a shadow was compared with the champion of before, and ends with it."""
        self._client.set_registered_model_alias(name, CHAMPION, champions[-1])
        if SHADOW in self._aliases(name):
            self._client.delete_registered_model_alias(name, SHADOW)
        self._note(name, champions)

    def _note(self, name: str, champions: Sequence[str]) -> None:
        self._client.set_registered_model_tag(name, HISTORY, " ".join(champions[-_KEPT_CHAMPIONS:]))

    def _history(self, name: str) -> list[str]:
        model = self._model(name)
        tags: Mapping[str, str] = model.tags if model else {}
        return tags.get(HISTORY, "").split()

    def _aliases(self, name: str) -> dict[str, str]:
        """The aliases of each version, by alias."""
        model = self._model(name)
        return dict(model.aliases) if model else {}

    def _model(self, name: str) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _of_alias(self, name: str, alias: str) -> Version | None:
        aliases = self._aliases(name)
        return _version(self._client.get_model_version(name, aliases[alias]), aliases) if alias in aliases else None


def _overtaken(champion: str, rival: str | None) -> Check:
    compared = f"version {rival} was" if rival else "there was none"
    message = f"version {champion} became champion during the training, when {compared}: so it goes into the shadow"
    return Check("not_worse_than_champion", "same_champion", "undecided", message)


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Say in words what keeps the store from being used.

    Raises:
        RegistryError: the store cannot be read or written.

    """
    try:
        yield
    except STORE_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise RegistryError(
            f"the model registry {settings.mlflow_store} cannot be used: {reason}. What serves goes on serving; try "
            "again once nothing else holds it, or put a backup of the folder in its place"
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
        description = Path(folder) / Path(_DESCRIPTION).name
        description.write_bytes(_description(candidate.model))
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


def _description(model: Model) -> bytes:
    """The content of `model.json`."""
    return msgspec.json.format(msgspec.json.encode(model), indent=2)


def _described(version: Version, content: bytes, description: bytes) -> Model:
    """The model by its description; name and file are the registry's, wherever the description was taken from."""
    try:
        model = msgspec.json.decode(description, type=Model)
    except msgspec.DecodeError as error:
        raise UnservableError(f"its {_DESCRIPTION} cannot be read: {error}") from error
    return msgspec.structs.replace(
        model,
        name=version.name,
        file=f"{version.name}.onnx",
        version=version.version,
        run_id=version.run_id,
        sha256=_sha256(content),
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
    for name in (_MODEL_FILE, _DESCRIPTION):
        if not (folder / name).is_file():
            raise UnservableError(f"it was registered without {name}: its recipe registers it (models/recipes/)")


def _version(version: ModelVersion, aliases: Mapping[str, str | int]) -> Version:
    """A version; `aliases` are those of the whole model, by alias."""
    number = str(version.version)
    return Version(
        name=version.name,
        version=number,
        run_id=str(version.run_id),
        aliases=frozenset(alias for alias, of in aliases.items() if str(of) == number),
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        tags=dict(version.tags),
    )
