"""From records of the log to the effects that a State adapter has to bring about.

Belongs here: passing over what is not well formed. Does not belong here: what a record does (`nextbest.state`).
"""

import logging
from collections.abc import Sequence

import msgspec

from nextbest.envelope import Envelope
from nextbest.state import Effect, effects

_log = logging.getLogger(__name__)


def well_formed(records: Sequence[Envelope]) -> list[Effect]:
    """The effects of `records`; one that is not well formed has none, so that it cannot hold up what comes after it."""
    return [effect for record in records for effect in _effects_of(record)]


def _effects_of(record: Envelope) -> tuple[Effect, ...]:
    try:
        return effects(record)
    except msgspec.DecodeError as error:
        _log.warning("record %s has no effect: %s", record.event_id, error)
        return ()
