"""The HTTP API: plain handlers, msgspec in, msgspec out.

Belongs here: routes, bodies and status codes. Does not belong here: how a decision comes about (`serving.decider`), or
how an event is taken in (`serving.events`).
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nextbest.decision import UnknownPlacementError
from nextbest.log import LogUnavailableError
from nextbest.state import StateUnavailableError
from serving import openapi, problems
from serving.answers import answer
from serving.decider import Decider, RequestIdTakenError
from serving.events import Intake
from serving.problems import FieldError, ProblemError
from serving.readiness import Probe
from serving.schemas import DecisionRequest, EventsRequest, EventsResponse

T = TypeVar("T")
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

BODY_LIMIT_BYTES = 2_000_000
_encode = msgspec.json.Encoder().encode
_decision_request = msgspec.json.Decoder(DecisionRequest)
_events_request = msgspec.json.Decoder(EventsRequest)
_HANDLERS = {
    ProblemError: problems.render,
    HTTPException: problems.render_http_exception,
    RequestIdTakenError: problems.render_conflict,
    LogUnavailableError: problems.render_unavailable,
    StateUnavailableError: problems.render_unavailable,
    Exception: problems.render_internal,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The handlers of one replica."""

    decider: Decider
    intake: Intake
    probe: Probe

    def application(self, lifespan: Lifespan | None = None) -> Starlette:
        """The ASGI application; `lifespan` is what runs beside the requests."""
        routes = [
            Route("/v1/decisions", self.decide, methods=["POST"]),
            Route("/v1/decisions/{decision_id}", self.decision, methods=["GET"]),
            Route("/v1/events", self.take_events, methods=["POST"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.readiness, methods=["GET"]),
            Route("/openapi.json", self.describe, methods=["GET"]),
        ]
        return Starlette(routes=routes, exception_handlers=_HANDLERS, lifespan=lifespan)  # type: ignore[arg-type]

    async def decide(self, request: Request) -> Response:
        asked = await _body(request, _decision_request)
        try:
            record = await self.decider.decide(asked)
        except UnknownPlacementError as error:
            raise problems.invalid(str(error), FieldError(str(error), "#/placements")) from error
        return _json(answer(record, self.decider.in_force.policy, asked.include))

    async def decision(self, request: Request) -> Response:
        decision_id = request.path_params["decision_id"]
        record = await self.decider.record(decision_id)
        if record is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, f"the log holds no decision {decision_id}")
        return _json(record)

    async def take_events(self, request: Request) -> Response:
        body = await _body(request, _events_request)
        taken = await self.intake.take(body.events)
        if taken.rejected == len(body.events):
            raise problems.invalid("no row is valid under its contract", *_row_errors(taken))
        return _json(taken, HTTPStatus.ACCEPTED)

    async def health(self, _request: Request) -> Response:
        return _json({"healthy": True})

    async def readiness(self, _request: Request) -> Response:
        found = await self.probe.readiness()
        return _json(found, HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def describe(self, _request: Request) -> Response:
        return _json(openapi.document(self.intake.contracts))


async def _body(request: Request, decoder: "msgspec.json.Decoder[T]") -> T:
    """The body as the decoder's type.

    Raises:
        ProblemError: 413, 400 or 422.

    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_LIMIT_BYTES:
            detail = f"the body is larger than {BODY_LIMIT_BYTES:,} bytes"
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    try:
        return decoder.decode(content)
    except msgspec.DecodeError as error:
        raise problems.not_understood(error) from error
    except (UnicodeDecodeError, RecursionError) as error:
        detail = "the body is not UTF-8, or nests too deep"
        raise ProblemError(HTTPStatus.BAD_REQUEST, detail) from error


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(_encode(content), status, media_type="application/json")


def _row_errors(taken: EventsResponse) -> list[FieldError]:
    return [
        FieldError(verdict.reason, f"#/events/{index}/properties" + (f"/{verdict.column}" if verdict.column else ""))
        for index, verdict in enumerate(taken.results)
    ]
