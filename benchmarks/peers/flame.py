"""A picture of where a replica's processor time goes while it is under load, by py-spy.

Belongs here: running py-spy. Does not belong here: what is looked at (`decisions.py`).
"""

import subprocess
import sys
from pathlib import Path

import click

from benchmarks.peers.load import Load

_SECONDS = 10
_PER_SECOND = 100
_SEED = 95


def draw(load: Load, connections: int, pid: int, picture: Path) -> None:
    """Write an SVG of the process `pid` while so many connections ask it.

    Only a thread that holds the interpreter counts: py-spy takes one that waits for a lock or a file for a busy one.

    Raises:
        click.ClickException: py-spy may not look into another process here, or failed.

    """
    tool = str(Path(sys.executable).with_name("py-spy"))
    options = ["--gil", "--duration", str(_SECONDS), "--rate", str(_PER_SECOND), "--output", str(picture)]
    with load.beside(connections, _SECONDS + 5, _SEED):
        ended = subprocess.run(
            [tool, "record", "--pid", str(pid), *options],
            capture_output=True,
            text=True,
            timeout=_SECONDS + 60,
            check=False,
        )
    if ended.returncode:
        raise click.ClickException(f"no picture; py-spy needs the right to look into another process: {ended.stderr}")
