"""Defects: what a log says of an error that nobody foresaw.

Belongs here: where in the code it happened, and of what kind it is. Its message and the values around it may hold what
a customer or a channel said, so they stay out of every log. Does not belong here: what a caller is told.
"""

import traceback
from pathlib import PurePath

_FRAMES = 4


def place_of(error: BaseException) -> str:
    """The kind of `error` and the last calls that led to it, innermost first: `KeyError at decider.decide:12 < …`."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
    places = [f"{PurePath(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in frames]
    return f"{type(error).__name__} at {' < '.join(places) or 'an unknown place'}"
