"""A home small enough to serve in tests: two actions, one of them capped, and models made of one number."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from nextbest.adapters.bundles import write_bundle
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.adapters.supervisor import free_ports
from nextbest.contracts import Contract
from nextbest.messages import Profile
from nextbest.model_set import FeatureSpec, Model, model_set
from nextbest.settings import Settings
from serving.api import Api
from serving.cluster import Cluster
from serving.decider import Decider
from serving.events import Intake
from serving.model_sets import ModelSets
from serving.policies import Policies
from serving.readiness import Probe
from serving.schemas import INTAKE
from tests.serving.server import Server, eventually, materialize


def _action(name: str, value: float) -> dict[str, Any]:
    treatment = {"id": name, "placement": "home_banner", "channel": "web", "content": {"headline": name.title()}}
    return {
        "id": name,
        "name": name.title(),
        "group": "food",
        "objective": "redemption",
        "purpose": "marketing",
        "value": value,
        "treatments": [treatment],
    }


_FALLBACK = {"treatment": "brand", "content": {"headline": "Good food"}}
_POLICY: dict[str, Any] = {
    "actions": {"currency": "USD", "actions": [_action("beef", 10.0), _action("milk", 1.0)]},
    "placements": {
        "channels": [{"id": "web"}],
        "placements": [{"id": "home_banner", "channel": "web", "slots": 2, "fallback": _FALLBACK}],
    },
    "contact_policy": {
        "purposes": [{"id": "marketing", "regime": "opt_out"}],
        "rules": [
            {
                "id": "beef_twice",
                "scope": "action",
                "only": ["beef"],
                "count": "decision",
                "limit": 2,
                "window_hours": 24,
            },
        ],
    },
    "arbitration": {"exploration": {"strategy": "greedy"}, "salt": "test"},
    "features": {"features": [{"name": "spend_91d", "description": "USD"}]},
}


@pytest.fixture
def policy_files() -> dict[str, Any]:
    """The policy of these tests by file, free to edit."""
    return deepcopy(_POLICY)


class StandInFeatures:
    """Knows every customer but `stranger`, and can be down, or slow."""

    def __init__(self) -> None:
        self.reason = ""
        self.delay_s = 0.0

    async def profile(self, customer_id: str) -> Profile:
        await asyncio.sleep(self.delay_s)
        if self.reason or customer_id == "stranger":
            return Profile(unavailable=self.reason or "unknown_customer")
        return Profile(features={"spend_91d": 12.5})

    async def missing(self) -> str:
        return self.reason


class StoppedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def onnx_model(probability: float) -> bytes:
    """A propensity model that answers `probability` whatever its one feature."""
    row = np.array([[1.0 - probability, probability]], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "row"], ["probabilities"]),
        ],
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.zeros((1, 2), np.float32), "zero"), numpy_helper.from_array(row, "row")],
    )
    model: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def publish(settings: Settings, probability: float) -> str:
    """Write a bundle whose propensity is `probability`, and name it in State, as the follower does."""
    content = onnx_model(probability)
    propensity = Model(
        name="propensity",
        version="1",
        run_id="run",
        file="propensity.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        features=(FeatureSpec("spend_91d", "customer"),),
        output="probability",
    )
    models = model_set([propensity], datetime(2026, 3, 1, tzinfo=UTC))
    write_bundle(settings.bundles, models, {propensity.file: content})
    with closing(SqliteState(settings.online_state)) as state:
        asyncio.run(state.publish_model_set(models.id))
    return models.id


def write_policy(home: Path) -> None:
    """Give `home` the policy of these tests."""
    (home / "policies").mkdir()
    for name, content in _POLICY.items():
        (home / "policies" / f"{name}.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture(name="publish", scope="session")
def publish_fixture() -> Callable[[Settings, float], str]:
    return publish


@pytest.fixture(name="write_policy", scope="session")
def write_policy_fixture() -> Callable[[Path], None]:
    return write_policy


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    publish: Callable[[Settings, float], str],
    write_policy: Callable[[Path], None],
) -> Iterator[Server]:
    """One server for all that need a whole one; every test has customers of its own and leaves it running."""
    home = tmp_path_factory.mktemp("home")
    write_policy(home)
    settings = replace(Settings(home=home), http_port=free_ports("127.0.0.1", 1)[0])
    with ThreadPoolExecutor() as beside:
        materialized = beside.submit(materialize, settings, [f"c{n}" for n in range(100)])
        server = Server.start(settings)
    try:
        materialized.result()
        model_set_id = publish(settings, 0.1)
        assert eventually(lambda: server.client.get("/readyz").json()["model_set_id"] == model_set_id, 5)
        assert eventually(lambda: server.client.get("/readyz").status_code == 200, 20)
        yield server
    finally:
        server.end()
        Cluster(settings).end_processes()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a policy of its own and nothing else."""
    write_policy(tmp_path)
    return Settings(home=tmp_path)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def features() -> StandInFeatures:
    return StandInFeatures()


@pytest.fixture
def log(settings: Settings) -> Iterator[SqliteLog]:
    with closing(SqliteLog(settings.event_log)) as log:
        yield log


@pytest.fixture
def state(settings: Settings) -> Iterator[SqliteState]:
    with closing(SqliteState(settings.online_state)) as state:
        yield state


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    return load_contracts(Settings().folder("contracts"))


Client = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def client(  # noqa: PLR0917  every part of a replica
    settings: Settings,
    contracts: dict[str, Contract],
    log: SqliteLog,
    state: SqliteState,
    features: StandInFeatures,
    clock: StoppedClock,
) -> Client:
    """Clients of a replica on real log, State and models; features and clock are stand-ins."""
    models = ModelSets(settings.bundles, state)
    read_and_archive(settings.folder("policies"), settings.policies_archive)
    policies = Policies(settings.policies_archive, state)
    decider = Decider(
        policies=policies,
        models=models,
        features=features,
        state=state,
        log=log,
        contract=contracts["decisions"],
        clock=clock,
    )
    intake = Intake(contracts={name: contracts[name] for name in INTAKE}, log=log, state=state, clock=clock)
    api = Api(decider=decider, intake=intake, probe=Probe(decider))

    @asynccontextmanager
    async def connect() -> AsyncIterator[httpx.AsyncClient]:
        await policies.start()
        await models.start()
        transport = httpx.ASGITransport(api.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as connected:
            yield connected

    return connect
