"""The shift that makes the data end now: whole weeks, computed once per home and recorded.

Belongs here: reading and writing `demo/shift.json`. Every process of one home, now and later, must shift alike, or
one household's events would lie in two different years.
"""

import json
import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile

from nextbest.adapters.sources import SourceError

_WEEK = timedelta(weeks=1)


def whole_weeks(last: datetime, now: datetime) -> timedelta:
    """The greatest number of whole weeks that leaves `last` at or before `now`."""
    return (now - last) // _WEEK * _WEEK


def recorded_shift(path: Path, last: datetime, now: datetime) -> timedelta:
    """The shift recorded in `path`; the first caller records it. Of two who come first at once, one wins for both.

    Raises:
        SourceError: the file is there and holds no shift.

    """
    if not path.exists():
        _create(path, {"weeks": whole_weeks(last, now) // _WEEK, "recorded_at": now.isoformat()})
    try:
        return int(json.loads(path.read_text())["weeks"]) * _WEEK
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} holds no shift ({error}): delete it and the landed data beside it") from error


def _create(path: Path, content: dict[str, object]) -> None:
    """Write a file that appears whole, and only if it is not there: a link, unlike a rename, never replaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent) as draft:
        json.dump(content, draft)
        draft.flush()
        with suppress(FileExistsError):
            os.link(draft.name, path)
