"""Live features: those that features.yaml declares are there, for what can happen.

Belongs here: their names and kinds, and telling that one is named and not declared. Does not belong here: computing
them (`nextbest.live_features`).
"""

from collections.abc import Container, Iterable, Iterator
from itertools import product
from typing import Final

from nextbest.findings import Place, Problem
from nextbest.live import OUTCOME, PURCHASE
from nextbest.live_features import HALF_LIVES, PER_CATEGORY, PREFIX, SINGLE, TEXTS, subject_of
from nextbest.policy_checks.subject import Subject

_ANY: Final = "__any"


def live_features(subject: Subject) -> Iterator[Problem]:
    """A name that begins like theirs is one of theirs, and of its kind; those of a category are there per action."""
    happens = _what_happens(subject)
    for index, feature in enumerate(subject.policy.features.features):
        if feature.origin != "customer" or not feature.name.startswith(PREFIX):
            continue
        place: Place = ("features", "features", index, "name")
        counted = subject_of(feature.name + _ANY if feature.per_action else feature.name)
        if not _is_there(counted, happens):
            known = PER_CATEGORY if feature.per_action else {*SINGLE, *_counting(happens or ())}
            yield from subject.unknown(place, "live feature", feature.name, known)
        kind = "text" if feature.name in TEXTS else "number"
        if counted is not None and feature.kind != kind:
            yield Problem(place, f"`{feature.name}` is a {kind}", "policy-feature")


def to_declare(subject: Subject, name: str) -> str:
    """What to say of a name that nobody declared, if it is that of a live feature that there is; else nothing."""
    declared = {feature.name for feature in subject.policy.features.features}
    is_live = name.startswith(PREFIX) and _is_there(subject_of(name), _what_happens(subject))
    # Where it is declared per action, the action is wrong.
    return ": declare it in features.yaml" if is_live and name.partition("__")[0] not in declared else ""


def _is_there(counted: str | None, happens: Container[str] | None) -> bool:
    return counted is not None and (not counted or happens is None or counted in happens)


def _what_happens(subject: Subject) -> set[str] | None:
    """What can be counted; none where that is not known."""
    words = subject.vocabulary
    if words.events is None or words.outcomes is None:
        return None
    return {*words.events, *(OUTCOME + each for each in words.outcomes), PURCHASE}


def _counting(happens: Iterable[str]) -> Iterator[str]:
    for what, unit, half in product(happens, ("count", "value"), HALF_LIVES):
        yield f"{PREFIX}{what}_{unit}_{half}"
