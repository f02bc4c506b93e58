"""Live features: those that features.yaml declares are there, for what can happen.

Belongs here: their names and kinds. Does not belong here: computing them (`nextbest.live_features`).
"""

from collections.abc import Iterable, Iterator
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
        if counted is None or (happens is not None and counted and counted not in happens):
            known = PER_CATEGORY if feature.per_action else {*SINGLE, *_counting(happens or ())}
            yield from subject.unknown(place, "live feature", feature.name, known)
        kind = "text" if feature.name in TEXTS else "number"
        if counted is not None and feature.kind != kind:
            yield Problem(place, f"`{feature.name}` is a {kind}", "policy-feature")


def _what_happens(subject: Subject) -> set[str] | None:
    """What can be counted; none where that is not known."""
    words = subject.vocabulary
    if words.events is None or words.outcomes is None:
        return None
    return {*words.events, *(OUTCOME + each for each in words.outcomes), PURCHASE}


def _counting(happens: Iterable[str]) -> Iterator[str]:
    for what, unit, half in product(happens, ("count", "value"), HALF_LIVES):
        yield f"{PREFIX}{what}_{unit}_{half}"
