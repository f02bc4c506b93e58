"""Tests of `orchestration.webserver`: the UI's own application, with the pages."""

import asyncio
from collections.abc import Callable, Iterator

import dagster as dg
import dagster_webserver.app
import httpx
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget

from nextbest.settings import Settings
from orchestration.webserver import extend

Get = Callable[[str], httpx.Response]


@pytest.fixture(scope="module")
def get(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Get]:
    """The way to ask the application that the command line would serve."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    (settings.quality / "failed_rows").mkdir(parents=True)
    (settings.quality / "failed_rows" / "sales.html").write_text("<h1>sales</h1>")
    (settings.state / "secret.txt").write_text("secret")
    (settings.quality / "link.txt").symlink_to(settings.state / "secret.txt")
    with pytest.MonkeyPatch.context() as patch, dg.instance_for_test() as instance:
        patch.setenv("NEXTBEST_HOME", str(settings.home))
        patch.setattr(dagster_webserver.app, "DagsterWebserver", None)  # put back after the tests
        extend()
        with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
            app = dagster_webserver.app.create_app_from_workspace_process_context(context)

            async def ask(path: str) -> httpx.Response:
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                    return await client.get(path)

            yield lambda path: asyncio.run(ask(path))


def test_pages_are_served_beside_the_ui(get: Get) -> None:
    """A page may load and run nothing, and is asked for anew; the UI answers as before."""
    page = get("/quality/failed_rows/sales.html")
    assert (page.status_code, page.text) == (200, "<h1>sales</h1>")
    allowed = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
    assert page.headers["content-security-policy"] == allowed
    assert page.headers["cache-control"] == "no-cache"
    assert get("/server_info").json()["dagster_version"] == dg.__version__


@pytest.mark.parametrize(
    "path",
    ["", "..", "../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "failed_rows/..%2f..%2fsecret.txt", "link.txt"],
)
def test_nothing_beside_the_pages_is_served(get: Get, path: str) -> None:
    """No way leads out of the folder, and there is no listing."""
    answer = get(f"/quality/{path}")
    assert "secret" not in answer.text
    assert answer.status_code == 404 or "dagster" in answer.text.lower()
