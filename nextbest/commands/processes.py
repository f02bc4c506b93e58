"""`nextbest up | down | status`: the servers of one home.

Belongs here: which processes make up a running nextbest, and how they are shown. How a process is started and ended is
`nextbest.adapters.supervisor`; what each of them does is its rim's.
"""

import subprocess
import sys
from collections.abc import Iterable

import click
from rich.console import Console
from rich.table import Table

from nextbest.adapters.logs import check_log
from nextbest.adapters.states import check_state
from nextbest.adapters.supervisor import Service, ServiceError, Supervisor
from nextbest.settings import Settings

PYTHON = sys.executable
_REPLICA = "ray::ServeReplica:nextbest:decisions"
"""What Ray calls a process that decides."""

Launched = tuple[Service, "subprocess.Popen[bytes]"]


def console() -> Console:
    """The terminal, or, where the output goes to a file, lines long enough for a table."""
    return Console(width=None if sys.stdout.isatty() else 150)


def decision_service(settings: Settings, ready_path: str = "/readyz") -> Service:
    """The decision API; before the first pipeline it is healthy, but not ready: every decision is a fallback."""
    return Service(
        name="serving",
        argv=[PYTHON, "-m", "nextbest", "serve"],
        address=f"{settings.host}:{settings.http_port}",
        ready_path=ready_path,
    )


def follower_service() -> Service:
    """What carries the registry's champions to the decision API."""
    return Service(name="follower", argv=[PYTHON, "-m", "nextbest", "follow"])


def interface_services(settings: Settings) -> list[Service]:
    """What people look at: the Dagster UI with its daemon (schedules, sensors), and MLflow."""
    return [
        Service(
            name="dagster-ui",
            argv=[PYTHON, "-m", "nextbest", "dagster", "ui"],
            address=f"{settings.host}:{settings.dagster_port}",
            ready_path="/server_info",
        ),
        Service(name="dagster-daemon", argv=[PYTHON, "-m", "nextbest", "dagster", "daemon"]),
        Service(
            name="mlflow",
            argv=[PYTHON, "-m", "nextbest", "mlflow"],
            address=f"{settings.host}:{settings.mlflow_port}",
            ready_path="/health",
        ),
    ]


def launch(supervisor: Supervisor, services: Iterable[Service]) -> list[Launched]:
    """Start `services` without waiting for any.

    Raises:
        ServiceError: one of them could not start.

    """
    return [(service, supervisor.start(service)) for service in services]


def wait_until_ready(supervisor: Supervisor, launched: Iterable[Launched], console: Console) -> None:
    """Return when all that was launched is ready.

    Raises:
        ServiceError: one of them ended, or was not ready in time.

    """
    for service, process in launched:
        with console.status(f"starting {service.name}"):
            supervisor.wait_until_ready(service, process)
        console.print(f"[green]up[/]  {service.name:<15} {_address(service)}", highlight=False)


def _refuse_unready(supervisor: Supervisor, services: Iterable[Service]) -> None:
    """Say which service runs and does not do its work: to start what is missing would look as if all were well."""
    for service in services:
        if not supervisor.answers(service):
            raise ServiceError(
                f"{service.name} runs but is not ready at {service.address}: wait a moment, "
                "or end it with `nextbest down` and start anew"
            )


def _address(service: Service) -> str:
    return f"http://{service.address}" if service.address else ""


@click.command()
def up() -> None:
    """Start what does not run of the decision API, the follower, the Dagster UI and MLflow, and leave them running.

    Ports are set with NEXTBEST_HTTP_PORT, NEXTBEST_DAGSTER_PORT and NEXTBEST_MLFLOW_PORT.

    Example: NEXTBEST_HTTP_PORT=8080 nextbest up
    """
    settings = Settings.from_env()
    watched = Supervisor.of(settings)
    running = watched.services()
    if "serving" not in running:  # one that runs goes on without State or log, with fallbacks
        check_state(settings)
        check_log(settings)
    is_built = settings.feast_registry.exists()
    if not is_built:
        console().print("Nothing is built here yet: decisions are fallbacks until `nextbest pipeline` has run.")
    try:
        serving = decision_service(settings, "/readyz" if is_built else "/healthz")
        services = [serving, follower_service(), *interface_services(settings)]
        missing = [service for service in services if service.name not in running]
        _refuse_unready(watched, [service for service in services if service.name in running])
        wait_until_ready(watched, launch(watched, missing), console())
        for service in services:
            if service not in missing:
                console().print(f"[green]up[/]  {service.name:<15} {_address(service)}  before", highlight=False)
    except BaseException:
        if not running:  # what ran before goes on
            watched.stop_all()
        raise


@click.command()
def down() -> None:
    """End every process of this home, orphans of killed ones included.

    Example: nextbest down
    """
    ended = Supervisor.of(Settings.from_env()).stop_all()
    console().print(f"ended {len(ended)} processes" if ended else "nothing was running")


@click.command()
def status() -> None:
    """Show which processes of this home run, and where they answer; and how many replicas decide.

    Example: nextbest status
    """
    settings = Settings.from_env()
    watched = Supervisor.of(settings)
    running = watched.services()
    table = Table("service", "state", "process", "replicas", "address", box=None)
    for service in [decision_service(settings), follower_service(), *interface_services(settings)]:
        pid = running.get(service.name)
        replicas = str(watched.count(_REPLICA)) if pid and service.name == "serving" else ""
        table.add_row(service.name, "up" if pid else "down", str(pid or ""), replicas, _address(service))
    console().print(table)
