"""Last touch: to which contact an answer falls that names no decision.

Belongs here: what a customer saw of an action lately, and what they answered. Does not belong here: what an answer is
or is worth (`nextbest.rewards`), or where this is kept (`nextbest.contact_book`).
"""

from bisect import bisect_left
from typing import Final

import msgspec

from nextbest.rewards import Earliest

MOST: Final = 256
"""Of contacts, and of answers, the newest are kept: nobody sees an action more often in the time of an answer, and what
a machine does must not make everything that follows slow."""


class Touches(msgspec.Struct, omit_defaults=True):
    """What a customer saw of an action, and the answers to it that name no decision.

    Attributes:
        seen: When, and the contact (`contact_key`), in order.
        answers: When, and the kind, in order, each once.

    """

    seen: list[tuple[int, str]] = []
    answers: list[tuple[int, str]] = []

    def see(self, contact: str, at: int, window: int) -> dict[str, Earliest]:
        """Take in when a contact was seen; returns what falls now to this one, and to those whose answers it takes."""
        changed = {contact}
        for place, (_, name) in enumerate(self.seen):
            if name == contact:
                del self.seen[place]
                changed |= {name for _, name in self.seen[max(place - 1, 0) : place]}
                break
        place = bisect_left(self.seen, (at, contact))
        changed |= {name for _, name in self.seen[max(place - 1, 0) : place]}
        self.seen.insert(place, (at, contact))
        return {name: self._fallen(place, window) for place, (_, name) in enumerate(self.seen) if name in changed}

    def hear(self, kind: str, at: int, window: int) -> dict[str, Earliest]:
        """Take in an answer; returns what falls now to the contact that it falls to."""
        place = bisect_left(self.answers, (at, kind))
        if self.answers[place : place + 1] != [(at, kind)]:
            self.answers.insert(place, (at, kind))
        last = bisect_left(self.seen, (at + 1,)) - 1
        if last < 0 or at > self.seen[last][0] + window:
            return {}
        return {self.seen[last][1]: self._fallen(last, window)}

    def expire(self, until: int, window: int) -> int:
        """Forget the contacts up to a moment, or more where there are too many, with the answers that fell to them.

        Returns:
            How many answers up to then fell to none, and are forgotten too.

        """
        until = max([until, *(each[-MOST - 1][0] for each in (self.seen, self.answers) if len(each) > MOST)])
        gone = bisect_left(self.seen, (until + 1,))
        for begin, end in reversed([self._range(place, window) for place in range(gone)]):
            del self.answers[begin:end]
        del self.seen[:gone]
        given_up = bisect_left(self.answers, (until + 1,))
        del self.answers[:given_up]
        return given_up

    @property
    def oldest(self) -> int:
        """The moment of what was first; of nothing there is none."""
        return min(each[0][0] for each in (self.seen, self.answers) if each)

    def untouched(self, window: int) -> int:
        """How many answers fall to no contact."""
        ranges = [self._range(place, window) for place in range(len(self.seen))]
        return len(self.answers) - sum(end - begin for begin, end in ranges)

    def _fallen(self, place: int, window: int) -> Earliest:
        begin, end = self._range(place, window)
        return {kind: at for at, kind in reversed(self.answers[begin:end])}

    def _range(self, place: int, window: int) -> tuple[int, int]:
        """The answers that fall to a contact: from when it was seen until the next was, and not too long after."""
        at = self.seen[place][0]
        end = min([at + window + 1, *(at for at, _ in self.seen[place + 1 : place + 2])])
        return bisect_left(self.answers, (at,)), bisect_left(self.answers, (end,))


def contact_key(decision_id: str, slot: int) -> str:
    """The name of a contact."""
    return f"{slot}/{decision_id}"


def contact_of(key: str) -> tuple[str, int]:
    """The decision and the slot of a contact's name."""
    slot, _, decision_id = key.partition("/")
    return decision_id, int(slot)
