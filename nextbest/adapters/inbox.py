"""The inbox: files that somebody drops into a folder per contract, landed as they come.

Belongs here: which files are ready, and what becomes of each: it lands and moves to `done/` beside it, or it cannot and
moves to `failed/` with the reason. Does not belong here: reading and judging it (`nextbest.adapters.landing`), or when
somebody looks (`orchestration.defs.inbox`).

A file is ready once nothing about it has changed for ten seconds. One that was landed before a process was killed lands
again, which changes nothing; one of a name that landed before takes the place of what that brought, and in `done/` too.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from nextbest.adapters.deliveries import SUFFIXES
from nextbest.adapters.landing import Door, Receipt
from nextbest.errors import NextbestError
from nextbest.validation import ContractViolation

DONE, FAILED = "done", "failed"
_QUIET_S: Final = 10.0


class Taken(msgspec.Struct, frozen=True):
    """What became of a file: what landed of it, or why it could not."""

    path: Path
    contract: str
    receipt: Receipt | None = None
    reason: str = ""


def ready(inbox: Path, now: datetime) -> list[Path]:
    """The files to be taken, by contract and as they were written: of a snapshot the newest comes last, and holds.

    When a file was written or moved here is the file system's word (`ctime`), which no copying tool sets back.
    """
    latest = now.timestamp() - _QUIET_S
    files = [path for path in inbox.glob("*/*") if path.suffix in SUFFIXES and not path.name.startswith(".")]
    found = [(path.parent.name, path.stat().st_mtime_ns, path.name, path) for path in files if path.is_file()]
    return [path for *_, path in sorted(found) if path.stat().st_ctime <= latest]


def take(door: Door, paths: list[Path]) -> Iterator[Taken]:
    """Land each file and move it away; the next is taken whatever becomes of one.

    Raises:
        ContractViolation: there is no room for what would land, or no right to write it: the file stays where it is.
        OSError: the file cannot be moved; it lands again, which changes nothing.

    """
    for path in paths:
        contract = path.parent.name
        try:
            receipt = door.land_file(contract, path)
        except NextbestError as error:
            if isinstance(error, ContractViolation) and error.rule == "storage":
                raise
            reason = str(error)
            failed = _moved(path, FAILED)
            _reason_of(failed).write_text(f"{reason}\n", encoding="utf-8")
            yield Taken(path, contract, reason=reason)
        else:
            failed = _place(path, FAILED)
            if not failed.exists():  # it was mended and moved back
                _reason_of(failed).unlink(missing_ok=True)
            _moved(path, DONE)
            yield Taken(path, contract, receipt)


def _moved(path: Path, folder: str) -> Path:
    place = _place(path, folder)
    place.parent.mkdir(exist_ok=True)
    return path.replace(place)


def _place(path: Path, folder: str) -> Path:
    return path.parent / folder / path.name


def _reason_of(failed: Path) -> Path:
    return failed.with_name(f"{failed.name}.reason.txt")
