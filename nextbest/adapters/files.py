"""Files that are written as a whole, or not at all.

Belongs here: writing beside and renaming. Does not belong here: what is in a file, or where it is.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

FOR_ALL, FOR_OWNER = 0o644, 0o600


def write_whole(path: Path, content: bytes, *, mode: int = FOR_ALL, durable: bool = True) -> None:
    """Put `content` at `path`: whoever looks finds the whole file, old or new; if `durable`, also after the power went.

    Raises:
        OSError: it is as it was.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        staging = Path(name)
        staging.chmod(mode)  # mkstemp makes it readable by nobody else
        staging.replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
