"""Tests of what is said of a run."""

from benchmarks.peers import figures
from benchmarks.peers.answers import Answers
from benchmarks.peers.load import Cell


def _report(p50_ms: float, rps: float, p99_ms: float, answers: Answers) -> figures.Report:
    ours = {
        "c1": Cell(p50_ms, p50_ms, p50_ms, rps, 0),
        "c8": Cell(p99_ms, p99_ms, p99_ms, rps, 0),
        "c32": Cell(p50_ms, p50_ms, p50_ms, rps, 0),
    }
    echo = dict.fromkeys(ours, Cell(0.2, 1.0, 10.0, 6_000.0, 3))
    return figures.Report(
        systems={"echo": echo, "nextbest_redis": ours},
        cpu_ms_per_request={"echo": 0.3, "nextbest_redis": 0.5},
        cpu_ms_by_process={"echo": {"replica": 0.3}, "nextbest_redis": {"replica": 0.5}},
        answers={"nextbest_redis": {"alone": answers}},
        replicas=1,
        seconds_per_cell=5,
        customers=5_000,
        machine={},
        versions={},
    )


COMPLETE = Answers(sampled=10, tiers={"full": 1.0}, degraded={}, logged=1.0, acted=0.9, stage_us={"log": 1.0})


def test_goals_are_met_at_their_bounds() -> None:
    """Neither a little below the requests, nor a little above the times."""
    met, missed = _report(0.8, 3_000, 15.0, COMPLETE), _report(0.81, 2_999, 15.1, COMPLETE)
    assert [line.split(":")[0] for line in figures.verdicts(met)] == ["met"] * 3
    assert [line.split(":")[0] for line in figures.verdicts(missed)] == ["MISSED"] * 3


def test_fallbacks_and_errors_are_said_aloud() -> None:
    """Whatever makes a figure mean something else: here, one answer of ten is not in the log."""
    unlogged = Answers(
        sampled=10,
        tiers={"full": 0.9, "fallback": 0.1},
        degraded={"state_unavailable": 0.1},
        logged=0.9,
        acted=0.8,
        stage_us={},
    )
    assert list(figures.warnings(_report(0.8, 3_000, 15.0, COMPLETE))) == [
        "echo HAS ERRORS: {'c1': 3, 'c8': 3, 'c32': 3}"
    ]
    assert next(figures.warnings(_report(0.8, 3_000, 15.0, unlogged))).startswith("nextbest_redis MEASURES FALLBACKS")
