"""The limit: an API that reads the request and writes an answer as large as a decision's, and decides nothing.

Belongs here: Starlette and msgspec, as in nextbest's own API, and nothing else. Does not belong here: Ray (`host`).
"""

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nextbest.wire import DecisionRequest, DecisionResponse, PlacementAnswer, SlotAnswer

_STAGES = ("state", "features", "screening", "scoring", "arbitration", "reserve", "settle", "log")
_decode = msgspec.json.Decoder(DecisionRequest).decode
_encode = msgspec.json.Encoder().encode


async def decide(request: Request) -> Response:
    """The same decision for everybody."""
    asked = _decode(await request.body())
    decision_id = uuid.uuid4().hex
    slot = SlotAnswer(
        slot=0,
        action="frozen_pizza",
        treatment="frozen_pizza_home",
        reason="the best of 26 that could be proposed",
        probability=0.8125,
        p=0.0412,
        value=7.17,
        cost=0.0164,
        priority=0.279,
        expires_at=datetime.now(UTC),
        content={"headline": "Frozen pizza: save on your next shop", "text": "Your coupon is in the app."},
    )
    answer = DecisionResponse(
        decision_id=decision_id,
        request_id=decision_id,
        customer_id=asked.customer.customer_id,
        occurred_at=datetime.now(UTC),
        mode="live",
        tier="full",
        degraded=(),
        logged=False,
        policy_hash="0123456789abcdef",
        model_set_id="0123456789abcdef",
        placements=tuple(PlacementAnswer(id=each, channel="web", slots=(slot,)) for each in asked.placements),
        stage_us=dict.fromkeys(_STAGES, 123.456),
    )
    return Response(_encode(answer), media_type="application/json")


async def health(_request: Request) -> Response:
    """Who can answer this is ready."""
    return Response(b"{}", media_type="application/json")


def replica() -> Starlette:
    """Built in each replica."""
    return Starlette(
        routes=[Route("/v1/decisions", decide, methods=["POST"]), Route("/healthz", health, methods=["GET"])]
    )


def application(replicas: int) -> Any:
    """One deployment, as nextbest's."""
    from ray import serve  # noqa: PLC0415  reads its variables now

    deployed: Any = serve.deployment(
        serve.ingress(replica)(),
        name="echo",
        num_replicas=replicas,
        max_ongoing_requests=1_000,
        ray_actor_options={"num_cpus": 0},
    )
    return deployed.bind()
