"""Locks between processes of one machine. Belongs here: the one way to hold something for one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nextbest.errors import NextbestError


@contextmanager
def alone(path: Path, refusal: NextbestError) -> Iterator[None]:
    """Hold the file at `path`; the lock goes with the process, however it ends.

    Raises:
        NextbestError: `refusal`, where another process holds it.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
