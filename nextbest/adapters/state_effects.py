"""From records of the log to the effects that a State adapter has to bring about.

Belongs here: which part of a log they are, what a signal is kept under, passing over what is not well formed, and the
steps in which effects are brought about. Does not belong here: what a record does (`nextbest.state`).
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from nextbest.envelope import Envelope
from nextbest.identity import NamesTied, together
from nextbest.signals import Key
from nextbest.state import CustomerErased, Effect, effects

_log = logging.getLogger(__name__)


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a log that is applied at once, as `State.apply` takes it."""

    log_id: str
    offset: int
    after: int | None = None
    is_end: bool = False
    has_more: bool = False
    """More of it follows in steps of their own, so that the offset does not move yet."""


class Ties(NamedTuple):
    """What was said of who is one, so much as is looked at together."""

    said: Sequence[NamesTied]


class Others(NamedTuple):
    """What changes nothing of who is one."""

    effects: Sequence[Effect]


def signal_name(key: Key) -> str:
    """What an external signal is kept under."""
    return msgspec.json.encode(key).decode()


def well_formed(records: Sequence[Envelope]) -> list[Effect]:
    """The effects of `records`; one that is not well formed has none, so that it cannot hold up what comes after it."""
    return [effect for record in records for effect in _effects_of(record)]


def steps(changes: Sequence[Effect]) -> Iterator[Ties | CustomerErased | Others]:
    """Changes as what is brought about together; in another order than said only where order changes nothing.

    Ties are looked at by those who are one, not one by one: each takes in all that its customer goes by.
    """
    ties, others = list[NamesTied](), list[Effect]()
    for change in chain(changes, [None]):
        match change:
            case NamesTied():
                ties.append(change)
            case CustomerErased() | None:
                yield from map(Ties, together(ties))
                if others:
                    yield Others(others)
                ties, others = [], []
                if change:
                    yield change
            case _:
                others.append(change)


def _effects_of(record: Envelope) -> tuple[Effect, ...]:
    try:
        return effects(record)
    except msgspec.DecodeError as error:
        _log.warning("record %s has no effect: %s", record.event_id, error)
        return ()
