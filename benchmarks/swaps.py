"""Promotions under load: how soon every replica serves another model, and what fails or is mixed meanwhile.

Nothing may. Run by `nextbest bench swaps`. A home with a registry of two versions of propensity, each of which gives
every customer a log odds of its own; servers with two replicas, the follower beside them; decisions come at a steady
pace while the alias `champion` goes back and forth, as it does in MLflow's UI. Afterwards the log is read: whether
every decision was made by one set, whose version's log odds all its candidates have, and when the first of the new set
and the last of the old were decided after each promotion.
"""

import asyncio
import hashlib
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import click
import mlflow
import mlflow.onnx
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.peers import customers
from benchmarks.peers.homes import actions, prepare_nextbest
from benchmarks.trials.installation import BACKENDS, Installation, installed
from benchmarks.trials.traffic import Answered, Traffic
from models.champions import Champions
from models.linear import LinearModel
from models.registry import Registry
from models.versions import CHAMPION, GATE, GATE_SHA256
from nextbest import records
from nextbest.adapters.bundles import read_bundle
from nextbest.adapters.logs import open_log
from nextbest.adapters.states import open_state
from nextbest.model_set import FeatureSpec, Model, Probe
from nextbest.records import DecisionRecord
from nextbest.settings import Settings

GOAL_S = 5.0
PLACEMENTS = ("home_banner",)
LOG_ODDS = {"1": -2.0, "2": -3.0}
"""By version, of everybody."""
_NAME = "propensity"
_PER_S = 60.0
_PAUSE_S = 4.0
_CUSTOMERS = 500
_PAGE = 2_000
_START_S = 30.0
_ROUNDING = 1e-4


class Swap(msgspec.Struct, frozen=True):
    """A promotion: seconds until the first decision of the new set, and until the last of the old."""

    to: str
    first_s: float
    last_s: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one backend: latencies in milliseconds, within a second of a swap and at all other times."""

    swaps: list[Swap]
    decisions: int
    failed: int
    degraded: int
    mixed: int
    p50_ms: float
    p99_ms: float
    p99_steady_ms: float

    @property
    def is_fine(self) -> bool:
        return not (self.failed or self.degraded or self.mixed) and all(swap.last_s <= GOAL_S for swap in self.swaps)


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--swaps", type=click.IntRange(1), default=20, show_default=True, help="Promotions.")
@click.option("--backend", "backends", multiple=True, type=click.Choice(BACKENDS), help="Only on this one.")
def main(report: Path | None, swaps: int, backends: tuple[str, ...]) -> None:
    """Promote back and forth under load and print what came of it; exits with 1 when anything is wrong."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends what it has started
    found = {backend: _measure(backend, swaps) for backend in backends or BACKENDS}
    counted = ("decisions", "failed", "degraded", "mixed")
    table = Table("", "swaps", "first s", "last s", *counted, "p50 ms", "p99 at a swap", "p99 else")
    for backend, each in found.items():
        first, last = (max(getattr(swap, name) for swap in each.swaps) for name in ("first_s", "last_s"))
        latencies = (each.p50_ms, each.p99_ms, each.p99_steady_ms)
        table.add_row(
            backend,
            str(len(each.swaps)),
            f"{first:.2f}",
            f"{last:.2f}",
            *(f"{getattr(each, name):,}" for name in counted),
            *(f"{value:.1f}" for value in latencies),
        )
    Console(width=150).print(table)
    if report:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    sys.exit(0 if all(each.is_fine for each in found.values()) else 1)


def _measure(backend: str, swaps: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder, installed(backend, Path(folder), _prepare, has_clock=False) as home:
        with _following(home.settings):
            _wait_for(home.settings, "1")
            traffic = Traffic(
                url=home.url,
                key=home.key,
                customers=customers.ids()[:_CUSTOMERS],
                placements=PLACEMENTS,
                decisions_per_s=_PER_S,
                batches_per_s=1.0,
            )
            with traffic.flowing():
                time.sleep(_PAUSE_S)
                promoted = [_promote(home.settings, "2" if number % 2 == 0 else "1") for number in range(swaps)]
        return _figures(home, traffic.decisions, promoted)


def _prepare(settings: Settings) -> Mapping[str, str]:
    """A home that can decide, and two registered versions of which the first is champion."""
    headers = prepare_nextbest(settings)
    registry = Registry(settings)
    mlflow.set_tracking_uri(settings.mlflow_uri)
    mlflow.set_registry_uri(settings.mlflow_uri)
    mlflow.set_experiment(_NAME)
    client = mlflow.MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    for version, log_odds in LOG_ODDS.items():
        number, content = _register(settings, log_odds)
        client.set_model_version_tag(_NAME, number, GATE, "passed")
        client.set_model_version_tag(_NAME, number, GATE_SHA256, hashlib.sha256(content).hexdigest())
        if number != version:
            raise click.ClickException(f"version {number} was registered where {version} was expected")
    Champions(registry).promote(_NAME, "1")
    return headers


def _register(settings: Settings, log_odds: float) -> tuple[str, bytes]:
    fitted = LinearModel("log1p", "logistic", np.zeros(1), log_odds)
    model = Model(
        name=_NAME,
        version="",
        run_id="",
        file=f"{_NAME}.onnx",
        sha256="",
        features=(FeatureSpec("spend_91d", "customer"),),
        action_features={action: {} for action, _ in actions(settings)},
        output="probability",
        probe=Probe(((1.0,),), (1.0 / (1.0 + math.exp(-log_odds)),)),
    )
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run():
        description = Path(folder) / "model.json"
        description.write_bytes(msgspec.json.encode(model))
        info = mlflow.onnx.log_model(
            fitted.to_onnx(),
            name="model",
            registered_model_name=_NAME,
            pip_requirements=["onnx"],
            save_as_external_data=False,
            extra_files=[str(description)],
        )
    number = str(info.registered_model_version)
    client = mlflow.MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    uri = client.get_model_version_download_uri(_NAME, number)
    stored = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=settings.mlflow_uri))
    return number, (stored / "model.onnx").read_bytes()


@contextmanager
def _following(settings: Settings) -> Iterator[None]:
    """The follower as a process of its own, while the context lasts."""
    command = [sys.executable, "-m", "nextbest", "follow"]
    process = subprocess.Popen(command, env={**os.environ, **settings.environment()}, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _promote(settings: Settings, version: str) -> tuple[str, datetime]:
    """Set the alias as MLflow's UI does, and give everything time to follow."""
    client = mlflow.MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    at = datetime.now(UTC)
    client.set_registered_model_alias(_NAME, CHAMPION, version)
    time.sleep(_PAUSE_S)
    return version, at


def _wait_for(settings: Settings, version: str) -> None:
    """Return once State names a set with the version.

    Raises:
        click.ClickException: it does not within half a minute.

    """
    until = time.monotonic() + _START_S
    with closing(open_state(settings)) as state:
        while time.monotonic() < until:
            current = asyncio.run(state.current_model_set())
            if current and read_bundle(settings.bundles, current)[0].models[_NAME].version == version:
                time.sleep(_PAUSE_S)  # replicas look every half second
                return
            time.sleep(0.2)
    raise click.ClickException(f"version {version} was not published within {_START_S:.0f} s")


def _figures(home: Installation, answered: Sequence[Answered], promoted: Sequence[tuple[str, datetime]]) -> Figures:
    versions = {path.name: _version(home.settings, path.name) for path in home.settings.bundles.glob("[!.]*")}
    logged = sorted(_logged(home.settings, promoted[0][1]), key=lambda record: record.occurred_at)
    made = [(record.occurred_at, versions.get(record.model_set_id or "", ""), record) for record in logged]
    known = {action for action, _ in actions(home.settings)}
    ends = [at for _, at in promoted[1:]] + [made[-1][0]]
    swaps = [
        _swap(version, at, [(when, of) for when, of, _ in made if at <= when < end])
        for (version, at), end in zip(promoted, ends, strict=True)
    ]
    began = [at.timestamp() for _, at in promoted]
    offset = time.time() - time.monotonic()
    latencies = np.array([1_000.0 * (each.answered_s - each.sent_s) for each in answered])
    near = np.array([any(0 <= each.sent_s + offset - at <= GOAL_S / 2 for at in began) for each in answered])
    return Figures(
        swaps=swaps,
        decisions=len(answered),
        failed=sum(each.status != HTTPStatus.OK for each in answered),
        degraded=sum(bool(each.degraded) for each in answered),
        mixed=sum(_is_mixed(record, of, known) for _, of, record in made),
        p50_ms=float(np.median(latencies)),
        p99_ms=float(np.quantile(latencies[near], 0.99)),
        p99_steady_ms=float(np.quantile(latencies[~near], 0.99)),
    )


def _swap(version: str, at: datetime, made: Sequence[tuple[datetime, str]]) -> Swap:
    """When the first decision of the version was made, and the last of another one."""
    new = [when for when, of in made if of == version]
    old = [when for when, of in made if of != version]
    seconds = [(when - at).total_seconds() for when in (min(new, default=None), max(old, default=at)) if when]
    return Swap(version, *(seconds if new else (math.inf, math.inf)))


def _version(settings: Settings, model_set_id: str) -> str:
    return read_bundle(settings.bundles, model_set_id)[0].models[_NAME].version


def _is_mixed(record: DecisionRecord, version: str, known: Collection[str]) -> bool:
    """Whether any candidate has other log odds than the version of the decision's set gives everybody.

    A decision that had no time to ask a model says so by its tier; an action that no model knows starts as its policy
    says.
    """
    if record.tier != "full":
        return False
    said = [each.logit for each in record.candidates if each.logit is not None and each.action in known]
    expected = LOG_ODDS.get(version)
    return any(expected is None or abs(logit - expected) > _ROUNDING for logit in said)


def _logged(settings: Settings, since: datetime) -> Iterator[DecisionRecord]:
    """Every decision since then, from the log."""
    with closing(open_log(settings)) as log:
        offset = 0
        while page := log.read_sync(offset, _PAGE):
            offset = page[-1][0]
            for _, entry in page:
                if entry.contract == "decisions" and entry.received_at >= since and entry.properties["slot"] == 0:
                    yield records.decode(entry.properties["record"])


if __name__ == "__main__":
    main(prog_name="nextbest bench swaps")
