"""The operations of the API: one table, from which both the routes and their description are made.

Belongs here: what is to be known of an operation. Does not belong here: what it does (`serving.routes`).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPMethod, HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextbest.keys import Scope
from nextbest.wire import ProblemDetails
from serving.problems import MEDIA_TYPE, ProblemError, render

Handler = Callable[[Request], Awaitable[Response]]
KeyFinder = Callable[[Request], Awaitable[str | None]]
ProblemRenderer = Callable[[Request, ProblemError], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A part of the path, or of what follows its question mark."""

    name: str
    place: str
    """`path` or `query`."""
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What may be asked next with what an answer says (OpenAPI's Link Object)."""

    name: str
    to: str
    """The `operationId` of what may be asked."""
    description: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    """By parameter, where its value is found: a runtime expression such as `$response.body#/decision_id`."""
    body: Any = None
    """What to send, in which runtime expressions stand for values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: HTTPMethod
    path: str
    name: str
    """Its `operationId`."""
    summary: str
    handler: Handler
    scope: Scope | None = None
    """What a key must be good for; none where no key is needed."""
    write_key: KeyFinder | None = None
    """Where a key may come as clients of Segment's send it: as basic credentials, or in the body, which this reads."""
    body: type | None = None
    is_body_required: bool = True
    invalid: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY
    """What a body is answered that is JSON, but not a valid one."""
    answers: Mapping[HTTPStatus, type | tuple[str, ...]]
    """By status, what is answered: a type as JSON, or media types."""
    links: tuple[Link, ...] = ()
    """What may be asked next, once it went well."""
    problems: tuple[HTTPStatus, ...] = ()
    """Beside those that follow from a scope and a body, and what only a defect of ours comes to."""
    problem: type = ProblemDetails
    problem_media_type: str = MEDIA_TYPE
    render_problem: ProblemRenderer = render
    parameters: tuple[Parameter, ...] = ()
