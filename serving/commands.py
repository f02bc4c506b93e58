"""`nextbest serve | scale | roll | consume`: the decision API in the foreground, its replicas, and events from a topic.

Belongs here: the commands. Does not belong here: how the cluster is started and ended (`serving.cluster`), how an order
is carried out (`serving.fleet`), and how a topic is read (`serving.consume`).
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import closing

import click

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.logs import check_log
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.states import check_state, open_state
from nextbest.adapters.supervisor import ServiceError, Supervisor
from nextbest.commands.processes import console
from nextbest.identity import Limits
from nextbest.names import CustomerNames
from nextbest.settings import Settings, is_topic
from nextbest.state import StateUnavailableError
from nextbest.wire import INTAKE
from serving.cluster import Cluster
from serving.fleet import Fleet
from serving.orders import Order, Orders

_LOOK_S = 1.0
_ANEW = "NEXTBEST_ANEW"
"""Variable of a server that starts anew by itself: it goes on without State or log, as its replicas did."""


@click.command()
def serve() -> None:
    """Serve decisions over HTTP until Ctrl-C or SIGTERM.

    Starts with the last good model set, or without one: then every decision is its placement's fallback. What a killed
    server left behind is ended first.

    Example: NEXTBEST_HTTP_PORT=8080 nextbest serve
    """
    settings = Settings.from_env()
    if _ANEW not in os.environ:
        check_state(settings)
        check_log(settings)
    Supervisor.of(settings).become("serving")
    _publish_policy(settings)  # a mistake in a file is said here, not in a replica's log
    contracts = load_contracts(settings.folder("contracts"))
    Limits.parse(settings.identity_limits).check(CustomerNames(contracts["identities"]).kinds)
    cluster, environment = Cluster(settings), dict(os.environ)
    with cluster.alone():
        cluster.prepare()
        fleet = Fleet(cluster, Orders(settings))
        try:
            fleet.start()
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # after Ray has set its own
            click.echo(f"decisions at http://{settings.host}:{settings.http_port} (described in /openapi.json)")
            while cluster.is_whole():
                fleet.look()
                time.sleep(_LOOK_S)
            click.echo("a part of Ray that nothing starts again has ended: starting anew", err=True)
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment | {_ANEW: "1"})
        except KeyboardInterrupt:
            _end(cluster)
            cluster.clear()
        except BaseException:
            _end(cluster)
            raise


@click.command()
@click.argument("replicas", type=click.IntRange(1, 64), metavar="N")
def scale(replicas: int) -> None:
    """Run N decision replicas, while requests go on; returns once they run and those too many have ended.

    A server that starts later in this home has N too, until `nextbest scale` or NEXTBEST_REPLICAS says another number.

    Example: nextbest scale 4
    """
    _carry_out(Order(replicas=replicas), f"scaling to {_count(replicas)}")
    click.echo(f"{_count(replicas)} running")


@click.command()
def roll() -> None:
    """Replace every replica by a fresh one, which reads code, contracts and models anew, while requests go on.

    One after the other: a fresh one takes requests before an old one, which finishes what it has, ends. If a fresh
    one does not start, the old ones go on. The server keeps its settings: those change with a restart.

    Example: nextbest roll
    """
    _carry_out(Order(fresh=True), "replacing every replica")
    click.echo("every replica is fresh")


@click.command()
@click.argument("topic")
@click.option(
    "--contract", type=click.Choice(INTAKE), default=INTAKE[0], show_default=True, help="Of messages that name none."
)
@click.option("--from", "servers", metavar="kafka://HOST:PORT", help="The brokers; by default those of NEXTBEST_LOG.")
@click.option("--group", default="nextbest", show_default=True, help="Consumers of one group share the partitions.")
@click.option(
    "--session",
    "session_s",
    type=click.FloatRange(1, 1_800),
    default=10,
    show_default=True,
    help="Seconds of silence after which another consumer gets the partitions of this one.",
)
def consume(topic: str, contract: str, servers: str | None, group: str, session_s: float) -> None:
    """Take in the events of a Kafka topic, until Ctrl-C or SIGTERM.

    A message is a row in JSON, bare or as POST /v1/events takes it: {"contract": …, "properties": {…}}. Kafka is told
    that it was read once it is in the log; what breaks its contract goes where the API's does, and what is no row to
    the topic TOPIC.dead.

    Example: nextbest consume shop.clicks --contract events --from kafka://127.0.0.1:9092
    """
    settings = Settings.from_env()
    servers = servers or settings.log_url.rpartition("/")[0]
    if not is_topic(f"{servers}/{topic}"):
        raise click.UsageError("say where the topic is: --from kafka://host:port, and a topic's name")
    if f"{servers}/{topic}" == settings.log_url.partition("?")[0]:
        raise click.UsageError(f"{topic} is the event log itself (NEXTBEST_LOG)")
    from nextbest.adapters.kafka_topic import Topic  # noqa: PLC0415  seconds, for whom it concerns
    from serving.consume import Source, run  # noqa: PLC0415

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    source = Source(topic=Topic.of(f"{servers}/{topic}"), contract=contract, group=group, session_s=session_s)

    async def until_told() -> Mapping[str, int]:
        ending = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ending.set)
        with console().status(f"{topic}: waiting for messages") as status:
            return await run(settings, source, ending, lambda count: status.update(f"{topic}: {_told(count)}"))

    click.echo(f"{topic}: {_told(asyncio.run(until_told()))}")


def _told(count: Mapping[str, int]) -> str:
    return ", ".join(f"{count.get(what, 0):,} {what}" for what in ("accepted", "duplicates", "rejected", "dead"))


def _carry_out(order: Order, what: str) -> None:
    """Return once the server of this home has done as `order` says.

    Raises:
        ServiceError: none runs, it ended meanwhile, or it could not.

    """
    settings = Settings.from_env()
    orders = Orders(settings)
    _check_serving(settings, "no server runs in {home}: `nextbest up` starts one")
    orders.give(order)
    try:
        with console().status(what):
            while (outcome := orders.outcome(order)) is None:
                _check_serving(settings, "the server of {home} ended before it was done")
                time.sleep(_LOOK_S)
    finally:
        orders.forget(order)
    if outcome.error:
        raise ServiceError(outcome.error)


def _check_serving(settings: Settings, refusal: str) -> None:
    if "serving" not in Supervisor.of(settings).services():
        raise ServiceError(refusal.format(home=settings.home))


def _count(replicas: int) -> str:
    return f"{replicas} replica" + "s" * (replicas > 1)


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
