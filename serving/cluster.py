"""The Ray cluster of one home: started, and ended with everything it started.

Belongs here: Ray's settings, and processes. Ray reads its variables when it is imported, so nothing here
imports it before they are set. Does not belong here: what the cluster serves (`serving.deployments`), and
HAProxy (`serving.haproxy`).
"""

import logging
import os
import secrets
import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from nextbest.adapters.locks import alone
from nextbest.adapters.supervisor import Supervisor, is_free
from nextbest.errors import NextbestError
from nextbest.settings import Settings
from serving.haproxy import HAProxy
from serving.loopback import LOOPBACK, keep_ray_local

_CLUSTER_MARK = "NEXTBEST_CLUSTER"
_APPLICATION = "nextbest"
_LOOK_S = 0.1
_VITAL = {"gcs_server", "raylet"}
_REPLICA_PORTS = range(20_000, 31_000, 200)
"""Where the blocks of ports begin that replicas listen at, below `free_ports`: a home has one of its own.

A port is used again 150 seconds after its replica has ended: a block is enough to roll as many as there can be.
"""
_OBJECT_STORE_BYTES = 80 * 2**20  # nothing passes through it; Ray asks for 75 MiB at least


class ClusterError(NextbestError):
    """The cluster cannot be started."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Ray, Ray Serve and HAProxy, for one home."""

    settings: Settings

    @property
    def folder(self) -> Path:
        """Ray's and HAProxy's sockets and log files: in a short path, since HAProxy takes 97 bytes for a socket's."""
        return Path("/tmp") / f"nextbest-{Supervisor.of(self.settings).mark[:8]}"  # noqa: S108  only its owner may enter

    def alone(self) -> AbstractContextManager[None]:
        """Hold the home for one cluster.

        Raises:
            ClusterError: another process holds it.

        """
        refusal = ClusterError(f"{self.settings.home} is served already: `nextbest down` ends that")
        return alone(self.settings.run / "serve.lock", refusal)

    def prepare(self) -> None:
        """End what a killed cluster left behind, and set what the next one must find in its environment.

        Raises:
            ClusterError: something else listens at the address.

        """
        self.end_processes()
        address = (self.settings.host, self.settings.http_port)
        if not is_free(address):
            raise ClusterError(f"something listens at {address[0]}:{address[1]} already: set NEXTBEST_HTTP_PORT")
        self.clear()
        self.folder.mkdir(mode=0o700)
        if self.settings.haproxy:
            self._haproxy.write()
        os.environ.update(self._environment())

    def start(self, replicas: int, version: str) -> None:
        """Return once the API answers, with `replicas` replicas of `version`.

        Raises:
            ClusterError: Ray, or what it serves, does not start; the log files are kept.

        """
        try:
            self._start()
        except Exception as error:
            raise ClusterError(f"Ray Serve did not start (its logs are in {self.folder}): {error}") from error
        self.deploy(replicas, version)

    def _start(self) -> None:
        import ray  # noqa: PLC0415  reads its variables now
        from ray import serve  # noqa: PLC0415

        keep_ray_local()
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        ray.init(
            include_dashboard=False,
            log_to_driver=True,
            logging_level=logging.WARNING,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=str(self.folder),
        )
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": self._serve_host, "port": self.settings.http_port},
        )

    def deploy(self, replicas: int, version: str) -> None:
        """Bring a started cluster to `replicas` replicas of `version`, and return once there are no others.

        A replica of that version is left alone. Another one goes when a fresh one has taken its place.

        Raises:
            ClusterError: fresh replicas do not start; what ran goes on.

        """
        from ray import serve  # noqa: PLC0415

        from serving.deployments import application  # noqa: PLC0415

        try:
            serve.run(application(replicas, version), name=_APPLICATION, route_prefix="/")
            while not self._is_settled():
                time.sleep(_LOOK_S)
        except Exception as error:
            reason = self._reason() or error
            raise ClusterError(f"the replicas did not start (their logs are in {self.folder}): {reason}") from error

    def _is_settled(self) -> bool:
        """Whether every replica that there is runs, and is to stay."""
        return all(set(deployment.replica_states) == {"RUNNING"} for deployment in self._deployments())

    def _reason(self) -> str:
        """Why replicas do not start: the last line of what the last of them said."""
        failed = [each.message.strip() for each in self._deployments() if each.status == "DEPLOY_FAILED"]
        return failed[0].splitlines()[-1] if failed and failed[0] else ""

    def _deployments(self) -> list[Any]:
        from ray import serve  # noqa: PLC0415

        application = serve.status().applications.get(_APPLICATION)
        return list(application.deployments.values()) if application else []

    def is_whole(self) -> bool:
        """Whether the processes live that Ray does not start again when they end; without them no replica would be."""
        children = psutil.Process().children()
        return {_name_of_living(child) for child in children} >= _VITAL

    def stop(self) -> None:
        """End the cluster in order, then whatever of it is still there, its folder excepted."""
        import ray  # noqa: PLC0415
        from ray import serve  # noqa: PLC0415

        if ray.is_initialized():
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()
        self.end_processes()

    def clear(self) -> None:
        """Remove sockets and log files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_processes(self) -> None:
        """Kill every process of this home's cluster, this one excepted."""
        left = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=5)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.pid != os.getpid() and process.environ().get(_CLUSTER_MARK) == str(self.folder)
        except (psutil.Error, OSError):
            return False

    @property
    def _serve_host(self) -> str:
        """Where Ray binds what speaks HTTP: behind HAProxy that is no business of anybody else's."""
        return LOOPBACK if self.settings.haproxy else self.settings.host

    @property
    def _haproxy(self) -> HAProxy:
        return HAProxy(self.settings, self.folder)

    def _environment(self) -> dict[str, str]:
        # HAProxy keeps the port of a replica that died for a moment: nobody else's replica may take it meanwhile.
        first = _REPLICA_PORTS[int(Supervisor.of(self.settings).mark, 16) % len(_REPLICA_PORTS)]
        return {
            **self.settings.environment(),
            **self._haproxy.environment(),
            _CLUSTER_MARK: str(self.folder),
            "SPT_NOENV": "1",  # Ray's processes write their title over their environment, marks and all, without it
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # else whatever runs beside them, a training too, goes before the replicas
            "RAY_COLOR_PREFIX": "0",  # what replicas log is in the server's own log, which is a file as a rule
            "RAY_DEDUP_LOGS": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "1" if self.settings.haproxy else "0",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1" if self.settings.haproxy else "0",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # HAProxy has turned to others after one
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # in 5, one on a busy machine has not started
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # after three that fail, HAProxy starts anew
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + _REPLICA_PORTS.step - 1),
        }


def _name_of_living(process: psutil.Process) -> str:
    """Nothing for one that has ended: a server that started anew has its dead of before as children still."""
    try:
        return str(process.name()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""
