"""What changes from one policy to another, in the words of the people who write policies.

Belongs here: finding every difference. Does not belong here: the sentence that says one
(`nextbest.policy_sentences`), or reading policies (`nextbest.adapters.policy_revisions`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from nextbest.policy_document import PolicyDocument
from nextbest.policy_sentences import ORDER, Difference, sentence
from nextbest.policy_words import phrase

Path = tuple[str, ...]
_LISTS: Final = frozenset({"eligibility", "applicability", "suitability", "follows", "excluded_by", "only", "binds"})
"""Lists whose members are told one by one, as added or removed."""


class Change(msgspec.Struct, frozen=True):
    """One difference: `place` is the path to it, a list's member by its id; None stands for what is not there."""

    place: Path
    message: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        return self.message


def describe(before: PolicyDocument, after: PolicyDocument) -> list[Change]:
    """Every difference, file by file in the order of the policy; empty where both say the same."""
    old, new = (document.model_dump(mode="json", by_alias=True) for document in (before, after))
    currency = str(new["actions"]["currency"])
    return [
        Change(place, sentence(Difference(place, one, other, currency)), one, other)
        for place, one, other in _differences((), old, new)
    ]


def _differences(place: Path, before: Any, after: Any) -> Iterator[tuple[Path, Any, Any]]:
    if _is_same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        if phrase(place):
            yield place, before, after
            return
        for name in dict.fromkeys([*after, *before]):
            yield from _differences((*place, name), before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _members(place, before, after)
    else:
        yield place, before, after


def _members(place: Path, before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[Path, Any, Any]]:
    """Differences of lists: by the members' ids where they have one each, by the members themselves, or as a whole."""
    old, new = _by_id(before), _by_id(after)
    if old is not None and new is not None:
        for name in dict.fromkeys([*new, *old]):
            yield from _differences((*place, name), old.get(name), new.get(name))
        if [name for name in old if name in new] != [name for name in new if name in old]:
            yield (*place, ORDER), list(old), list(new)
    elif place[-1] in _LISTS and not _has_same_members(before, after):
        yield from ((place, None, each) for each in _without(after, before))
        yield from ((place, each, None) for each in _without(before, after))
    else:
        yield place, before, after


def _by_id(members: Sequence[Any]) -> dict[str, Any] | None:
    """The members by id or name; None where they have none, or share one."""
    if not all(isinstance(each, dict) and ("id" in each or "name" in each) for each in members):
        return None
    named = {str(each.get("id", each.get("name"))): each for each in members}
    return named if len(named) == len(members) else None


def _has_same_members(before: Sequence[Any], after: Sequence[Any]) -> bool:
    return not _without(before, after) and not _without(after, before)


def _without(members: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """The members that are not among the others, as often as they are there more often."""
    left = [*others]
    found = []
    for each in members:
        if each in left:
            left.remove(each)
        else:
            found.append(each)
    return found


def _is_same(before: Any, after: Any) -> bool:
    """Whether both are written the same: Python holds true and 1.0 for equal, a policy does not."""
    return _written(before) == _written(after)


def _written(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
