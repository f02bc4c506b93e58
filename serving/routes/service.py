"""What operations ask of the server: whether it is well, what it counts, and what it is.

Belongs here: health, readiness, metrics, the description and its page. Does not belong here: finding any of it out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from nextbest.wire import Health, Readiness
from serving import docs, responses
from serving.metrics import Meter
from serving.operations import Operation, Parameter
from serving.problems import ProblemError
from serving.readiness import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The operations about the server itself."""

    probe: Probe
    meter: Meter
    describe: Callable[[], dict[str, Any]]
    """The OpenAPI document."""

    def operations(self) -> Iterator[Operation]:
        get = HTTPMethod.GET
        yield Operation(
            method=get,
            path="/healthz",
            name="health",
            summary="Whether the process answers",
            handler=self.health,
            answers={HTTPStatus.OK: Health},
        )
        yield Operation(
            method=get,
            path="/readyz",
            name="readiness",
            summary="Whether decisions can be complete; 503 names what is missing",
            handler=self.readiness,
            answers={HTTPStatus.OK: Readiness, HTTPStatus.SERVICE_UNAVAILABLE: Readiness},
        )
        yield Operation(
            method=get,
            path="/metrics",
            name="metrics",
            summary="Metrics of all replicas of the machine, for Prometheus",
            handler=self.metrics,
            scope="metrics",
            answers={HTTPStatus.OK: ("text/plain",)},
        )
        yield Operation(
            method=get,
            path="/openapi.json",
            name="openapi",
            summary="This description",
            handler=self.openapi,
            answers={HTTPStatus.OK: ("application/json",)},
        )
        yield Operation(
            method=get,
            path="/docs",
            name="docs",
            summary="This description as a page",
            handler=self.docs,
            answers={HTTPStatus.OK: ("text/html",)},
        )
        yield Operation(
            method=get,
            path="/docs/{file}",
            name="docsFile",
            summary="A file of that page",
            handler=self.docs_file,
            answers={HTTPStatus.OK: tuple(sorted({*docs.FILES.values()}))},
            problems=(HTTPStatus.NOT_FOUND,),
            parameters=(
                Parameter(
                    name="file", place="path", description="Its name.", schema={"type": "string", "enum": [*docs.FILES]}
                ),
            ),
        )

    async def health(self, _request: Request) -> Response:
        return responses.json(Health())

    async def readiness(self, _request: Request) -> Response:
        found = await self.probe.readiness()
        return responses.json(found, HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, _request: Request) -> Response:
        return Response(self.meter.exposition(), headers=responses.SECURITY, media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, _request: Request) -> Response:
        return responses.json(self.describe())

    async def docs(self, _request: Request) -> Response:
        headers = responses.SECURITY | {"content-security-policy": docs.PAGE_POLICY}
        return Response(docs.PAGE, headers=headers, media_type="text/html")

    async def docs_file(self, request: Request) -> Response:
        media_type = docs.FILES.get(request.path_params["file"])
        if media_type is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "the page has no such file")
        return Response(docs.content(request.path_params["file"]), headers=responses.SECURITY, media_type=media_type)
