"""The HTTP API: its operations, put together, behind the gate.

Belongs here: how an operation becomes a route: who may call it, and what is answered when it fails. Does not belong
here: what operations do (`serving.routes`), or their description (`serving.openapi`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving import problems
from serving.gate import Gate
from serving.metrics import Meter
from serving.operations import Handler, Operation
from serving.problems import ProblemError
from serving.segments import Segments, decoded

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The operations of one replica, and who may call them."""

    operations: Sequence[Operation]
    gate: Gate
    meter: Meter

    def application(self, lifespan: Lifespan | None = None) -> "Shortcut":
        """The ASGI application; `lifespan` is what runs beside the requests."""
        paths: dict[str, dict[str, Handler]] = {}
        for operation in self.operations:
            paths.setdefault(operation.path, {})[operation.method] = self._guarded(operation)
        application = Starlette(
            routes=[Route(path, _by_method(handlers), methods=[*handlers]) for path, handlers in paths.items()],
            middleware=[Middleware(Segments)],
            exception_handlers={HTTPException: _no_such_route},  # type: ignore[dict-item]
            lifespan=lifespan,
        )
        application.router.redirect_slashes = False  # what is at no address is nowhere near one
        return Shortcut(application, {path: each for path, each in paths.items() if "{" not in path})

    def _guarded(self, operation: Operation) -> Handler:
        """Its handler, for those who may call it; every failure is a problem, and none goes further."""
        handler, scope, render = operation.handler, operation.scope, operation.render_problem
        write_key = operation.write_key

        async def guarded(request: Request) -> Response:
            began = time.perf_counter()
            try:
                if scope is not None:
                    sent = request.headers.get("authorization")
                    if write_key is None:
                        key = self.gate.admit(sent, scope)
                    else:
                        key = self.gate.admit_writer(sent, scope, await write_key(request) if sent is None else None)
                    request.state.sender = key.name
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  an answer is owed whatever happens
                response = render(request, problems.of(error))
            self.meter.answered(operation.name, response.status_code, time.perf_counter() - began)
            return response

        return guarded


class Shortcut:
    """Takes requests to fixed addresses to their handlers, and all others through `routed`.

    The router and what is around it take a tenth of a decision's time to find what one look finds.
    """

    def __init__(self, routed: Starlette, handlers: Mapping[str, Mapping[str, Handler]]) -> None:
        self.routed = routed
        self._handlers = {(method, path.encode()): each[method] for path, each in handlers.items() for method in each}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get((scope["method"], scope.get("raw_path", b""))) if scope["type"] == "http" else None
        if handler is None:
            await self.routed(scope, receive, send)
        else:
            response = await handler(Request(scope, receive, send))
            await response(scope, receive, send)


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    """One handler for a path: of two routes with the same path the first would answer for the methods of both."""

    async def handle(request: Request) -> Response:
        request.scope["path_params"] = decoded(request.path_params)
        asked = HTTPMethod.GET if request.method == HTTPMethod.HEAD else request.method
        return await handlers[asked](request)

    return handle


async def _no_such_route(request: Request, error: HTTPException) -> Response:
    """What the router says: no such route, or not with this method."""
    asked, status = f"{request.method} {request.scope['path']}", HTTPStatus(error.status_code)
    takes = f"it takes {error.headers['Allow']}" if error.headers else "nothing is at this address"
    problem = ProblemError(status, f"{asked}: {takes}; /docs has every operation", headers=error.headers)
    return problems.render(request, problem)
