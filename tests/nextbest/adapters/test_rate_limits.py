"""Rate limits: no more in any second than twice the rate (what may come at once, and what comes in time)."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from nextbest.adapters.rate_limits import RateLimits

SECOND = 1_000_000_000


def passed(limits: Sequence[RateLimits], rate: int, moments: Sequence[int]) -> list[int]:
    """The moments at which a request passed, the replicas taking turns."""
    return [at for n, at in enumerate(moments) if not limits[n % len(limits)].wait_s(0, rate, at)]


@given(
    rate=st.integers(1, 50),
    gaps=st.lists(st.integers(0, SECOND // 10), max_size=300),
)
def test_whatever_comes_no_more_pass_than_may(rate: int, gaps: list[int]) -> None:
    """In a window of a second: the second's worth that may come at once, and what has been paid for since."""
    moments = [SECOND * 1_000 + sum(gaps[:n]) for n in range(len(gaps))]
    with TemporaryDirectory() as folder:
        replicas = [RateLimits(Path(folder) / "rates", 4) for _ in range(2)]
        let_in = passed(replicas, rate, moments)
    for at in let_in:
        assert sum(at <= other < at + SECOND for other in let_in) <= 2 * rate


@given(rate=st.integers(1, 1_000))
def test_whoever_keeps_to_the_rate_is_never_stopped(rate: int) -> None:
    """Evenly spaced requests at the rate all pass."""
    gap = -(-SECOND // rate)
    with TemporaryDirectory() as folder:
        limits = RateLimits(Path(folder) / "rates", 4)
        assert len(passed([limits], rate, [SECOND + n * gap for n in range(50)])) == 50


def test_after_the_wait_it_said_a_request_passes(tmp_path: Path) -> None:
    """Retry-After is no lie; and another slot does not care."""
    limits = RateLimits(tmp_path / "rates", 4)
    assert limits.wait_s(0, 1, SECOND) == 0.0
    assert limits.wait_s(0, 1, SECOND) == 1.0
    assert limits.wait_s(1, 1, SECOND) == 0.0
    assert limits.wait_s(0, 1, 2 * SECOND) == 0.0


def test_a_clock_that_begins_anew_locks_nobody_out(tmp_path: Path) -> None:
    """The file may be from before the machine was started: what it says of the future counts for nothing."""
    RateLimits(tmp_path / "rates", 4).wait_s(0, 1, 10**15)
    assert RateLimits(tmp_path / "rates", 4).wait_s(0, 1, SECOND) == 0.0
