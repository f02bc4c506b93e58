"""Rewards: which records say what became of a contact, whose contact that is, and what it is worth.

Belongs here: what answers are, the contact each belongs to by the decision it names, and the reward that follows. Does
not belong here: answers that name none (`nextbest.touches`), adding rewards up (`nextbest.evidence`), or following the
log (`nextbest.learning`).

Everything is a function of the set of records, whatever their order: of several that say the same of a contact the
earliest counts. Moments are whole microseconds since 1970 in UTC.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Final, Literal, NamedTuple

import msgspec

from nextbest.envelope import Envelope
from nextbest.erasure import is_bare
from nextbest.intake import IMPRESSION
from nextbest.moments import to_microseconds
from nextbest.policy import Rewards

Earliest = dict[str, int]
"""By kind, the first moment at which it was said."""
Unlearned = Literal["no_decision", "elsewhere", "not_for_learning", "unseen", "late", "untouched"]
"""Why nothing is learned from an answer."""
WHY: Final[Mapping[Unlearned, str]] = {
    "no_decision": "the decision they name is not in the log, proposed nothing, or was over long ago",
    "elsewhere": "the decision they name did not propose that",
    "not_for_learning": "nothing is learned from their decision: control, reduced, not live, or an unscored action",
    "unseen": "there is no impression: of such contacts only answers would be known, and no silence",
    "late": "they came later than the policy lets answers count",
    "untouched": "they name no decision, and the customer had seen no contact with the action shortly before",
}
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Said:
    """What a record says of a contact: that it was seen, or how it was answered."""

    kind: str
    at: int
    decision_id: str | None
    target: str
    """Of the decision: the number of a slot, an action, or whatever there is."""
    action: str | None
    customer_id: str | None


class _Row(msgspec.Struct):
    customer_id: str | None = None
    type: str | None = None
    kind: str | None = None
    decision_id: str | None = None
    slot: int | None = None
    action: str | None = None


def said(record: Envelope, rewards: Rewards) -> Said | None:
    """What `record` says of a contact; None where it says nothing, or nothing to learn from.

    Raises:
        msgspec.ValidationError: its properties are not what its type asks for; the message names the field.

    """
    if record.type not in {"event", "outcome", IMPRESSION} or record.learning is False or is_bare(record):
        return None
    row = msgspec.convert(record.properties, _Row)
    kind = IMPRESSION if record.type == IMPRESSION else row.type or row.kind
    if kind is None or (kind != IMPRESSION and kind not in rewards.worth):
        return None
    decision_id = record.decision_id or row.decision_id
    slot = row.slot if record.slot is None else record.slot
    action = record.action or row.action
    if decision_id is None and (action is None or row.customer_id is None or kind == IMPRESSION):
        return None
    return Said(
        kind=kind,
        # As State has it: never later than it was received, or a clock that is fast would make answers late.
        at=to_microseconds(record.moment),
        decision_id=decision_id,
        target=str(slot) if slot is not None else action or "",
        action=action,
        customer_id=row.customer_id,
    )


class Trial(msgspec.Struct, frozen=True, array_like=True):
    """A slot of a decision, and what the batch model made of it.

    Attributes:
        slot: its number.
        action: that fills it.
        x: the customer's numbers (`nextbest.residual.numbers`).
        p: the probability that the model gives; none where nothing is learned from the slot.

    """

    slot: int
    action: str
    x: tuple[float, ...] = ()
    p: float | None = None


class Tried(NamedTuple):
    """What a record says of a decision."""

    decision_id: str
    customer: str
    at: int
    is_learned: bool
    trials: tuple[Trial, ...]


class Contact(NamedTuple):
    """A contact that was seen, and what it is worth by now."""

    trial: Trial
    seen: int
    reward: float | None
    """None where there is no answer."""
    gains: tuple[tuple[int, float], ...]
    """How long after it was seen answers made it worth more than all before, and by how much of the most there is."""


class Pending(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A decision whose contacts may still be answered.

    Attributes:
        customer: Of the decision; empty where there is none, or the decision has not come yet.
        decided: When; 0 where the decision has not come yet.
        is_learned: Whether anything is learned from it.
        trials: Its slots.
        said: By target (`Said`), what was said of it.
        touched: By slot, the answers that fall to it by last touch (`nextbest.touches`).

    """

    customer: str = ""
    decided: int = 0
    is_learned: bool = False
    trials: tuple[Trial, ...] = ()
    said: dict[str, Earliest] = {}
    touched: dict[str, Earliest] = {}

    def hear(self, word: Said | Tried) -> None:
        """Take in what was said."""
        if isinstance(word, Said):
            _earliest(self.said.setdefault(word.target, {}), word.kind, word.at)
        else:
            self.customer, self.decided, self.is_learned, self.trials = word[1:]

    @property
    def last_moment(self) -> int:
        """From which on it can be answered no longer than answers count: when it was last seen, or at least decided."""
        if self.decided:
            return max([self.decided, *self.seen().values()])
        return min(at for words in self.said.values() for at in words.values())

    def seen(self) -> dict[int, int]:
        """By slot, when it was first seen."""
        heard = self._heard()
        return {slot: words[IMPRESSION] for slot, words in heard.items() if IMPRESSION in words}

    def contacts(self, rewards: Rewards) -> Iterator[Contact]:
        """Those to learn from."""
        if not self.is_learned:
            return
        heard, delay = self._heard(), rewards.delay // _MICROSECOND
        for trial in self.trials:
            words = heard.get(trial.slot, {})
            seen = words.get(IMPRESSION)
            if trial.p is not None and seen is not None:
                in_time = {kind: max(at - seen, 0) for kind, at in words.items() if _counts(kind, at, seen, delay)}
                yield Contact(trial, seen, _worth(in_time, rewards), tuple(_gains(in_time, rewards)))

    def unlearned(self, rewards: Rewards) -> "Counter[str]":
        """How many answers of it teach nothing, by the reason; each kind counts once per target."""
        heard, delay = self._heard(), rewards.delay // _MICROSECOND
        found: Counter[str] = Counter()
        for target, words in chain(self.said.items(), self.touched.items()):
            for kind, at in words.items():
                if kind != IMPRESSION and (why := self._why_not(self._slot(target), at, heard, delay)):
                    found[why] += 1
        return found

    def _why_not(self, slot: int | None, at: int, heard: Mapping[int, Earliest], delay: int) -> Unlearned | None:
        if not self.decided:
            return "no_decision"
        if slot is None:
            return "elsewhere"
        seen = heard[slot].get(IMPRESSION)
        if not self.is_learned or next(trial.p for trial in self.trials if trial.slot == slot) is None:
            return "not_for_learning"
        if seen is None:
            return "unseen"
        return "late" if at > seen + delay else None

    def _heard(self) -> dict[int, Earliest]:
        """By slot everything that was said of it."""
        found: dict[int, Earliest] = {}
        for target, words in chain(self.said.items(), self.touched.items()):
            slot = self._slot(target)
            if slot is not None:
                heard = found.setdefault(slot, {})
                for kind, at in words.items():
                    _earliest(heard, kind, at)
        return found

    def _slot(self, target: str) -> int | None:
        """The slot that is meant: of several with the same action the first; the only one where none is named."""
        if not target:
            return self.trials[0].slot if len(self.trials) == 1 else None
        return next((each.slot for each in self.trials if target in (str(each.slot), each.action)), None)


def _earliest(words: Earliest, kind: str, at: int) -> None:
    words[kind] = min(at, words.get(kind, at))


def _counts(kind: str, at: int, seen: int, delay: int) -> bool:
    return kind != IMPRESSION and at <= seen + delay


def _worth(kinds: Mapping[str, int], rewards: Rewards) -> float | None:
    """The best and the worst of the answers together, from -1 to 1."""
    if not kinds:
        return None
    worths = [rewards.worth[kind] for kind in kinds]
    return min(max(max(*worths, 0.0) + min(*worths, 0.0), -1.0), 1.0)


def _gains(ages: Mapping[str, int], rewards: Rewards) -> Iterator[tuple[int, float]]:
    """What each answer adds to the best so far, which at first is silence; together at most 1."""
    best, most = rewards.default, max(rewards.worth.values())
    for age, worth in sorted((age, rewards.worth[kind]) for kind, age in ages.items()):
        if worth > best:
            yield age, (worth - best) / (most - rewards.default)
            best = worth
