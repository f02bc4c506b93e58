"""A peer on Ray Serve, with the settings of Ray and HAProxy that nextbest's own cluster has, until it is told to end.

Belongs here: the process that runs it. Does not belong here: what it serves (`echo`, `glue`), or who starts it
(`systems`).
"""

import signal
import time
from importlib import import_module

import click

from nextbest.settings import Settings
from serving.cluster import Cluster


@click.command()
@click.argument("name")
def main(name: str) -> None:
    """Serve the peer NAME with the settings in the environment."""
    settings = Settings.from_env()
    cluster = Cluster(settings)
    with cluster.alone():
        cluster.prepare()
        try:
            _serve(name, settings, cluster)
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # after Ray has set its own
            while cluster.is_whole():
                time.sleep(1)
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
        finally:
            cluster.stop()
            cluster.clear()


def _serve(name: str, settings: Settings, cluster: Cluster) -> None:
    import ray  # noqa: PLC0415  reads its variables now
    from ray import serve  # noqa: PLC0415

    ray.init(
        include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20, _temp_dir=str(cluster.folder)
    )
    serve.start(proxy_location="HeadOnly", http_options={"host": settings.host, "port": settings.http_port})
    serve.run(import_module(f"benchmarks.peers.{name}").application(settings.replicas), route_prefix="/")


if __name__ == "__main__":
    main()
