"""The Dagster UI, which serves the pages of the checks beside its own.

Belongs here: the one route the UI gets, before its own that answers everything. Does not belong here: what the pages
hold (`orchestration.pages`). Run as a module, with the arguments of `dagster-webserver`.
"""

from typing import Any

import dagster_webserver.app
from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from nextbest.settings import Settings
from orchestration.pages import ALLOWED, PATH


class Pages(StaticFiles):
    """A folder of pages, which may load and run nothing; whoever asks again gets what the last run wrote."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({"Content-Security-Policy": ALLOWED, "Cache-Control": "no-cache"})
        return response


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's own, with the pages."""

    def build_routes(self) -> list[Any]:
        folder = Settings.from_env().quality
        folder.mkdir(parents=True, exist_ok=True)
        return [Mount(PATH, Pages(directory=folder)), *super().build_routes()]  # type: ignore[no-untyped-call]


def extend() -> None:
    """Have Dagster's command line build this application: it knows its own by this one name."""
    dagster_webserver.app.DagsterWebserver = Webserver  # type: ignore[attr-defined]


if __name__ == "__main__":
    extend()
    main()  # type: ignore[no-untyped-call]
