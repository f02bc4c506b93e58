"""`nextbest up | down | status`: the servers of one home.

Belongs here: which processes make up a running nextbest, and how they are shown. How a process is started and ended is
`nextbest.adapters.supervisor`; what each of them does is its rim's.
"""

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from nextbest.adapters.supervisor import Service, Supervisor
from nextbest.settings import Settings

PYTHON = sys.executable


def console() -> Console:
    """The terminal, or, where the output goes to a file, lines long enough for a table."""
    return Console(width=None if sys.stdout.isatty() else 150)


def supervisor(settings: Settings) -> Supervisor:
    """The supervisor of this home's processes."""
    return Supervisor(settings.run, settings.environment())


def decision_services(settings: Settings) -> list[Service]:
    """What a decision needs: the API and the process that follows the model registry."""
    return [
        Service(
            name="serving",
            argv=[PYTHON, "-m", "nextbest", "serve"],
            address=f"{settings.host}:{settings.http_port}",
            ready_path="/readyz",
        ),
        Service(name="follower", argv=[PYTHON, "-m", "nextbest", "follow"]),
    ]


def interface_services(settings: Settings) -> list[Service]:
    """What people look at: the Dagster UI with its daemon (schedules, sensors), and MLflow."""
    dagster = ["-m", "orchestration.definitions"]
    mlflow = ["--backend-store-uri", settings.mlflow_uri, "--artifacts-destination", str(settings.mlflow_artifacts)]
    bind = ["--host", settings.host, "--port"]
    return [
        Service(
            name="dagster-ui",
            argv=[PYTHON, "-m", "dagster_webserver", *dagster, *bind, str(settings.dagster_port)],
            address=f"{settings.host}:{settings.dagster_port}",
            ready_path="/server_info",
        ),
        Service(name="dagster-daemon", argv=[PYTHON, "-m", "dagster._daemon", "run", *dagster]),
        Service(
            name="mlflow",
            argv=[PYTHON, "-m", "mlflow", "server", *mlflow, *bind, str(settings.mlflow_port), "--workers", "1"],
            address=f"{settings.host}:{settings.mlflow_port}",
            ready_path="/health",
            environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # its job runner is of no use here
        ),
    ]


def start(supervisor: Supervisor, services: Sequence[Service], console: Console) -> None:
    """Start `services` side by side and return when all are ready.

    Raises:
        ServiceError: one of them could not start; what was started is ended again.

    """
    try:
        started = [(service, supervisor.start(service)) for service in services]
        for service, process in started:
            with console.status(f"starting {service.name}"):
                supervisor.wait_until_ready(service, process)
            console.print(f"[green]up[/]  {service.name:<15} {_address(service)}", highlight=False)
    except BaseException:
        supervisor.stop_all()
        raise


def _address(service: Service) -> str:
    return f"http://{service.address}" if service.address else ""


@click.command()
def up() -> None:
    """Start the decision API, the follower, the Dagster UI and MLflow, and leave them running.

    Ports are set with NEXTBEST_HTTP_PORT, NEXTBEST_DAGSTER_PORT and NEXTBEST_MLFLOW_PORT.

    Example: NEXTBEST_HTTP_PORT=8080 nextbest up
    """
    settings = Settings.from_env()
    start(supervisor(settings), decision_services(settings) + interface_services(settings), console())


@click.command()
def down() -> None:
    """End every process of this home, orphans of killed ones included.

    Example: nextbest down
    """
    ended = supervisor(Settings.from_env()).stop_all()
    console().print(f"ended {len(ended)} processes" if ended else "nothing was running")


@click.command()
def status() -> None:
    """Show which processes of this home run, and where they answer.

    Example: nextbest status
    """
    settings = Settings.from_env()
    running = {process.pid: process for process in supervisor(settings).running()}
    commands = {pid: process.cmdline() for pid, process in running.items()}
    table = Table("service", "state", "process", "address", box=None)
    for service in decision_services(settings) + interface_services(settings):
        pids = [pid for pid, command in commands.items() if command == list(service.argv)]
        table.add_row(service.name, "up" if pids else "down", str(pids[0]) if pids else "", _address(service))
    console().print(table)
