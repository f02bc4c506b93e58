"""Replicas that come, go and die while requests go on: what a client sees of it, and what was decided."""

import os
import subprocess
import sys

import pytest

from nextbest.settings import Settings
from tests.serving.load import Load
from tests.serving.server import Server

pytestmark = pytest.mark.integration


def nextbest(settings: Settings, *words: str) -> str:
    """What the command says; it takes as long as the server takes to do it."""
    command = [sys.executable, "-m", "nextbest", *words]
    environment = os.environ | settings.environment()
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout


def replicas(server: Server) -> set[int]:
    """The processes of the decision replicas."""
    processes = server.processes()
    return {process.pid for process in processes if process.name().startswith("ray::ServeReplica:nextbest:decisions")}


def load(server: Server, name: str) -> Load:
    return Load(str(server.client.base_url), name)


def test_scaling_up_and_down_under_load_loses_nothing(server: Server) -> None:
    """From one replica to two and back: every request is answered, by those that stay and by those that go."""
    nextbest(server.settings, "scale", "1")
    before = replicas(server)
    with load(server, "up").running() as up:
        assert nextbest(server.settings, "scale", "2") == "2 replicas running\n"
        both = replicas(server)
    with load(server, "down").running() as down:
        assert nextbest(server.settings, "scale", "1") == "1 replica running\n"
        left = replicas(server)
    assert (up.lost, down.lost) == ([], []), (up.summary(), down.summary())
    assert (len(before), len(both), len(left)) == (1, 2, 1)
    assert before < both > left


def test_a_rolling_update_under_load_loses_nothing(server: Server) -> None:
    """Every replica is another process afterwards, and no client has noticed."""
    nextbest(server.settings, "scale", "2")
    before = replicas(server)
    with load(server, "roll").running() as rolled:
        assert nextbest(server.settings, "roll") == "every replica is fresh\n"
        after = replicas(server)
    assert rolled.lost == [], rolled.summary()
    assert len(after) == 2
    assert before & after == set()
