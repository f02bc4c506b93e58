"""External signals: the weather, a stock, a competitor's price, as decisions read them.

Belongs here: which of two words on a signal holds, which signals a decision asks for, and what they make of its context
and of an action's stock. Does not belong here: how a signal comes in (`nextbest.state.effects`), or where it is kept
(`nextbest.adapters`).
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from nextbest.features import RuleFeature
from nextbest.moments import to_microseconds
from nextbest.records import Attribute, Signal

Key = tuple[str, str]
"""A signal's name, and what it is of."""
_SIGN = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFeature:
    """A feature whose value is a signal's: of a fixed key, or of the one that a feature of the context names."""

    feature: RuleFeature
    signal: str
    key: str | RuleFeature

    def asked(self, context: Mapping[str, Attribute]) -> Key | None:
        """The signal to ask for; none where the context names no key."""
        key = self.key if isinstance(self.key, str) else str(self.key.value(context.get(self.key.name)))
        return (self.signal, key) if key else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What there must be of an action: a signal that is no lower."""

    signal: str
    key: str
    at_least: float

    def lacking(self, signals: Mapping[Key, Signal], now: datetime) -> Signal | None:
        """The signal that says there is too little; what is not known, or no longer, says nothing."""
        said = signals.get((self.signal, self.key))
        if said is None or said.value is None or said.value >= self.at_least or not holds(said, now):
            return None
        return said


def holds(signal: Signal, now: datetime) -> bool:
    """Whether what was said is still so."""
    return signal.expires_at is None or now < signal.expires_at


def by_key(signals: Sequence[Signal]) -> dict[Key, Signal]:
    """Signals by name and key."""
    return {(each.signal, each.key): each for each in signals}


def decision_context(
    features: Sequence[SignalFeature], context: Mapping[str, Attribute], signals: Sequence[Signal], now: datetime
) -> Mapping[str, Attribute]:
    """The context of a decision: what signals say, and before that what the request itself says under the same name."""
    if not features or not signals:
        return context
    known = by_key(signals)
    found: dict[str, Attribute] = {}
    for each in features:
        asked = each.asked(context)
        said = known.get(asked) if asked else None
        if said is not None and holds(said, now):
            given = said.text if each.feature.kind == "text" else said.value
            if given is not None:
                found[each.feature.name] = given
    return {**found, **context}


def rank(signal: Signal, occurred_at: datetime) -> str:
    """Of two words on a signal for the same moment the one whose rank sorts last holds.

    That is the later one where a clock that is ahead said both, and of those that say the same time the one with the
    lower number: of two counts of a stock the cautious one, in whatever order they come. Hexadecimal digits alone,
    which sort the same in every store and locale: of the time, of the number, and of all that is said.
    """
    number = 0
    if signal.value is not None:
        bits = int.from_bytes(struct.pack(">d", signal.value + 0.0))  # -0.0 is 0.0
        number = bits if bits & _SIGN else bits ^ (_SIGN - 1)
    said = hashlib.blake2b(msgspec.json.encode(signal), digest_size=8).hexdigest()
    return f"{max(to_microseconds(occurred_at), 0):016x}{number:016x}{said}"
