"""Standing: where a candidate stands among those that compete with it, by priority.

Belongs here: reading it off a record. Does not belong here: what would change it (`nextbest.levels`), or the draw.
"""

from dataclasses import dataclass

from nextbest.policy import Policy
from nextbest.records import DO_NOTHING, Candidate, DecisionRecord

_NOWHERE = -1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A candidate and its strongest rival."""

    candidate: Candidate | None
    """None where the decision considered nothing."""
    rival: str = ""
    """The action that is, or else would be, first; empty where there is no other."""
    best: float = _NOWHERE
    """The rival's priority."""
    is_first: bool = False
    is_behind_mandatory: bool = False

    @property
    def priority(self) -> float:
        """That of the candidate; of one that takes no part, lower than any."""
        priority = self.candidate.priority if self.candidate and self.candidate.stage == "arbitration" else None
        return _NOWHERE if priority is None else priority

    @property
    def margin(self) -> float:
        """By how much the candidate is ahead of its rival; 0 may be either."""
        return min(max(self.priority - self.best, _NOWHERE), -_NOWHERE)


def standing(record: DecisionRecord, policy: Policy, placement: str, key: str) -> Standing:
    """The standing of the candidate `key` of a placement: mandatory ones come first, of equals the first listed."""
    listed = [candidate for candidate in record.candidates if candidate.placement == placement]
    own = next((number for number, each in enumerate(listed) if each.key == key), None)
    if own is None:
        return Standing(candidate=None)
    ranks = {
        number: (_is_mandatory(policy, each.action), each.priority or 0.0, -number)
        for number, each in enumerate(listed)
        if each.stage == "arbitration"
    }
    others = [number for number in ranks if listed[number].action != listed[own].action]
    first = max(others, key=ranks.__getitem__, default=None)
    if first is None:
        return Standing(candidate=listed[own], is_first=own in ranks)
    return Standing(
        candidate=listed[own],
        rival=listed[first].action,
        best=ranks[first][1],
        is_first=own in ranks and ranks[own] > ranks[first],
        is_behind_mandatory=own in ranks and ranks[first][0] and not ranks[own][0],
    )


def _is_mandatory(policy: Policy, action: str) -> bool:
    return action != DO_NOTHING and policy.actions[action].action_class == "mandatory"
