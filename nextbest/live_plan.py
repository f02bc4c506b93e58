"""Which live features a decision asks for: those that its policy or its models name, and no others.

Belongs here: collecting the names, and putting the features in a profile. Does not belong here: computing them
(`nextbest.live_features`), or reading the state they are of (serving).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain

import msgspec

from nextbest.live import LIVE_STATE, NOTHING, decode
from nextbest.live_features import Plan
from nextbest.messages import Profile
from nextbest.model_set import ModelSet
from nextbest.policy import Policy
from nextbest.records import Attribute


class LivePlans:
    """The plan of the policy and models in use; worked out anew when either changes."""

    def __init__(self) -> None:
        self._of: tuple[str, str] = ("", "")
        self._plan = Plan(())

    def profile(
        self,
        profile: Profile,
        context: Mapping[str, Attribute],
        policy: Policy,
        models: ModelSet | None,
        now: datetime,
    ) -> Profile:
        """The profile with what the customer's live state says at `now` in place of the state."""
        if profile.unavailable:
            return profile
        wanted = (policy.hash, models.id if models else "")
        if wanted != self._of:
            self._of, self._plan = wanted, Plan(names(policy, models))
        features = dict(profile.features)
        state = features.pop(LIVE_STATE, None)
        if self._plan.is_empty:
            return msgspec.structs.replace(profile, features=features)
        features.update(self._plan.features(decode(state) if isinstance(state, str) else NOTHING, context, now))
        return msgspec.structs.replace(profile, features=features)


def names(policy: Policy, models: ModelSet | None) -> Iterator[str]:
    """Every feature of the customer that may be asked for, those on trial included; some more than once."""
    variants = (*policy.experiments.challengers, *policy.experiments.shadows)
    for each in (policy, *(variant.policy for variant in variants)):
        yield from (feature.name for feature in each.features)
        yield from (feature.name for feature in each.arbitration.learning)
        treatments = chain.from_iterable(placement.treatments for placement in each.placements.values())
        templates = chain.from_iterable(treatment.content.values() for treatment in treatments)
        yield from (path.partition(".")[2] for template in templates for path in template.variables)
    for model in models.everyone if models else ():
        for feature in model.features:
            if feature.origin == "customer":
                yield feature.name
            elif feature.origin == "match":
                yield from (f"{feature.name}__{action}" for action in policy.actions)
