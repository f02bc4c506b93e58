"""`nextbest models`, `follow` and `mlflow`: what there is, who serves, what brings it there, and the UI of it all.

Belongs here: arguments, tables and signals. Does not belong here: the registry (`models.registry`) or what following
means (`models.follower`).

MLflow takes seconds to import: commands import it when they run, so that `--help` does not.
"""

# ruff: noqa: PLC0415  the reason is above

import asyncio
import logging
import os
import signal
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from nextbest.adapters.supervisor import Supervisor
from nextbest.model_set import MODELS
from nextbest.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.champions import Champions
    from models.follower import Follower
    from models.registry import Registry
    from models.versions import Version


@click.group()
def models() -> None:
    """See the model versions and choose the champions.

    Example: nextbest models list
    """


@models.command("list")
def list_versions() -> None:
    """List every model version: its gate, and which one is champion.

    Example: nextbest models list
    """
    with _registry() as registry:
        versions = [version for name in MODELS for version in registry.versions(name)]
    if versions:
        Console(width=None if sys.stdout.isatty() else 160).print(_table(versions))
    else:
        click.echo("No model yet: `nextbest pipeline` trains them.")


@models.command()
@click.argument("name", type=click.Choice(MODELS), metavar="NAME")
@click.argument("version")
def promote(name: str, version: str) -> None:
    """Make VERSION of model NAME the champion; one that its gate is against is refused. Serving follows within seconds.

    Of a version that scores in the shadow, because too little was known of it, you decide.

    Example: nextbest models promote propensity 3
    """
    with _registry() as registry:
        _champions(registry).promote(name, version)
    click.echo(f"{name} {version} is champion")


@models.command()
@click.argument("name", type=click.Choice(MODELS), metavar="NAME")
def rollback(name: str) -> None:
    """Make the champion of before champion again, of model NAME; once more, and the one before that is.

    Example: nextbest models rollback propensity
    """
    with _registry() as registry:
        click.echo(f"{name} {_champions(registry).rollback(name)} is champion again")


@contextmanager
def _registry() -> "Iterator[Registry]":
    from models.registry import Registry, reachable

    settings = Settings.from_env()
    with reachable(settings):
        yield Registry(settings)


def _champions(registry: "Registry") -> "Champions":
    from models.champions import Champions

    return Champions(registry)


@click.command()
def mlflow() -> None:
    """Run the MLflow UI on this home's registry until interrupted.

    Example: nextbest mlflow
    """
    from models.registry import Registry

    settings = Settings.from_env()
    Registry(settings)  # sets the store up: of several who find none, one does
    store = ["--backend-store-uri", settings.mlflow_uri, "--artifacts-destination", str(settings.mlflow_artifacts)]
    bind = ["--host", settings.host, "--port", str(settings.mlflow_port), "--workers", "1"]
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # its job runner would start processes of no use here
    command = [sys.executable, "-m", "mlflow", "server", *store, *bind]
    os.execve(sys.executable, command, {**Supervisor.of(settings).service_environment("mlflow"), **variables})


@click.command()
@click.option("--once", is_flag=True, help="Publish what is champion now, and end.")
def follow(*, once: bool) -> None:
    """Publish the champions to serving whenever they change, until interrupted.

    Example: nextbest follow --once
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    settings = Settings.from_env()
    if not once:
        Supervisor.of(settings).become("follower")
    asyncio.run(_follow(settings, once=once))


async def _follow(settings: Settings, *, once: bool) -> None:
    from models.follower import Follower
    from models.registry import reachable
    from nextbest.adapters.states import open_state

    state = open_state(settings)
    try:
        with reachable(settings):
            follower = Follower(settings, state)
        if once:
            with reachable(settings):
                published = await follower.step(_now())
            click.echo(f"published model set {published}" if published else "nothing to publish")
        else:
            await _until_interrupted(follower)
    finally:
        state.close()


async def _until_interrupted(follower: "Follower") -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await follower.follow(_now, stop)


def _table(versions: "list[Version]") -> Table:
    table = Table("model", "version", "alias", "gate", "trained", "why", "follower")
    for version in versions:
        tags = version.tags
        table.add_row(
            version.name,
            version.version,
            version.alias,
            tags.get("gate", "never judged"),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            tags.get("gate_reason", "") if "gate" in tags else "its training did not end, or somebody registered it",
            tags.get("follower", ""),
        )
    return table


def _now() -> datetime:
    return datetime.now(UTC)
