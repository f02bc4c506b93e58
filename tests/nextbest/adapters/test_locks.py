"""A lock between processes."""

from pathlib import Path

import pytest

from nextbest.adapters.locks import alone
from nextbest.errors import NextbestError


def test_a_lock_is_held_by_one_and_given_back(tmp_path: Path) -> None:
    """Who comes second is refused in words; afterwards the next one may."""
    path = tmp_path / "run" / "a.lock"
    for _ in range(2):
        with alone(path, NextbestError("busy")), pytest.raises(NextbestError, match="busy"):  # noqa: SIM117
            with alone(path, NextbestError("busy")):
                pass
