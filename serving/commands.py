"""`nextbest serve`: the decision API in the foreground.

Belongs here: the command. Does not belong here: how the cluster is started and ended (`serving.cluster`).
"""

import asyncio
import os
import signal
import sys
import time
from contextlib import closing

import click

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.states import open_state
from nextbest.adapters.supervisor import Supervisor
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError
from serving.cluster import Cluster

_LOOK_S = 1.0


@click.command()
def serve() -> None:
    """Serve decisions over HTTP until Ctrl-C or SIGTERM.

    Starts with the last good model set, or without one: then every decision is its placement's fallback. What a killed
    server left behind is ended first.

    Example: NEXTBEST_HTTP_PORT=8080 nextbest serve
    """
    settings = Settings.from_env()
    Supervisor.of(settings).become("serving")
    _publish_policy(settings)  # a mistake in a file is said here, not in a replica's log
    load_contracts(settings.folder("contracts"))
    cluster, environment = Cluster(settings), dict(os.environ)
    with cluster.alone():
        cluster.prepare()
        try:
            cluster.start()
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # after Ray has set its own
            click.echo(f"decisions at http://{settings.host}:{settings.http_port} (described in /openapi.json)")
            while cluster.is_whole():
                time.sleep(_LOOK_S)
            click.echo("a part of Ray that nothing starts again has ended: starting anew", err=True)
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
        except KeyboardInterrupt:
            _end(cluster)
            cluster.clear()
        except BaseException:
            _end(cluster)
            raise


def _publish_policy(settings: Settings) -> None:
    """What the files say now decides, on replicas that Ray starts again later too.

    Raises:
        PolicyError: the files have mistakes.

    """
    policy = read_and_archive(settings.folder("policies"), settings.policies_archive)
    with closing(open_state(settings)) as state:
        try:
            asyncio.run(state.publish_policy(policy.hash))
        except StateUnavailableError as error:
            click.echo(f"replicas take the newest policy of {settings.policies_archive}: {error}", err=True)


def _end(cluster: Cluster) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # ending has begun
    cluster.stop()
