"""The whole server, as people start it: `nextbest serve` with Ray Serve, HAProxy, Feast, log, State and a bundle."""

import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from nextbest.adapters import supervisor
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.supervisor import Supervisor, free_ports
from nextbest.commands.log import log as log_command
from nextbest.contracts import Contract
from nextbest.intake import envelope
from nextbest.settings import Settings
from serving.cluster import Cluster, ClusterError
from tests.serving.server import Server, eventually

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
HAPROXY_PORTS = ("HAPROXY_STATS", "HAPROXY_METRICS", "FALLBACK_PROXY_HTTP")


def test_a_known_customer_gets_an_action_and_a_stranger_a_safe_decision(server: Server) -> None:
    """Features come from Feast; who has none there gets the placement's fallback."""
    known, unknown = server.decide("c0"), server.decide("stranger")
    assert (known["tier"], known["placements"][0]["slots"][0]["action"]) == ("full", "beef")
    assert (unknown["degraded"], unknown["placements"][0]["slots"][0]["action"]) == (["unknown_customer"], "do_nothing")
    record = server.client.get(f"/v1/decisions/{known['decision_id']}").json()["record"]
    assert record["features"]["clv_91d"] == 1.0


def test_a_visitor_is_known_by_what_they_did(server: Server) -> None:
    """Nobody whom a batch has seen: an event makes them somebody to decide for, and the decision says what it lacks."""
    assert server.decide("visitor:new")["degraded"] == ["unknown_customer"]
    row = {"event_id": "live1", "customer_id": "visitor:new", "type": "page_view", "channel": "web"}
    body = {"events": [{"contract": "events", "properties": row | {"occurred_at": NOW.isoformat()}}]}
    assert server.client.post("/v1/events", json=body).status_code == 202
    assert eventually(lambda: server.decide("visitor:new")["degraded"] == ["live_features_only"])
    assert server.decide("visitor:new")["tier"] == "full"


def test_a_consent_from_the_log_binds(server: Server, contracts: dict[str, Contract]) -> None:
    """Another process appends a withdrawal; the event processor brings it into State."""
    row = {
        "consent_id": "k1",
        "customer_id": "c1",
        "purpose": "marketing",
        "status": "withdrawn",
        "regime": "opt_out",
        "occurred_at": NOW,
        "source": "live",
    }
    assert server.action("c1") == "beef"
    with closing(SqliteLog(server.settings.event_log)) as log:
        log.append_sync([envelope(contracts["consents"], row, NOW)])
    assert eventually(lambda: server.action("c1") == "do_nothing")


def test_an_answer_moves_what_is_decided(server: Server, contracts: dict[str, Contract]) -> None:
    """Seen and redeemed by one customer: the next decision for another one has the model corrected, and says so."""

    asked = {"customer": {"customer_id": "c41"}, "placements": ["home_banner"], "count_toward_caps": False}

    def correction() -> float:
        answer = server.client.post("/v1/decisions", json=asked).json()
        record = server.client.get(f"/v1/decisions/{answer['decision_id']}").json()["record"]
        return max(each.get("residual_mean") or 0.0 for each in record["candidates"] if each["action"] == "beef")

    made, now = server.decide("c40"), datetime.now(UTC)
    said = {"customer_id": "c40", "decision_id": made["decision_id"], "slot": 0, "action": "beef", "source": "live"}
    seen = said | {"event_id": "e40", "type": "impression", "channel": "web", "occurred_at": now, "received_at": now}
    bought = said | {"outcome_id": "o40", "kind": "redemption", "currency": "USD", "occurred_at": now}
    before = correction()
    entries = [envelope(contracts[name], row, now) for name, row in (("events", seen), ("outcomes", bought))]
    with closing(SqliteLog(server.settings.event_log)) as log:
        log.append_sync(entries)
    assert eventually(lambda: correction() > before)


def test_state_is_made_anew_while_decisions_go_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever said no hears nothing meanwhile: fallbacks that say why, until all of the log is there again."""
    for name, value in server.settings.environment().items():
        monkeypatch.setenv(name, value)
    server.client.put("/v1/customers/c40/consents", json={"consents": {"marketing": "withdrawn"}}).raise_for_status()
    with ThreadPoolExecutor() as beside:
        replays = beside.submit(lambda: [CliRunner().invoke(log_command, ["replay", "--yes"]) for _ in range(5)])
        answers = [server.decide("c40")]
        while not replays.done():
            answers.append(server.decide("c40"))
    assert [each.exit_code for each in replays.result()] == [0] * 5
    assert {each["placements"][0]["slots"][0]["action"] for each in answers} == {"do_nothing"}
    assert {reason for each in answers for reason in each["degraded"]} <= {"state_rebuilding", "state_unavailable"}
    assert server.decide("c40")["degraded"] == []
    assert server.action("c41") == "beef"
    assert eventually(lambda: "nextbest_log_lag_records 0.0" in server.client.get("/metrics").text)


def test_nothing_that_runs_beside_goes_first(server: Server) -> None:
    """Every process of the server has the priority it was started with: Ray would give its own less."""
    assert {process.nice() for process in server.processes()} == {psutil.Process().nice()}


def test_an_id_with_a_slash_is_one_name(server: Server) -> None:
    """Nothing between the client and the replica decodes a path before it is routed."""
    said = server.client.get("/v1/customers/a%2Fb/consents")
    assert (said.status_code, said.json()["customer_id"]) == (200, "a/b")


def test_a_cap_binds(server: Server) -> None:
    """Two decisions of beef a day, and no more."""
    assert [server.action("c2") for _ in range(4)] == ["beef", "beef", "milk", "milk"]


def test_events_are_accepted_once(server: Server) -> None:
    """Accepted, a duplicate when sent again, rejected with a reason when not as the contract says."""
    row = {"event_id": "e1", "customer_id": "c3", "type": "login", "channel": "web", "occurred_at": NOW.isoformat()}
    wrong = row | {"event_id": "e2", "type": "dream"}
    body = {"events": [{"contract": "events", "properties": each} for each in (row, wrong)]}
    sent = [server.client.post("/v1/events", json=body) for _ in range(2)]
    assert [response.status_code for response in sent] == [202, 202]
    statuses = [[result["status"] for result in response.json()["results"]] for response in sent]
    assert statuses == [["accepted", "rejected"], ["duplicate", "rejected"]]


def test_a_model_set_is_swapped_without_a_restart(server: Server, publish: Callable[[Settings, float], str]) -> None:
    """The replica changes to a newly published set within two seconds, and no decision in between fails."""
    process = psutil.Process(server.process.pid)
    started = process.create_time()
    model_set_id = publish(server.settings, 0.3)
    assert eventually(lambda: server.decide("c4")["model_set_id"] == model_set_id, 2)
    assert process.create_time() == started


def test_a_killed_haproxy_comes_back(server: Server) -> None:
    """Within seconds, and until it knows its replica again nobody is told that a path does not exist."""
    said: set[int] = set()

    def answers() -> bool:
        with suppress(httpx.TransportError):
            said.add(server.client.get("/healthz").status_code)
        return 200 in said

    for process in psutil.Process(server.process.pid).children(recursive=True):
        if process.name() == "haproxy":
            process.kill()
    assert eventually(answers)
    assert said <= {200, 503}


def test_a_killed_raylet_makes_the_server_start_anew(server: Server) -> None:
    """Without it nothing would bring back a replica that dies: the same process serves from a new cluster."""

    def raylets() -> list[int]:
        children = psutil.Process(server.process.pid).children()
        return [each.pid for each in children if each.name() == "raylet" and each.status() != psutil.STATUS_ZOMBIE]

    (killed,) = raylets()
    decided = server.decide("c0")
    os.kill(killed, signal.SIGKILL)

    def is_back() -> bool:
        with suppress(httpx.TransportError):
            return killed not in raylets() != [] and server.client.get("/readyz").status_code == 200
        return False

    assert eventually(is_back)
    assert server.client.get(f"/v1/decisions/{decided['decision_id']}").status_code == 200
    (started,) = raylets()
    assert not eventually(lambda: raylets() != [started], 3), "it started anew once more"


OTHER_ADDRESS = "127.0.0.2"
"""An address that nothing but the API may be at; Linux answers to all of 127.0.0.0/8."""


def test_a_killed_server_starts_again_and_a_stopped_one_leaves_nothing(
    settings: Settings, publish: Callable[[Settings, float], str]
) -> None:
    """`kill -9` loses no decision and no model set; SIGTERM ends with status 0, and every process and port is gone.

    The server is at another address: that opens the port of the API and no other, HAProxy's and all of Ray's included.
    """
    settings = replace(settings, host=OTHER_ADDRESS, http_port=free_ports(OTHER_ADDRESS, 1)[0], replicas=2)
    model_set_id = publish(settings, 0.1)
    server = Server.start(settings)
    try:
        open_to_others = {each for each in server.listening() if each[0] != "127.0.0.1"}
        assert open_to_others == {(OTHER_ADDRESS, settings.http_port)}
        decided = server.decide("c0")
        server.kill()
        server = Server.start(settings)
        assert decided["model_set_id"] == server.decide("c0")["model_set_id"] == model_set_id
        again = server.client.get(f"/v1/decisions/{decided['decision_id']}").json()["record"]
        assert again["decision_id"] == decided["decision_id"]
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert {"haproxy", "raylet"} <= {process.name() for process in children}
        assert set(server.processes()) == {psutil.Process(server.process.pid), *children}
        assert Supervisor.of(settings).services() == {"serving": server.process.pid}
        server.end()
        assert server.process.returncode == 0
        assert server.processes() == []
        assert not Cluster(settings).folder.exists()
        with socket.create_server((OTHER_ADDRESS, settings.http_port)):
            pass
    finally:
        server.kill()
        Cluster(settings).end_processes()


def test_a_home_is_served_once(tmp_path: Path) -> None:
    """A second server in the same home is refused, and the first is left alone."""
    settings = Settings(home=tmp_path)
    with Cluster(settings).alone(), pytest.raises(ClusterError, match="served already"), Cluster(settings).alone():
        pass


def test_haproxy_leaves_the_ports_of_the_homes_other_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They start after it: until then their ports look free."""
    ports = free_ports("127.0.0.1", 6)
    monkeypatch.setattr(supervisor, "_PORTS", ports)
    monkeypatch.setattr(os, "environ", {**os.environ})
    http, dagster, mlflow, *others = ports
    cluster = Cluster(Settings(home=tmp_path, http_port=http, dagster_port=dagster, mlflow_port=mlflow))
    cluster.prepare()
    cluster.clear()
    assert {int(os.environ[f"RAY_SERVE_{name}_PORT"]) for name in HAPROXY_PORTS} == set(others)


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """Before Ray takes its seconds to start."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        cluster = Cluster(replace(Settings(home=tmp_path), http_port=other.getsockname()[1]))
        with pytest.raises(ClusterError, match="NEXTBEST_HTTP_PORT"):
            cluster.prepare()
