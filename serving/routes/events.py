"""Saying what happened.

Belongs here: bodies and statuses. Does not belong here: how events are taken in (`serving.intake`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nextbest.intake import KEY
from nextbest.wire import EVENTS_LIMIT, EventRow, EventsRequest, EventsResponse, FieldError
from serving import bodies, problems, responses
from serving.intake import Intake
from serving.operations import Operation
from serving.problems import ProblemError


class _AnyRow(EventRow, frozen=True, forbid_unknown_fields=True):
    """A row whose properties may be anything: its contract says what is wrong with it."""

    properties: dict[str, Any]


class _AnyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch with a row of such values as no contract has."""

    events: Annotated[tuple[_AnyRow, ...], msgspec.Meta(min_length=1, max_length=EVENTS_LIMIT)]


_request, _any_request = msgspec.json.Decoder(EventsRequest), msgspec.json.Decoder(_AnyRequest)


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
        rows = _rows(await bodies.content(request, bodies.EVENTS_BYTES))
        taken = await self.intake.take(rows, sender=request.state.sender)
        if taken.rejected == len(rows):
            raise _none_taken(taken)
        return responses.json(taken, HTTPStatus.ACCEPTED)


def _rows(content: bytes) -> tuple[EventRow, ...]:
    """The rows of a body. One with a value that no row may have must not take those beside it with it.

    Raises:
        ProblemError: 400 or 422: it cannot be taken apart into rows.

    """
    try:
        return bodies.decoded(content, _request).events
    except ProblemError as error:
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        rows = _any_rows(content)
        if any(bodies.is_deep(row.properties) for row in rows):
            raise
        return rows


def _any_rows(content: bytes) -> tuple[EventRow, ...]:
    """Rows with such values as no contract has: what is wrong with them is said of them alone.

    A number that is larger than any is read as its text.
    """
    try:
        return bodies.decoded(content, _any_request).events
    except ProblemError:
        with suppress(ValueError, RecursionError):
            return msgspec.convert(bodies.lenient(content, str, _refused), _AnyRequest).events
        raise


def _refused(said: str) -> Any:
    raise ValueError(said)


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
