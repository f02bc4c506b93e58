"""Tests of reading what wrk says."""

import shutil

import click
import pytest

from benchmarks.peers.load import Load, find_wrk, parse

OUTPUT = """Running 1s test @ http://127.0.0.1:8000/v1/decisions
  2 threads and 8 connections

FIGURES {"p50_us":1500,"p95_us":2500,"p99_us":12000,"requests":4010,"duration_us":2000000,"socket":2,"status":10}
"""


def test_errors_are_no_throughput() -> None:
    """A status of an error is an answer, of which the rate knows nothing; a broken socket is none."""
    cell, answered = parse(OUTPUT)
    assert (cell.p50_ms, cell.p95_ms, cell.p99_ms) == (1.5, 2.5, 12.0)
    assert (cell.rps, cell.errors, answered) == (2000.0, 12, 4010)


def test_without_wrk_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the systems that people have."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(click.ClickException, match=r"apt-get install wrk.*brew install wrk"):
        find_wrk()


def test_headers_and_seed_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every request needs, and what the script draws by; no more threads than connections."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    command = Load("http://127.0.0.1:1/v1/decisions", {"Authorization": "Bearer k"}).command(1, 5, 7)
    assert command[:3] == ["/bin/wrk", "-t", "1"]
    assert command[command.index("-H") + 1] == "Authorization: Bearer k"
    assert command[-1] == "7"
