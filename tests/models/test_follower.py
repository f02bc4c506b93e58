"""The follower on a real MLflow store: promotion reaches serving, what must not serve is refused in words."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import mlflow
import mlflow.onnx
import mlflow.sklearn
import msgspec
import pytest
from mlflow import MlflowClient

from models.candidate import Registered
from models.champions import Champions
from models.follower import TAG, Follower
from models.recipes import clv
from models.registry import STORE_ERRORS, Registry
from models.versions import CHAMPION, GATE, GATE_DESCRIPTION, GATE_SHA256, SHADOW, RegistryError
from nextbest.adapters.bundles import read_bundle
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.model_set import Model
from nextbest.settings import Settings

pytestmark = pytest.mark.integration


def test_moving_the_alias_reaches_serving_within_five_seconds(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """As from the MLflow UI: the alias goes back to version 1, and a running follower publishes the set with it."""
    assert [version.alias for version in two_versions] == [CHAMPION, CHAMPION]

    async def scenario() -> float:
        stop = asyncio.Event()
        follower = Follower(settings, state)
        following = asyncio.create_task(follower.follow(lambda: now, stop))
        await _until_served(state, settings, "2")
        started = time.monotonic()
        client.set_registered_model_alias(clv.NAME, CHAMPION, "1")
        await _until_served(state, settings, "1")
        took = time.monotonic() - started
        stop.set()
        await following
        return took

    assert asyncio.run(scenario()) < 5


async def _until_served(state: SqliteState, settings: Settings, version: str) -> None:
    async with asyncio.timeout(10):
        while True:
            current = await state.current_model_set()
            if current and read_bundle(settings.bundles, current)[0].models[clv.NAME].version == version:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("tag", "value", "why"),
    [(GATE_SHA256, "0" * 64, "refused: the file's sha256 is"), (GATE, "failed", "refused: its gate did not let it")],
)
def test_a_champion_that_may_not_serve_is_refused_and_the_last_good_set_stays(
    *,
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
    tag: str,
    value: str,
    why: str,
) -> None:
    """Another file than the gate judged, or a verdict against it: the version says why it does not serve."""
    assert two_versions
    client.set_registered_model_alias(clv.NAME, CHAMPION, "1")
    client.set_model_version_tag(clv.NAME, "2", tag, value)
    follower = Follower(settings, state)
    good = asyncio.run(follower.step(now))
    client.set_registered_model_alias(clv.NAME, CHAMPION, "2")
    assert asyncio.run(follower.step(now)) is None
    assert good is not None
    assert asyncio.run(state.current_model_set()) == good
    assert client.get_model_version(clv.NAME, "2").tags[TAG].startswith(why)


def _swap(folder: Path) -> None:
    """Two features in each other's place: the file and its probe are as they were."""
    file = folder / "extra_files" / "model.json"
    described = msgspec.json.decode(file.read_bytes(), type=Model)
    first, second, *rest = described.features
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(described, features=(second, first, *rest))))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_swap, "refused: the description's sha256 is"),
        (lambda folder: (folder / "model.onnx").write_bytes(b""), "refused: the file's sha256 is"),
        (lambda folder: (folder / "MLmodel").write_text(": {"), "refused: its file MLmodel cannot be read"),
        (lambda folder: (folder / "MLmodel").write_text(""), "refused: its file MLmodel cannot be read"),
    ],
)
def test_what_was_changed_since_its_gate_is_refused_in_words(
    *,
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
    change: Callable[[Path], object],
    why: str,
) -> None:
    """The file, how its features are ordered, what MLflow says of it: none is what the gate judged."""
    assert two_versions
    client.set_registered_model_alias(clv.NAME, CHAMPION, "1")
    follower = Follower(settings, state)
    good = asyncio.run(follower.step(now))
    change(_artifacts(settings, client, "2"))
    client.set_registered_model_alias(clv.NAME, CHAMPION, "2")
    assert asyncio.run(follower.step(now)) is None
    assert asyncio.run(state.current_model_set()) == good
    assert client.get_model_version(clv.NAME, "2").tags[TAG].startswith(why)


def test_a_champion_whose_file_was_repaired_serves(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """Put back from a backup, of which the registry knows nothing; as long as it is as it was, nothing is done."""
    assert two_versions
    file = _artifacts(settings, client, "2") / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(b"")
    follower = Follower(settings, state)
    assert asyncio.run(follower.step(now)) is None
    assert client.get_model_version(clv.NAME, "2").tags[TAG].startswith("refused: ")
    assert asyncio.run(follower.step(now)) is None
    client.delete_model_version_tag(clv.NAME, "2", TAG)
    assert asyncio.run(follower.step(now)) is None
    assert TAG not in client.get_model_version(clv.NAME, "2").tags
    file.write_bytes(content)
    assert asyncio.run(follower.step(now)) is not None


def _artifacts(settings: Settings, client: MlflowClient, number: str) -> Path:
    uri = client.get_model_version_download_uri(clv.NAME, number)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=settings.mlflow_uri))


def _as_churn(client: MlflowClient) -> None:
    """Version 1 of clv as a champion of churn too: judged, and of another model."""
    version = client.get_model_version(clv.NAME, "1")
    client.create_registered_model("churn")
    client.create_model_version("churn", str(version.source), version.run_id, dict(version.tags))
    client.set_registered_model_alias("churn", CHAMPION, "1")


def _break_gate(_: Settings, client: MlflowClient) -> None:
    client.set_model_version_tag(clv.NAME, "2", GATE, "failed")


def _lose_files(settings: Settings, client: MlflowClient) -> None:
    shutil.rmtree(_artifacts(settings, client, "2"))


@pytest.mark.parametrize("harm", [_break_gate, _lose_files])
def test_a_champion_that_may_not_serve_keeps_no_other_from_its_promotion(
    *,
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
    harm: Callable[[Settings, MlflowClient], None],
) -> None:
    """Refused, or without its files: the version of before goes on, and another model changes beside it."""
    assert two_versions
    client.set_registered_model_alias(clv.NAME, CHAMPION, "1")
    follower = Follower(settings, state)
    assert asyncio.run(follower.step(now)) is not None
    client.set_registered_model_alias(clv.NAME, CHAMPION, "2")
    harm(settings, client)
    _as_churn(client)
    with contextlib.suppress(*STORE_ERRORS):
        asyncio.run(follower.step(now))
    current = asyncio.run(state.current_model_set())
    assert current is not None
    model_set, _ = read_bundle(settings.bundles, current)
    assert {name: model.version for name, model in model_set.models.items()} == {clv.NAME: "1", "churn": "1"}


def test_a_shadow_without_its_files_keeps_no_champion_waiting(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """It is left out, and says so."""
    assert two_versions
    client.set_registered_model_alias(clv.NAME, CHAMPION, "1")
    client.set_registered_model_alias(clv.NAME, SHADOW, "2")
    _lose_files(settings, client)
    published = asyncio.run(Follower(settings, state).step(now))
    assert published is not None
    assert read_bundle(settings.bundles, published)[0].shadows == {}
    assert client.get_model_version(clv.NAME, "2").tags[TAG].startswith("left out: ")


def test_name_and_file_are_the_registrys(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """A description that was taken from another model takes its place in no set, and writes outside of no bundle."""
    assert two_versions
    client.delete_model_version_tag(clv.NAME, "2", GATE_DESCRIPTION)
    file = _artifacts(settings, client, "2") / "extra_files" / "model.json"
    described = msgspec.json.decode(file.read_bytes(), type=Model)
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(described, name="churn", file="../../churn.onnx")))
    published = asyncio.run(Follower(settings, state).step(now))
    assert published is not None
    model_set, files = read_bundle(settings.bundles, published)
    assert set(model_set.models) == {clv.NAME}
    assert set(files) == {"clv.onnx"}


def test_a_verdict_that_changes_is_noticed(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """The champion stays the same version: what its gate says of it does not."""
    assert two_versions
    follower = Follower(settings, state)
    client.set_model_version_tag(clv.NAME, "2", GATE, "failed")
    assert asyncio.run(follower.step(now)) is None
    client.set_model_version_tag(clv.NAME, "2", GATE, "passed")
    assert asyncio.run(follower.step(now)) is not None


def test_what_cannot_be_read_is_tried_again(
    *,
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """A disk that is away for a moment is no verdict on the model."""
    assert two_versions
    follower = Follower(settings, state)
    away = settings.mlflow_artifacts.with_name("away")
    settings.mlflow_artifacts.rename(away)
    with pytest.raises((OSError, *STORE_ERRORS)):
        asyncio.run(follower.step(now))
    assert TAG not in client.get_model_version(clv.NAME, "2").tags
    away.rename(settings.mlflow_artifacts)
    assert asyncio.run(follower.step(now)) is not None


def test_a_store_that_was_replaced_is_read_anew(
    *,
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """Deleted and restored from a backup under a running follower: it says so, and follows the one that is there."""
    assert two_versions
    follower = Follower(settings, state)
    newer = asyncio.run(follower.step(now))
    store = settings.state / "mlflow" / "mlflow.db"
    client.set_registered_model_alias(clv.NAME, CHAMPION, "1")
    backup = store.read_bytes()
    store.unlink()
    with pytest.raises(STORE_ERRORS):
        asyncio.run(follower.step(now))
    store.write_bytes(backup)
    older = asyncio.run(follower.step(now))
    assert older not in {None, newer}


def test_a_lost_state_is_told_again(
    settings: Settings, state: SqliteState, two_versions: tuple[Registered, Registered], now: datetime
) -> None:
    """Serving asks State which set to use: when State forgets it, the follower says it again."""
    assert two_versions
    follower = Follower(settings, state)
    published = asyncio.run(follower.step(now))
    assert published is not None
    asyncio.run(state.publish_model_set("forgotten"))
    assert asyncio.run(follower.step(now)) == published
    assert asyncio.run(follower.step(now)) is None


def test_a_model_whose_alias_is_removed_goes_on_serving(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """Taking the alias away is no way to switch a model off: the set keeps the version it had, and the log says so."""
    assert two_versions
    good = asyncio.run(Follower(settings, state).step(now))
    client.delete_registered_model_alias(clv.NAME, CHAMPION)
    asyncio.run(Follower(settings, state).step(now))
    assert good is not None
    assert asyncio.run(state.current_model_set()) == good


def test_without_a_champion_nothing_is_published(settings: Settings, state: SqliteState, now: datetime) -> None:
    """A new home has no model: the follower waits."""
    with pytest.raises(RegistryError, match="`nextbest pipeline` trains one"):
        Registry(settings).current(clv.NAME)
    follower = Follower(settings, state)
    assert asyncio.run(follower.step(now)) is None
    assert asyncio.run(state.current_model_set()) is None


def test_a_shadow_is_published_beside_the_champion(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """Both files are in the bundle; promoted, it is the shadow of nobody any more."""
    assert two_versions
    client.set_registered_model_alias(clv.NAME, CHAMPION, "1")
    client.set_registered_model_alias(clv.NAME, SHADOW, "2")
    client.set_model_version_tag(clv.NAME, "2", GATE, "undecided")
    follower = Follower(settings, state)
    published = asyncio.run(follower.step(now))
    assert published is not None
    model_set, files = read_bundle(settings.bundles, published)
    assert (model_set.models[clv.NAME].version, model_set.shadows[clv.NAME].version) == ("1", "2")
    assert set(files) == {"clv.onnx", "clv.shadow.onnx"}
    assert client.get_model_version(clv.NAME, "2").tags[TAG].startswith("published as shadow")
    registry = Registry(settings)
    Champions(registry).promote(clv.NAME, "2")
    assert registry.shadow_version(clv.NAME) is None
    published = asyncio.run(follower.step(now))
    assert published is not None
    model_set, _ = read_bundle(settings.bundles, published)
    assert (model_set.models[clv.NAME].version, model_set.shadows) == ("2", {})


def test_a_rollback_goes_back_the_way_champions_came(
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """Also by one that was made champion in the UI, once the follower has seen it."""
    assert two_versions
    registry, follower = Registry(settings), Follower(settings, state)
    assert Champions(registry).rollback(clv.NAME) == "1"
    with pytest.raises(RegistryError, match="no champion before this one"):
        Champions(registry).rollback(clv.NAME)
    asyncio.run(follower.step(now))
    client.set_registered_model_alias(clv.NAME, CHAMPION, "2")
    asyncio.run(follower.step(now))
    assert Champions(registry).rollback(clv.NAME) == "1"
    champion = registry.champion_version(clv.NAME)
    assert champion is not None
    assert champion.version == "1"
