"""What starts as HAProxy: Ray's configuration with the lines rewritten that no setting reaches."""

import subprocess
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import msgspec
import pytest

from nextbest.settings import Settings
from serving.haproxy import HAProxy

RAYS = """\
    option httplog
    errorfile 502 /ray/500.http
    errorfile 504 /ray/500.http
frontend prometheus
    bind :31001
frontend http_frontend
    bind 127.0.0.1:8000
backend default_backend
    http-request return status 404 content-type text/plain lf-string "not found"
listen stats
  bind *:31002
"""


def rewritten(settings: Settings, folder: Path) -> str:
    """What HAProxy reads; itself it says no more than that it was started with a wrong argument."""
    configuration = folder / "haproxy.cfg"
    configuration.write_text(RAYS)
    HAProxy(settings, folder).write()
    subprocess.run([folder / "haproxy", "-c", "-f", configuration], check=False, capture_output=True)
    return configuration.read_text()


def test_only_the_api_is_where_the_settings_say(settings: Settings, tmp_path: Path) -> None:
    """Statistics and metrics stay on the loopback interface; whom no replica answers is told by our own file."""
    found = rewritten(replace(settings, host="0.0.0.0"), tmp_path)  # noqa: S104  what somebody may want
    unavailable = tmp_path / "unavailable.http"
    assert (
        found
        == f"""\
    option http-buffer-request
    timeout http-request 10s
    errorfile 408 {tmp_path / "slow.http"}
    errorfile 502 {unavailable}
    errorfile 504 {unavailable}
frontend prometheus
    bind 127.0.0.1:31001
frontend http_frontend
    bind 0.0.0.0:8000
backend default_backend
    http-request return status 503 errorfile {unavailable}
listen stats
  bind 127.0.0.1:31002
"""
    )


@pytest.mark.parametrize(
    ("file", "status"),
    [("unavailable.http", HTTPStatus.SERVICE_UNAVAILABLE), ("slow.http", HTTPStatus.REQUEST_TIMEOUT)],
)
def test_what_it_answers_by_itself_is_a_problem(
    settings: Settings, tmp_path: Path, file: str, status: HTTPStatus
) -> None:
    """Problem details with Retry-After, as long as it says."""
    rewritten(settings, tmp_path)
    head, body = (tmp_path / file).read_bytes().split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"HTTP/1.1 {status.value} {status.phrase}"
    assert {"Content-Type: application/problem+json", "Retry-After: 1", f"Content-Length: {len(body)}"} < set(lines)
    assert msgspec.json.decode(body)["status"] == status


def test_a_request_that_a_replica_has_is_asked_of_no_other(settings: Settings, tmp_path: Path) -> None:
    """It may have been decided: only the client knows whether it has a `request_id`."""
    assert HAProxy(settings, tmp_path).environment()["RAY_SERVE_HAPROXY_RETRY_ON"] == "conn-failure"
