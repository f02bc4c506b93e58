"""Errors in the server's log: what may be said of them there.

Belongs here: of an error that nobody foresaw, where in the code it happened and of what kind it is: its message and the
values around it may hold what a customer or a channel said. Of one that is foreseen, its message without paths. Does
not belong here: what a caller is told (`serving.problems`).
"""

import re
import traceback
from pathlib import PurePath

_FRAMES = 4
_PATH = re.compile(r"(?:[\w.~-]*/)+[\w.~-]*")


def place_of(error: BaseException) -> str:
    """The kind of `error` and the last calls that led to it, innermost first: `KeyError at decider.decide:12 < …`."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
    places = [f"{PurePath(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in frames]
    return f"{type(error).__name__} at {' < '.join(places) or 'an unknown place'}"


def without_paths(error: Exception) -> str:
    """What an error says that people are meant to read, without where files are on this machine."""
    return _PATH.sub("…", str(error))
