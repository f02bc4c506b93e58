"""Saying what happened.

Belongs here: bodies and statuses. Does not belong here: how events are taken in (`serving.intake`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nextbest.intake import KEY
from nextbest.wire import EventsRequest, EventsResponse, FieldError
from serving import bodies, problems, responses
from serving.intake import Intake
from serving.operations import Operation
from serving.problems import ProblemError

_request = msgspec.json.Decoder(EventsRequest)


@dataclass(frozen=True, slots=True)
class Events:
    """The operation about events."""

    intake: Intake

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method=HTTPMethod.POST,
            path="/v1/events",
            name="sendEvents",
            summary=(
                "Say what happened; 202 once what is accepted is durable, 422 when no row is valid, "
                "409 when the key of each is another row's"
            ),
            handler=self.take,
            scope="events",
            body=EventsRequest,
            answers={HTTPStatus.ACCEPTED: EventsResponse},
            problems=(HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
        )

    async def take(self, request: Request) -> Response:
        body = await bodies.read(request, _request, bodies.EVENTS_BYTES)
        taken = await self.intake.take(body.events, sender=request.state.sender)
        if taken.rejected == len(body.events):
            raise _none_taken(taken)
        return responses.json(taken, HTTPStatus.ACCEPTED)


def _none_taken(taken: EventsResponse) -> ProblemError:
    errors = _row_errors(taken)
    if all(verdict.rule == KEY for verdict in taken.results):  # valid each, as a decision's request id may be
        return ProblemError(HTTPStatus.CONFLICT, "every row has the key of another one", errors)
    return problems.invalid("no row is valid under its contract", *errors)


def _row_errors(taken: EventsResponse) -> tuple[FieldError, ...]:
    return tuple(
        FieldError(
            verdict.reason, f"#/events/{index}/properties" + (f"/{_part(verdict.column)}" if verdict.column else "")
        )
        for index, verdict in enumerate(taken.results)
    )


def _part(column: str) -> str:
    """A column as part of a JSON pointer in a URI: one that no contract names may be called anything."""
    return quote(column.replace("~", "~0").replace("/", "~1"), safe="~ ,")
