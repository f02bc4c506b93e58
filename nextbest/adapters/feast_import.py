"""Importing Feast in a part of the time that it takes.

Belongs here: keeping typeguard out of that. Does not belong here: Feast, which the rims import.

Feast marks its classes to be checked while they run, for which typeguard reads, rewrites and compiles their source anew
at every import: most of the seconds that an import takes, in every replica and every step of the pipeline.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typeguard


@contextmanager
def without_checks() -> Iterator[None]:
    """What is imported within it is not marked; what was imported before stays as it is."""
    marking = typeguard.typechecked
    typeguard.typechecked = _unmarked
    try:
        yield
    finally:
        typeguard.typechecked = marking


def _unmarked(target: Any = None, **_: object) -> Any:
    """As `typeguard.typechecked`, with or without options."""
    return _itself if target is None else target


def _itself(target: Any) -> Callable[..., Any]:
    unmarked: Callable[..., Any] = target
    return unmarked
