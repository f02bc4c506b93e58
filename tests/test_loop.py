"""The whole loop, as people meet it: commands, servers, the UIs' interfaces; killed on the way and started again."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from nextbest.adapters.supervisor import Supervisor, free_ports
from nextbest.settings import Settings

pytestmark = pytest.mark.integration

CUSTOMERS = 2_469 + 89
"""All households, and the accounts that some have beside: on a sample no model passes its gate."""
VISITORS = 200
SECONDS_TO_FOLLOW = 5
KILLED_AT = "came through the API"
"""The last weeks are in the log and have not landed."""
TRANSACTIONS = 1_469_307
PAGES = {"serving": "/docs", "dagster-ui": "/", "mlflow": "/"}
COMMAND = [sys.executable, "-m", "nextbest"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    http, dagster, mlflow = free_ports("127.0.0.1", 3)
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, http_port=http, dagster_port=dagster, mlflow_port=mlflow)
    yield settings
    Supervisor.of(settings).stop_all(grace_s=5)


def environment(settings: Settings) -> Mapping[str, str]:
    return {**os.environ, **settings.environment(), "PYTHONDONTWRITEBYTECODE": ""}


def run_until(settings: Settings, pattern: str) -> None:
    """Start the demo, and kill it without warning at the first line that matches."""
    command = [*COMMAND, "demo", "--once"]
    with subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next((line for line in process.stdout if re.search(pattern, line)), None)
        process.send_signal(signal.SIGKILL)
        assert line is not None, f"the demo ended before it printed {pattern}"
        # Orphans hold the pipe open: leave it to the next demo to end them, as a person would.
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that stays up, and the addresses it printed."""

    process: "subprocess.Popen[str]"
    addresses: Mapping[str, str]
    report: Mapping[str, Any]


@pytest.fixture(scope="module")
def demo(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that was killed while learning, and started again; up until Ctrl-C."""
    run_until(settings, KILLED_AT)
    path = tmp_path_factory.mktemp("report") / "report.json"
    command = [*COMMAND, "demo", "--json", str(path)]
    with subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = ""
        while "Ctrl-C ends it all." not in printed:
            line = process.stdout.readline()
            assert line, f"the demo ended:\n{printed}"
            printed += line
        addresses = dict(re.findall(r"^up +(\S+) +(http://\S+)", printed, re.MULTILINE))
        yield Demo(process, addresses, json.loads(path.read_text()))
        process.kill()


@pytest.fixture
def report(demo: Demo) -> Mapping[str, Any]:
    """What the demo says of itself when it has gone round."""
    return demo.report


def test_a_killed_demo_ends_well_when_started_again(report: Mapping[str, Any]) -> None:
    """After a kill, nothing is lost, no check fails, and decisions were made."""
    assert report["ok"]
    assert report["checks"]["failed"] == 0
    for contract, counts in report["landed"].items():
        assert counts["landed"] + counts["rejected"] == counts["received"], contract
    assert report["landed"]["customers"]["landed"] == CUSTOMERS
    assert {(model["name"], model["alias"]) for model in report["models"]} >= {
        ("propensity", "champion"),
        ("clv", "champion"),
    }
    assert sum(report["decisions"].values()) >= 3 * (1 + VISITORS)  # three placements each, one with two slots
    assert len(report["decisions"]) > 1


def test_what_came_through_the_api_landed(report: Mapping[str, Any]) -> None:
    """Every purchase once, those of the demo killed before they had landed included; and every decision."""
    assert report["live"]["transactions"] > 0
    assert report["landed"]["transactions"]["landed"] == TRANSACTIONS
    assert report["landed"]["decisions"]["landed"] >= sum(report["decisions"].values())


def test_an_event_changed_a_decision(report: Mapping[str, Any]) -> None:
    """What was decided for a customer, and then redeemed, is not decided for them again."""
    assert report["change"]["before"] == report["change"]["action"]
    assert report["change"]["reason"].startswith("redeemed")
    assert report["change"]["after"] != report["change"]["action"]


def test_the_next_decision_knew_what_a_customer_had_just_done(report: Mapping[str, Any]) -> None:
    """Pages that a visitor looked at, who that is, what a redemption says of an offer, and a cap over page and app."""
    moments = {each["kind"]: each for each in report["second"]}
    assert moments.keys() == {"feature", "merge", "cap", "posterior"}
    assert all(each["before"] != each["after"] for each in moments.values())
    assert "web" in moments["cap"]["happened"]
    assert "app" in moments["cap"]["happened"]


def test_the_demo_stays_up_where_it_says(demo: Demo) -> None:
    """The decision API, the Dagster UI and MLflow answer at the addresses it printed."""
    assert demo.addresses.keys() == PAGES.keys()
    for service, address in demo.addresses.items():
        assert httpx.get(address + PAGES[service], timeout=30).status_code == 200, service


def graphql(demo: Demo, query: str, **variables: Any) -> Any:
    answer = httpx.post(
        f"{demo.addresses['dagster-ui']}/graphql", json={"query": query, "variables": variables}, timeout=60
    )
    return answer.raise_for_status().json()["data"]


def test_the_run_is_seen_in_the_dagster_ui_and_a_second_one_works(demo: Demo) -> None:
    """What the UI asks of its server: the demo's run is there, and launching the job again ends well."""
    runs = graphql(demo, "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }")
    done = [
        run for run in runs["runsOrError"]["results"] if run["status"] == "SUCCESS" and run["jobName"] == "pipeline"
    ]
    assert done
    found = graphql(
        demo,
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }",
    )
    (node,) = found["repositoriesOrError"]["nodes"]
    partition = next(tag["value"] for tag in done[0]["tags"] if tag["key"] == "dagster/partition")
    launched = graphql(
        demo,
        """mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
             __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        params={
            "selector": {
                "repositoryLocationName": node["location"]["name"],
                "repositoryName": node["name"],
                "jobName": "pipeline",
            },
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        },
    )["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    deadline = time.monotonic() + 180
    status = "QUEUED"
    while status not in {"SUCCESS", "FAILURE", "CANCELED"}:
        assert time.monotonic() < deadline, status
        time.sleep(1)
        status = graphql(demo, query, id=launched["run"]["runId"])["runOrError"]["status"]
    assert status == "SUCCESS"


def test_serving_follows_the_alias_set_in_the_mlflow_ui(demo: Demo, settings: Settings) -> None:
    """The call the UI makes when a person sets the alias: the endpoint decides with the other version within 5 s."""
    command = [*COMMAND, "keys", "create", "--scopes", "decide"]
    key = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=True).stdout.strip()
    with httpx.Client(base_url=f"{demo.addresses['mlflow']}/ajax-api/2.0/mlflow", timeout=30) as registry:
        alias = {"name": "propensity", "alias": "champion"}
        champion = registry.get("registered-models/alias", params=alias).raise_for_status().json()["model_version"]
        twin = {name: champion[name] for name in ("name", "source", "run_id", "tags")}
        twin["model_id"] = champion["source"].removeprefix("models:/")
        created = registry.post("model-versions/create", json=twin).raise_for_status().json()["model_version"]
        before = decide(demo, key)["model_set_id"]
        registry.post("registered-models/alias", json=alias | {"version": created["version"]}).raise_for_status()
    deadline = time.monotonic() + SECONDS_TO_FOLLOW
    while decide(demo, key)["model_set_id"] == before:
        assert time.monotonic() < deadline, "serving did not follow"
        time.sleep(0.1)


def decide(demo: Demo, key: str) -> Any:
    body = {"customer": {"customer_id": "nobody-we-know"}, "placements": ["home_banner"], "dry_run": True}
    answer = httpx.post(
        f"{demo.addresses['serving']}/v1/decisions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=10
    )
    return answer.raise_for_status().json()


def test_ctrl_c_ends_the_demo_and_leaves_nothing_running(settings: Settings, demo: Demo) -> None:
    """The last test of its home: the demo ends well, and with it every process and every port."""
    demo.process.send_signal(signal.SIGINT)
    output, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, output
    assert Supervisor.of(settings).running() == []
    for port in (settings.http_port, settings.dagster_port, settings.mlflow_port):
        with socket.socket() as probe:
            assert probe.connect_ex((settings.host, port)) != 0, port
