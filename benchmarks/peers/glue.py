"""The glue: what somebody writes who joins Ray Serve, Feast, MLflow and Redis the way each of them documents.

Belongs here: FastAPI with pydantic in `@serve.ingress`, one feature store and one model per replica, a greedy choice
with a little chance, and a cap counted in Redis. It knows no consents and no rules and logs nothing, which is in its
favour. Does not belong here: what would make it faster than its parts are.

The module reads Ray's variables when it is imported, so only `host` imports it.
"""

import os
import random
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import redis.asyncio
from fastapi import FastAPI
from feast import FeatureStore
from pydantic import BaseModel
from ray import serve
from starlette.concurrency import run_in_threadpool

from benchmarks.peers.customers import CATEGORY
from benchmarks.peers.trained import share
from nextbest.settings import Settings

FEATURES = Path(__file__).with_name("glue_features")
REDIS = "GLUE_REDIS"
"""Variable that holds the address of Redis, as Feast writes it."""
ACTIONS = 20
_EXPLORED = 0.05
_CAP, _CAP_SECONDS = 3, 7 * 86_400

app = FastAPI()


class Customer(BaseModel):
    """Whom the decision is for."""

    customer_id: str


class DecisionRequest(BaseModel):
    """What a channel asks."""

    customer: Customer
    placements: list[str]
    limit: int = 1
    context: dict[str, bool | float | str] = {}


class Slot(BaseModel):
    """What fills a placement."""

    placement: str
    action: str
    propensity: float
    is_explored: bool


class DecisionResponse(BaseModel):
    """What a channel gets."""

    decision_id: str
    customer_id: str
    occurred_at: datetime
    model: str
    slots: list[Slot]


@serve.deployment(max_ongoing_requests=100)
@serve.ingress(app)
class Glue:
    """One replica; as many requests at once as the load has connections, and more."""

    def __init__(self) -> None:
        settings = Settings.from_env()
        mlflow.set_tracking_uri(settings.mlflow_uri)
        self.store = FeatureStore(repo_path=str(FEATURES))
        self.features = self.store.get_feature_service("decisioning")
        self.model = mlflow.pyfunc.load_model("models:/propensity@champion")
        self.columns = [column.name for column in self.model.metadata.get_input_schema()]
        self.redis = redis.asyncio.from_url(f"redis://{os.environ[REDIS]}", decode_responses=True)
        view = self.store.get_feature_view("customer")
        spends = [feature.name for feature in view.features if feature.name.startswith(f"{CATEGORY}__")]
        self.actions = [name.split("__", 1)[1] for name in spends][:ACTIONS]

    @app.post("/v1/decisions")
    async def decide(self, request: DecisionRequest) -> DecisionResponse:
        customer_id = request.customer.customer_id
        answer = await self.store.get_online_features_async(self.features, [{"customer_id": customer_id}])
        features = {name: values[0] for name, values in answer.to_dict().items()}
        scores = await run_in_threadpool(self.model.predict, self.frame(features))
        ranked = sorted(zip(self.actions, scores[:, 1], strict=True), key=lambda pair: -pair[1])
        is_explored = random.random() < _EXPLORED  # noqa: S311  a draw, not a secret
        if is_explored:
            random.shuffle(ranked)
        action, propensity = await self.first_allowed(customer_id, ranked)
        slot = Slot(
            placement=request.placements[0], action=action, propensity=float(propensity), is_explored=is_explored
        )
        return DecisionResponse(
            decision_id=uuid.uuid4().hex,
            customer_id=customer_id,
            occurred_at=datetime.now(UTC),
            model=self.model.metadata.model_uuid,
            slots=[slot],
        )

    def frame(self, features: dict[str, Any]) -> pd.DataFrame:
        """A row per action."""
        rows = [
            features | {CATEGORY: features[f"{CATEGORY}__{action}"], "share": share(action)} for action in self.actions
        ]
        frame = pd.DataFrame(rows)
        frame[["campaign_type_a", "campaign_type_b", "campaign_type_c"]] = [1.0, 0.0, 0.0]
        return frame[self.columns].astype(float)

    async def first_allowed(self, customer_id: str, ranked: list[tuple[str, float]]) -> tuple[str, float]:
        """The first action that the customer has not had too often; it is counted."""
        for action, propensity in ranked:
            counter = f"cap:{customer_id}:{action}"
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.set(counter, 0, ex=_CAP_SECONDS, nx=True)
                pipeline.incr(counter)
                _, count = await pipeline.execute()
            if count <= _CAP:
                return action, propensity
        return "do_nothing", 0.0

    @app.get("/healthz")
    async def health(self) -> dict[str, bool]:
        return {"healthy": True}


def application(replicas: int) -> Any:
    """The deployment."""
    deployment: Any = Glue
    return deployment.options(num_replicas=replicas).bind()
