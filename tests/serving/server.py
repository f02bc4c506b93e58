"""A real server for the tests that need one, and what they ask of it.

Belongs here: starting `nextbest serve` as people do, its processes, and its end. Does not belong here: fixtures
(`conftest.py`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.supervisor import MARK, Supervisor
from nextbest.keys import SCOPES
from nextbest.settings import CHECKOUT, Settings

PATIENCE_S = 180.0  # a server that starts anew on a busy machine takes the longest
MARTS = ("customer_profile", "customer_rfm", "department_affinity", "category_affinity", "contact_response")


def bearer(key: str) -> dict[str, str]:
    """The headers of a request with this key."""
    return {"Authorization": f"Bearer {key}"}


@dataclass(slots=True)
class Server:
    """A running `nextbest serve`."""

    settings: Settings
    process: "subprocess.Popen[str]"
    key: str
    client: httpx.Client

    @classmethod
    def start(cls, settings: Settings) -> "Server":
        """Return once the server has said where it is."""
        process = subprocess.Popen(
            [sys.executable, "-m", "nextbest", "serve"],
            env=os.environ | settings.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        address = f"http://{settings.host}:{settings.http_port}"
        said = process.stdout.readline()
        assert address in said, said
        _, key = KeyFile(settings.api_keys).create("tests", tuple(SCOPES), 0, datetime.now(UTC))
        return cls(settings, process, key, httpx.Client(base_url=address, headers=bearer(key), timeout=10))

    def decide(self, customer_id: str) -> dict[str, Any]:
        body = {"customer": {"customer_id": customer_id}, "placements": ["home_banner"], "limit": 1}
        response = self.client.post("/v1/decisions", json=body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def action(self, customer_id: str) -> str:
        name: str = self.decide(customer_id)["placements"][0]["slots"][0]["action"]
        return name

    def processes(self) -> list[psutil.Process]:
        """Whatever carries the mark by which `nextbest down` finds this server's processes."""
        mark = Supervisor.of(self.settings).mark
        return [process for process in psutil.process_iter() if _environment(process).get(MARK) == mark]

    def listening(self) -> set[tuple[str, int]]:
        """Every address that a process of the server listens at; an IPv4 address that IPv6 wraps is unwrapped."""
        found = (each for process in self.processes() for each in _connections(process))
        return {(each.laddr.ip.removeprefix("::ffff:"), each.laddr.port) for each in found if each.status == "LISTEN"}

    def kill(self) -> None:
        """End its first process, as a loss of power to it would; what that started is left behind."""
        self.client.close()
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.communicate(timeout=30)


def _connections(process: psutil.Process) -> list[Any]:
    """None of one that has ended since it was found."""
    try:
        return list(process.net_connections("tcp"))
    except psutil.NoSuchProcess:
        return []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        environment: dict[str, str] = process.environ()
    except (psutil.Error, OSError):
        return {}
    return environment


def materialize(settings: Settings, customers: list[str], value: float = 0.0) -> None:
    """Give `customers` features that are all `value`, through the real feature repository."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    keys = {"customer_id": customers, "as_of": pa.array([today] * len(customers), pa.timestamp("us", tz="UTC"))}
    types = {"integer": pa.int64(), "double": pa.float64()}
    for mart in MARTS:
        (model,) = yaml.safe_load((CHECKOUT / "dbt_project/models/marts" / f"{mart}.yml").read_text())["models"]
        features = {
            column["name"]: pa.array([value] * len(customers), pa.float64()).cast(types[column["data_type"]])
            for column in model["columns"]
            if column["name"] not in keys
        }
        _write(settings.marts / "current" / f"{mart}.parquet", keys | features)
    scores = {
        "clv_91d": [1.0] * len(customers),
        "churn_91d": [0.1] * len(customers),
        "segment": ["frequent"] * len(customers),
        "best_hour": [18.0] * len(customers),
        "best_hour_gain": [0.1] * len(customers),
        "best_channel": ["email"] * len(customers),
        "best_channel_gain": [0.1] * len(customers),
        "next_category": ["beef"] * len(customers),
        "next_category_probability": [0.3] * len(customers),
        "model_versions": ["clv 1"] * len(customers),
    }
    _write(settings.marts / "scores" / "customer_scores.parquet", keys | scores)
    apply, script = (str(settings.feature_repo / name) for name in ("apply.py", "materialize.py"))
    span = [f"--start={today - timedelta(days=1):%Y-%m-%d}", f"--end={today + timedelta(days=1):%Y-%m-%d}"]
    for command in ([apply], [script, *span]):
        subprocess.run(
            [sys.executable, *command], env=os.environ | settings.environment(), check=True, capture_output=True
        )


def _write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def eventually(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
    """Whether it comes true; how long that takes on a busy machine is for benchmarks, not for tests."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
