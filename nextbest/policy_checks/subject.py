"""What checks look at: a policy with what is known around it, and how a wrong name is told.

Belongs here: what several checks need. Does not belong here: a check.
"""

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from nextbest.advice import listed, nearest
from nextbest.features import RuleFeature
from nextbest.findings import Place, Problem
from nextbest.policy_compiler import rule_features
from nextbest.policy_document import (
    ActionDocument,
    ChallengerDocument,
    ContactRuleDocument,
    PolicyDocument,
    ShadowDocument,
    SuppressionDocument,
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the contracts say can happen: types of events and kinds of outcomes; None where that is not known."""

    events: frozenset[str] | None = None
    outcomes: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A policy to check. `lost` are the names in parts of it that had to be left out, since they could not be read."""

    policy: PolicyDocument
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    today: dt.date | None = None
    lost: frozenset[str] = frozenset()

    @cached_property
    def features(self) -> dict[str, RuleFeature]:
        """Every feature that rules may name, by name."""
        actions = dict.fromkeys([*(action.id for action in self.actions), *sorted(self.lost)])
        return {each.name: each for each in rule_features(self.policy.features, actions)}

    @property
    def actions(self) -> tuple[ActionDocument, ...]:
        return self.policy.actions.actions

    @property
    def variants(self) -> Iterator[tuple[Place, ChallengerDocument | ShadowDocument]]:
        """The policies on trial, each with its place."""
        file = self.policy.experiments
        yield from ((("experiments", "challengers", index), each) for index, each in enumerate(file.challengers))
        yield from ((("experiments", "shadows", index), each) for index, each in enumerate(file.shadows))

    @property
    def holds(self) -> Iterator[tuple[Place, ContactRuleDocument | SuppressionDocument]]:
        """What holds contacts back, each with its place."""
        file = self.policy.contact_policy
        yield from ((("contact_policy", "rules", index), each) for index, each in enumerate(file.rules))
        yield from ((("contact_policy", "suppressions", index), each) for index, each in enumerate(file.suppressions))

    def unknown(self, place: Place, what: str, name: str, known: Collection[str]) -> Iterator[Problem]:
        """A problem if `name` is not among the known ones, with what may be meant."""
        if name not in known and name not in self.lost:
            yield Problem(place, f"unknown {what} `{name}`{meant(name, known)}", "policy-unknown-name")


def meant(name: str, known: Collection[str]) -> str:
    """The name that is nearest to a wrong one, or those that there are."""
    if near := nearest(name, sorted(known)):
        return f": did you mean `{near}`?"
    return f": there is {listed(sorted(known)) or 'none'}"
