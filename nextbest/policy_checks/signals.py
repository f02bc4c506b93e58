"""External signals: a feature that is one says which, and of what key.

Belongs here: what features of origin signal name. Does not belong here: names and defaults that all features have
(`nextbest.policy_checks.names`, `nextbest.policy_checks.expressions`).
"""

from collections.abc import Iterator

from nextbest.findings import Place, Problem
from nextbest.policy_checks.subject import Subject
from nextbest.policy_document import FeatureDocument


def features(subject: Subject) -> Iterator[Problem]:
    """A signal has a name and one key, and nothing else has either."""
    for index, feature in enumerate(subject.policy.features.features):
        place: Place = ("features", "features", index)
        if feature.origin == "signal":
            yield from _signal(feature, place)
            if feature.key_from is not None:
                yield from _key_from(subject, feature.key_from, (*place, "key_from"))
        else:
            for name in ("signal", "key", "key_from"):
                if getattr(feature, name) is not None:
                    message = f"`{feature.name}` is no signal: `{name}` takes `origin: signal` beside it"
                    yield Problem((*place, name), message, "policy-signal")


def _signal(feature: FeatureDocument, place: Place) -> Iterator[Problem]:
    if feature.signal is None:
        message = f"`{feature.name}` says no signal: name one, such as `signal: {feature.name}`"
        yield Problem(place, message, "policy-signal")
    if (feature.key is None) == (feature.key_from is None):
        message = f"`{feature.name}` takes one key: `key` where it is always the same, else `key_from`"
        yield Problem(place, message, "policy-signal")
    if feature.per_action:
        message = (
            f"`{feature.name}` reads one signal, the same for every action: leave out `per_action`; where each action "
            "has a signal, declare a feature of each, with a `key` of its own"
        )
        yield Problem((*place, "per_action"), message, "policy-signal")


def _key_from(subject: Subject, name: str, place: Place) -> Iterator[Problem]:
    """Signals are asked for beside what is known of the customer, so that only the request can say which."""
    declared = {each.name: each for each in subject.policy.features.features}
    yield from subject.unknown(place, "feature", name, declared)
    found = declared.get(name)
    if found is None:
        return
    if found.origin != "context":
        message = f"`{name}` is not known yet when signals are asked for: a key is a feature of origin context"
        yield Problem(place, message, "policy-signal")
    elif found.kind != "text":
        yield Problem(place, f"`{name}` is a {found.kind}: a key is a text", "policy-signal")
