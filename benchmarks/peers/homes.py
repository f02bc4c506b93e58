"""What each system must find before it starts, brought there the way its own users would.

Belongs here: features, consents, earlier contacts and models on their way into a home. Does not belong here: what they
say (`customers`, `trained`), or processes that stay (`systems`).
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers import customers, trained
from benchmarks.peers.customers import TODAY
from benchmarks.peers.systems import START_S, System, python
from nextbest.adapters.bundles import write_bundle
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.logs import open_log
from nextbest.adapters.policy_files import read_document
from nextbest.adapters.states import open_state
from nextbest.adapters.supervisor import free_ports
from nextbest.envelope import Envelope
from nextbest.following import step
from nextbest.settings import Settings

_HERE = Path(__file__).parent
_GLUE_FEATURES = _HERE / "glue_features"
_BATCH = 5_000
_SPAN = (TODAY - timedelta(days=1), TODAY + timedelta(days=1))
# The one type in the model's file that is not scikit-learn's public face: the trees themselves.
_TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
_Prepare = Callable[[Settings], Mapping[str, str]]


def systems(folder: Path) -> list[System]:
    """Everybody, in the order they are measured; each in a home of its own below `folder`, but for the two glues."""
    count = Settings.from_env().replicas

    def home(name: str, *, on_redis: bool = False, haproxy: bool = True) -> Settings:
        http, redis = free_ports("127.0.0.1", 2)
        url = f"redis://127.0.0.1:{redis}/0" if on_redis else ""
        settings = Settings(home=folder / name)
        return replace(settings, http_port=http, state_url=url, haproxy=haproxy, replicas=count)

    def nextbest(name: str, settings: Settings) -> System:
        argv = python("nextbest", "serve")
        return System(
            name=name,
            settings=settings,
            argv=argv,
            ready_path="/readyz",
            prepare=prepare_nextbest,
            says_stages=True,
        )

    def peer(name: str, module: str, settings: Settings, prepare: _Prepare) -> System:
        argv = python("benchmarks.peers.host", module)
        surroundings = {"GLUE_REDIS": urlsplit(settings.state_url).netloc}
        return System(
            name=name, settings=settings, argv=argv, ready_path="/healthz", prepare=prepare, environment=surroundings
        )

    return [
        peer("echo", "echo", home("echo"), lambda _settings: {}),
        peer("glue", "glue", home("glue", on_redis=True, haproxy=False), prepare_glue),
        peer("glue_haproxy", "glue", home("glue", on_redis=True), prepare_glue),
        nextbest("nextbest_redis", home("nextbest_redis", on_redis=True)),
        nextbest("nextbest_sqlite", home("nextbest_sqlite")),
    ]


def prepare_nextbest(settings: Settings) -> Mapping[str, str]:
    """Features as the pipeline publishes them, consents and earlier contacts through the log, models as a bundle."""
    for name, table in customers.marts().items():
        _write(settings.marts / "current" / f"{name}.parquet", table)
    _write(settings.marts / "scores" / "customer_scores.parquet", customers.scores())
    _feast(settings, settings.feature_repo, {})
    start, end = (f"{moment:%Y-%m-%d}" for moment in _SPAN)
    script = str(settings.feature_repo / "materialize.py")
    _run([sys.executable, script, "--start", start, "--end", end], settings, {})
    model_set, files = trained.bundle(tuple(action for action, _ in actions(settings)))
    write_bundle(settings.bundles, model_set, files)
    asyncio.run(_fill(settings, model_set.id))
    _, key = KeyFile(settings.api_keys).create("benchmark", ("decide", "events"), 0, datetime.now(UTC))
    return {"Authorization": f"Bearer {key}"}


def prepare_glue(settings: Settings) -> Mapping[str, str]:
    """The same features in one view, and the same trees as a registered model."""
    if settings.mlflow_store.exists():
        return {}  # the other of the two glues was here before
    _write(settings.marts / "customer.parquet", customers.wide())
    environment = {"GLUE_REDIS": urlsplit(settings.state_url).netloc}
    _feast(settings, _GLUE_FEATURES, environment)
    feast = [str(Path(sys.executable).with_name("feast")), "-c", str(_GLUE_FEATURES)]
    _run([*feast, "materialize", *(f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in _SPAN)], settings, environment)
    _register(settings)
    return {}


def actions(settings: Settings) -> list[tuple[str, str]]:
    """The policy's actions that a model can know, with their groups: they have a category of their own."""
    document = read_document(settings.folder("policies"))
    known = customers.marts()["category_affinity"].column_names
    return [(each.id, each.group) for each in document.actions.actions if f"{customers.CATEGORY}__{each.id}" in known]


async def _fill(settings: Settings, model_set_id: str) -> None:
    """Log what happened, and follow the log as the event processor does."""
    entries = _entries(settings)
    with closing(open_log(settings)) as log, closing(open_state(settings)) as state:
        while batch := list(islice(entries, _BATCH)):
            await log.append(batch)
        while not (await step(log, state)).is_end:
            pass
        await state.publish_model_set(model_set_id)


def _register(settings: Settings) -> None:
    """The propensity model, logged and registered as MLflow's documentation shows."""
    import mlflow  # noqa: PLC0415  takes seconds, which only this system waits for
    from mlflow.models import infer_signature  # noqa: PLC0415

    model = trained.propensity(tuple(action for action, _ in actions(settings)))
    settings.mlflow_store.parent.mkdir(parents=True)
    mlflow.set_tracking_uri(settings.mlflow_uri)
    experiment = mlflow.create_experiment("glue", artifact_location=settings.mlflow_artifacts.as_uri())
    with mlflow.start_run(experiment_id=experiment):
        mlflow.sklearn.log_model(
            model.estimator,
            name="model",
            signature=infer_signature(model.example, model.estimator.predict_proba(model.example)),
            registered_model_name="propensity",
            pyfunc_predict_fn="predict_proba",
            skops_trusted_types=_TRUSTED,
        )
    mlflow.MlflowClient().set_registered_model_alias("propensity", "champion", "1")


def _entries(settings: Settings) -> Iterator[Envelope]:
    contracts = load_contracts(settings.folder("contracts"))
    yield from customers.consents(contracts["consents"])
    yield from customers.history(contracts["decisions"], contracts["events"], actions(settings))


def _feast(settings: Settings, repository: Path, environment: Mapping[str, str]) -> None:
    command = [str(Path(sys.executable).with_name("feast")), "-c", str(repository), "apply"]
    _run(command, settings, environment)


def _run(command: list[str], settings: Settings, environment: Mapping[str, str]) -> None:
    surroundings = {**os.environ, **settings.environment(), **environment}
    subprocess.run(command, env=surroundings, check=True, capture_output=True, timeout=START_S)


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
