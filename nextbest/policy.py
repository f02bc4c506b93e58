"""The policy as the engine uses it: compiled once from its document, immutable, and named by a hash of its content.

Belongs here: the compiled form and the compiling. Does not belong here: the files' fields (`nextbest.policy_document`),
finding mistakes in them (`nextbest.policy_check`), or deciding (`nextbest.decision`).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec

from nextbest.arbitration import Strategy
from nextbest.expressions import Expression, compile_expression
from nextbest.features import RuleFeature
from nextbest.messages import Cap
from nextbest.policy_document import (
    ActionDocument,
    ContactRuleDocument,
    FeaturesFile,
    PlacementDocument,
    PolicyDocument,
    TreatmentDocument,
)
from nextbest.records import candidate_key
from nextbest.source import slug

EngagementTier = Literal["eligibility", "applicability", "suitability"]
Regime = Literal["opt_in", "opt_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What can be proposed; money in the policy's currency, lever in per cent."""

    id: str
    name: str
    group: str
    purpose: str
    value: float
    cost: float
    lever: float
    rules: tuple[tuple[EngagementTier, Expression], ...]
    context: Mapping[str, float]
    """The action's attributes as numbers, for models: a text one is 1 under `attribute_value`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """One action in one placement; `cost` is the action's and the channel's together."""

    id: str
    action: Action
    cost: float
    purposes: tuple[str, ...]
    caps: tuple[Cap, ...]
    content: dict[str, str]

    @property
    def key(self) -> str:
        return candidate_key(self.action.id, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A place to fill, with every treatment that could, in the order of the policy."""

    id: str
    channel: str
    slots: int
    treatments: tuple[Treatment, ...]
    fallback: str
    fallback_content: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbitration:
    """How priority is computed and how chance comes in."""

    use_propensity: bool
    use_value: bool
    use_lever: bool
    use_cost: bool
    do_nothing_threshold: float
    strategy: Strategy
    epsilon: float
    salt: str


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Everything a decision follows that people wrote."""

    hash: str
    catalogue_version: str
    """Changes with what can be proposed, and not with the rules of contact or arbitration."""
    currency: str
    actions: Mapping[str, Action]
    placements: Mapping[str, Placement]
    regimes: Mapping[str, Regime]
    arbitration: Arbitration
    features: tuple[RuleFeature, ...]
    """What the rules name, and no more: a context for CEL costs by the value."""
    reservation_seconds: int

    @cached_property
    def longest_window_seconds(self) -> int:
        """How far back State must remember contacts; 0 without caps."""
        treatments = [treatment for placement in self.placements.values() for treatment in placement.treatments]
        return max((cap.window_seconds for treatment in treatments for cap in treatment.caps), default=0)


def compile_policy(document: PolicyDocument) -> Policy:
    """Compile a document that `nextbest.policy_check` finds nothing wrong with.

    Raises:
        ExpressionError: a rule cannot be compiled; checking first names every such rule with its place.

    """
    arbitration = document.arbitration
    actions = {action.id: _action(action) for action in document.actions.actions}
    used = {name for action in actions.values() for _, rule in action.rules for name in rule.variables}
    return Policy(
        hash=policy_hash(document),
        catalogue_version=_digest(document.model_dump(by_alias=True, include={"actions", "placements"})),
        currency=document.actions.currency,
        actions=actions,
        placements={p.id: _placement(p, document, actions) for p in document.placements.placements},
        regimes={purpose.id: purpose.regime for purpose in document.contact_policy.purposes},
        arbitration=Arbitration(
            **arbitration.formula.model_dump(),
            do_nothing_threshold=arbitration.do_nothing_threshold,
            strategy=arbitration.exploration.strategy,
            epsilon=arbitration.exploration.epsilon,
            salt=arbitration.salt,
        ),
        features=tuple(f for f in rule_features(document.features, actions) if f.name in used),
        reservation_seconds=document.contact_policy.reservation_minutes * 60,
    )


def policy_hash(document: PolicyDocument) -> str:
    """A name for what the policy says: comments, layout and the order of keys do not change it."""
    return _digest(document.model_dump(by_alias=True))


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def rule_features(catalogue: FeaturesFile, actions: Mapping[str, object]) -> Iterator[RuleFeature]:
    """Every feature rules may name, those there is one of per action included."""
    for feature in catalogue.features:
        names = [f"{feature.name}__{action}" for action in actions] if feature.per_action else [feature.name]
        for name in names:
            yield RuleFeature(name=name, kind=feature.kind, origin=feature.origin, default=feature.default)


def _action(document: ActionDocument) -> Action:
    tiers: tuple[tuple[EngagementTier, tuple[str, ...]], ...] = (
        ("eligibility", document.eligibility),
        ("applicability", document.applicability),
        ("suitability", document.suitability),
    )
    return Action(
        id=document.id,
        name=document.name,
        group=document.group,
        purpose=document.purpose,
        value=document.value,
        cost=document.cost,
        lever=document.lever,
        rules=tuple((tier, compile_expression(source)) for tier, sources in tiers for source in sources),
        context=dict(_numbers(document.attributes)),
    )


def _numbers(attributes: Mapping[str, str | float]) -> Iterator[tuple[str, float]]:
    """Attributes as models take them; a word that name and value share is said once: campaign_type_a, for Type A."""
    for name, value in attributes.items():
        if isinstance(value, str):
            yield f"{name}_{slug(value).removeprefix(name.rpartition('_')[2] + '_')}", 1.0
        else:
            yield name, value


def _placement(document: PlacementDocument, policy: PolicyDocument, actions: Mapping[str, Action]) -> Placement:
    channel = next(channel for channel in policy.placements.channels if channel.id == document.channel)
    return Placement(
        id=document.id,
        channel=document.channel,
        slots=document.slots,
        treatments=tuple(
            Treatment(
                id=treatment.id,
                action=actions[action.id],
                cost=action.cost + channel.cost,
                purposes=tuple(dict.fromkeys(filter(None, (action.purpose, channel.purpose)))),
                caps=tuple(_caps(action, treatment, policy.contact_policy.rules)),
                content=treatment.content,
            )
            for action in policy.actions.actions
            for treatment in action.treatments
            if treatment.placement == document.id
        ),
        fallback=document.fallback.treatment,
        fallback_content=document.fallback.content,
    )


def _caps(
    action: ActionDocument, treatment: TreatmentDocument, rules: tuple[ContactRuleDocument, ...]
) -> Iterator[Cap]:
    if action.action_class != "standard":
        return
    members = {"action": action.id, "group": action.group, "channel": treatment.channel, "all": ""}
    for rule in rules:
        member = members[rule.scope]
        if not rule.only or member in rule.only:
            yield Cap(rule.id, rule.scope, member, rule.count, rule.limit, rule.window_hours * 3_600)
