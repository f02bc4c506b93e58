"""Ray on the loopback interface: what binds its own servers there, and leaves out those that nextbest has no use for.

Belongs here: the few places where Ray decides by itself what it listens at, each changed in the process that decides.
Ray has settings for none of them; a test of the running server asks the system what listens where. Does not belong
here: what can be set (`serving.cluster`), and what is open on purpose: the port of the API.
"""

import importlib
from typing import Any

LOOPBACK = "127.0.0.1"


def keep_ray_local() -> None:
    """Before Ray starts, in the process that starts it: as on macOS and Windows, its node is at the loopback address.

    Its agents start as they do where `ray[default]` is not installed: without the HTTP server that takes jobs.
    """
    from ray._private import ray_constants, utils  # noqa: PLC0415  Ray reads its variables when it is imported

    ray_constants.ENABLE_RAY_CLUSTER = False
    utils.get_dashboard_dependency_error = lambda: ImportError("nothing here uses Ray's dashboard or its jobs")


def keep_replica_local() -> None:
    """In each replica, while it is built: the server through which deployments call each other follows."""
    replica: Any = importlib.import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server

    def bind_locally(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", LOOPBACK))

    replica.add_port_to_grpc_server = bind_locally
