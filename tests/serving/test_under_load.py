"""Replicas that come, go and die while requests go on: what a client sees of it, and what was decided."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPResponse

import psutil
import pytest

from nextbest import records
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import open_state
from nextbest.records import DecisionRecord
from nextbest.settings import Settings
from nextbest.state import SnapshotScope
from serving.app import IN_FLIGHT
from tests.serving.load import Load
from tests.serving.server import Server, eventually

pytestmark = pytest.mark.integration
BUFFERED = 20_000
"""Bytes: more than HAProxy waits for before it hands a request on."""


def patient(server: Server, name: str) -> Load:
    """Clients that ask again what was not answered."""
    return Load(str(server.client.base_url), server.key, name, retries=True)


def nextbest(settings: Settings, *words: str) -> str:
    """What the command says; it takes as long as the server takes to do it."""
    command = [sys.executable, "-m", "nextbest", *words]
    environment = os.environ | settings.environment()
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout


def replicas(server: Server) -> set[int]:
    """The processes of the decision replicas."""
    processes = server.processes()
    return {process.pid for process in processes if process.name().startswith("ray::ServeReplica:nextbest:decisions")}


def begun(server: Server, length: int, sent: int) -> socket.socket:
    """A connection with a request of whose body some blanks have been sent."""
    connection = connected(server)
    key = f"Authorization: Bearer {server.key}\r\n".encode()
    head = b"POST /v1/decisions HTTP/1.1\r\nHost: nextbest\r\n%bContent-Length: %d\r\n\r\n" % (key, length)
    connection.sendall(head + b" " * sent)
    return connection


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.settings.http_port), timeout=20)


def ask(connection: socket.socket) -> int:
    """The status of one more request on a connection that is not opened anew."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: nextbest\r\n\r\n")
    return status(connection)


def status(connection: socket.socket) -> int:
    """The status of the answer to what was sent."""
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def decided(settings: Settings) -> list[DecisionRecord]:
    """Every decision that the log holds."""
    with closing(SqliteLog(settings.event_log)) as log:
        entries = [
            entry for _, entry in log.read_sync(0, 1_000_000) if entry.contract == "decisions" and not entry.slot
        ]
    return [records.decode(entry.properties["record"]) for entry in entries]


def seen(settings: Settings) -> set[str | None]:
    """The decisions of which somebody saw something: tests before may have said so."""
    with closing(SqliteLog(settings.event_log)) as log:
        return {entry.decision_id for _, entry in log.read_sync(0, 1_000_000) if entry.type == "impression"}


def counted(settings: Settings, customers: Collection[str], until: datetime) -> set[str]:
    """The decision of every contact of beef, which has a cap, that State counts, under whichever of their names.

    Those whose place is held beyond `until`: what nobody has seen by the end of that counts no more.
    """

    async def read() -> set[str]:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        scope = SnapshotScope(yesterday, yesterday)
        found = [(await state.snapshot(customer, scope)).contacts for customer in customers]
        return {
            each.decision_id
            for contacts in found
            for each in contacts
            if each.action == "beef" and each.expires_at > until
        }

    with closing(open_state(settings)) as state:
        return asyncio.run(read())


def load(server: Server, name: str) -> Load:
    return Load(str(server.client.base_url), server.key, name)


def test_a_full_replica_says_so_at_once(server: Server) -> None:
    """Through HAProxy too: 503 as problem details with Retry-After; what it had is answered, and then there is room."""
    nextbest(server.settings, "scale", "1")
    with ExitStack() as ended:
        half = [ended.enter_context(begun(server, BUFFERED + 2, BUFFERED)) for _ in range(IN_FLIGHT)]
        assert eventually(lambda: server.client.post("/v1/decisions", json={}).status_code == 503)
        refused = server.client.post("/v1/decisions", json={})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["content-type"] == "application/problem+json"
        assert server.client.get("/healthz").status_code == 200
        for connection in half:
            connection.sendall(b"{}")
        assert {status(connection) for connection in half} == {422}
    server.decide("c5")


def test_who_sends_slowly_takes_nobodys_place(server: Server) -> None:
    """A replica hears of a request of usual size when all of it is there; what never comes is answered 408."""
    with ExitStack() as ended:
        slow = [ended.enter_context(begun(server, 100, 50)) for _ in range(IN_FLIGHT + 1)]
        server.decide("c5")
        assert status(slow[0]) == 408


def test_a_roll_that_fails_changes_nothing(server: Server) -> None:
    """Fresh replicas that cannot start are given up, with the reason, and the old ones go on."""
    nextbest(server.settings, "scale", "1")
    before = replicas(server)
    broken = server.settings.home / "data_contracts"
    broken.mkdir()
    try:
        with pytest.raises(subprocess.CalledProcessError) as failed:
            nextbest(server.settings, "roll")
    finally:
        broken.rmdir()
    assert "data_contracts holds no contract" in failed.value.stderr
    assert replicas(server) == before
    server.decide("c6")


def test_a_rolling_update_under_load_loses_nothing(server: Server) -> None:
    """The replica is another process afterwards, and no client has noticed, not even one that kept still."""
    nextbest(server.settings, "scale", "1")
    before = replicas(server)
    with connected(server) as still:
        said = [ask(still)]
        with load(server, "roll").running() as rolled:
            assert nextbest(server.settings, "roll") == "every replica is fresh\n"
            after = replicas(server)
        said.append(ask(still))
    assert said == [200, 200]
    assert rolled.lost == [], rolled.summary()
    assert len(after) == 1
    assert before & after == set()


def test_scaling_up_under_load_loses_nothing(server: Server) -> None:
    """From one replica to two: the new one takes requests, and the old one goes on."""
    nextbest(server.settings, "scale", "1")
    before = replicas(server)
    with load(server, "up").running() as up:
        assert nextbest(server.settings, "scale", "2") == "2 replicas running\n"
        both = replicas(server)
    assert up.lost == [], up.summary()
    assert (len(before), len(both)) == (1, 2)
    assert before < both


def test_a_killed_replica_loses_what_it_had_and_nothing_for_who_asks_again(server: Server) -> None:
    """Without another try at most what was under way; with the same `request_id` nothing, decided and counted once."""
    nextbest(server.settings, "scale", "2")
    victim = psutil.Process(min(replicas(server)))
    with load(server, "once").running() as once, patient(server, "again").running() as again:
        killed_s = time.monotonic()
        victim.kill()
        victim.wait()
        ended_s = time.monotonic()  # until then the system took requests for it
        assert eventually(lambda: len(replicas(server) - {victim.pid}) == 2)
    under_way = {each.request_id for each in once.outcomes if each.sent_s <= ended_s and killed_s <= each.answered_s}
    assert {each.request_id for each in once.lost} <= under_way, once.summary()
    assert len(once.lost) <= once.clients, once.summary()
    assert again.lost == [], again.summary()
    made = decided(server.settings)
    times_decided = Counter(record.request_id for record in made)
    assert {times_decided[each.request_id] for each in (*once.outcomes, *again.outcomes) if each.said == "200"} == {1}
    decisions = {record.request_id: record.decision_id for record in made}
    assert all(decisions[each.request_id] == each.decision_id for each in again.outcomes)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    slots = {each.decision_id: each.placements[0].slots[0] for each in made}
    held = {name: slot.action for name, slot in slots.items() if (slot.expires_at or soon) > soon}
    beef = {name for name, action in held.items() if action == "beef"} - seen(server.settings)
    customers = {each.customer_id for each in made if each.customer_id}
    # What was given back of an attempt that took place after all counts again once State has it from the log.
    eventually(lambda: counted(server.settings, customers, soon) == beef, 30)
    assert counted(server.settings, customers, soon) == beef != set()


def test_scaling_down_under_load_loses_nothing(server: Server) -> None:
    """From two replicas to one: what the one that goes has begun it finishes."""
    nextbest(server.settings, "scale", "2")
    both = replicas(server)
    with load(server, "down").running() as down:
        assert nextbest(server.settings, "scale", "1") == "1 replica running\n"
        left = replicas(server)
    assert down.lost == [], down.summary()
    assert len(left) == 1
    assert left < both
