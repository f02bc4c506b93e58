"""Compiling a policy: from its document to the form the engine uses.

Belongs here: what each field of the files comes to. Does not belong here: finding mistakes (`nextbest.policy_check`):
what is compiled has been checked.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from nextbest.arbitration import Exploration
from nextbest.expressions import compile_expression
from nextbest.features import RuleFeature, RuleOrigin
from nextbest.messages import Bound, Cap, Caps, Limit, Option, Scope
from nextbest.policy import (
    Action,
    Amount,
    Arbitration,
    EngagementTier,
    Experiments,
    Follow,
    LearningFeature,
    Placement,
    Policy,
    QuietHours,
    Ramp,
    Rewards,
    Rollout,
    Starting,
    Suppression,
    TimeZone,
    Treatment,
    Variant,
)
from nextbest.policy_document import (
    ActionDocument,
    ArbitrationFile,
    ChallengerDocument,
    ChangesDocument,
    ChannelDocument,
    ContactPolicyFile,
    ExperimentsFile,
    FeaturesFile,
    FormulaDocument,
    LearningDocument,
    PlacementDocument,
    PolicyDocument,
    ShadowDocument,
    SuppressionDocument,
    TreatmentDocument,
)
from nextbest.records import candidate_key
from nextbest.signals import SignalFeature, Stock
from nextbest.source import slug
from nextbest.templates import Template, compile_template

_CONTACTS = frozenset({"decision", "impression"})
"""What State counts of contacts; everything else is counted of interactions."""
MILLIONTHS = 1_000_000
"""Money as budgets count it: so many in one of the currency."""
_DAY = timedelta(days=1)


def compile_policy(document: PolicyDocument) -> Policy:
    """Compile a document that `nextbest.policy_check` finds nothing wrong with.

    Raises:
        ExpressionError: a rule cannot be compiled; checking first names every such rule with its place.
        TemplateError: nor a content.

    """
    zone = ZoneInfo(document.contact_policy.time_zone.default)
    actions = {
        action.id: _action(action, number, document, zone) for number, action in enumerate(document.actions.actions)
    }
    arbitration = _arbitration(document.arbitration)
    catalogue = {feature.name: feature for feature in rule_features(document.features, actions)}
    named = {name for action in actions.values() for name in _named(action)}
    if arbitration.formula:
        named |= arbitration.formula.variables
    return Policy(
        hash=policy_hash(document),
        catalogue_version=_digest(document.model_dump(mode="json", by_alias=True, include={"actions", "placements"})),
        currency=document.actions.currency,
        actions=actions,
        placements={p.id: _placement(p, document, actions) for p in document.placements.placements},
        regimes={purpose.id: purpose.regime for purpose in document.contact_policy.purposes},
        suppressions=tuple(map(_suppression, document.contact_policy.suppressions)),
        time_zone=TimeZone(**document.contact_policy.time_zone.model_dump()),
        arbitration=arbitration,
        experiments=_experiments(document),
        features=tuple(feature for name, feature in catalogue.items() if name in named),
        catalogue=catalogue,
        signals=tuple(_signal_features(document.features, catalogue)),
        reservation_seconds=document.contact_policy.reservation_minutes * 60,
    )


def policy_hash(document: PolicyDocument) -> str:
    """A name for what the policy says: comments, layout and the order of keys do not change it."""
    return _digest(document.model_dump(mode="json", by_alias=True))


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def rule_features(catalogue: FeaturesFile, actions: Iterable[str]) -> Iterator[RuleFeature]:
    """Every feature rules may name, those there is one of per action included."""
    for feature in catalogue.features:
        names = [f"{feature.name}__{action}" for action in actions] if feature.per_action else [feature.name]
        for name in names:
            origin: RuleOrigin = "customer" if feature.origin == "customer" else "context"
            yield RuleFeature(name=name, kind=feature.kind, origin=origin, default=feature.default)


def _signal_features(document: FeaturesFile, catalogue: Mapping[str, RuleFeature]) -> Iterator[SignalFeature]:
    for feature in document.features:
        if feature.origin == "signal":
            key = feature.key or catalogue[feature.key_from or ""]
            yield SignalFeature(feature=catalogue[feature.name], signal=feature.signal or "", key=key)


def _named(action: Action) -> Iterator[str]:
    """What the expressions of an action name."""
    for _, rule in action.rules:
        yield from rule.variables
    for amount in (action.value, action.cost):
        if not isinstance(amount, float):
            yield from amount.variables


def _action(document: ActionDocument, number: int, policy: PolicyDocument, zone: ZoneInfo) -> Action:
    tiers: tuple[tuple[EngagementTier, tuple[str, ...]], ...] = (
        ("eligibility", document.eligibility),
        ("applicability", document.applicability),
        ("suitability", document.suitability),
    )
    starting, stock = document.starting, document.stock
    return Action(
        id=document.id,
        number=number,
        name=document.name,
        group=document.group,
        objective=document.objective,
        action_class=document.action_class,
        is_bound=document.action_class in policy.contact_policy.binds,
        value=_amount(document.value),
        cost=_amount(document.cost),
        lever=document.lever,
        rules=tuple((tier, compile_expression(source)) for tier, sources in tiers for source in sources),
        opens=_moment(document.start, zone),
        closes=_moment(document.end, zone, after=_DAY),
        follows=tuple(
            Follow(action=each.action, event=each.event, window_seconds=each.within_hours * 3_600)
            for each in document.follows
        ),
        stock=Stock(signal=stock.signal, key=stock.key or document.id, at_least=stock.at_least) if stock else None,
        starting=Starting(
            propensity=starting.propensity,
            evidence=starting.evidence,
            reach=Limit(f"{document.id}/reach", "total", 1, None),
        )
        if starting
        else None,
        context=dict(_numbers(document.attributes)),
        words={
            **document.attributes,
            "id": document.id,
            "name": document.name,
            "group": document.group,
            "objective": document.objective,
        },
    )


def _amount(written: float | str) -> Amount:
    return compile_expression(written) if isinstance(written, str) else written


def _moment(written: date | None, zone: ZoneInfo, *, after: timedelta = timedelta(0)) -> datetime | None:
    """In UTC, the moment a day begins in the policy's zone, or `after` that; a moment is itself."""
    if written is None:
        return None
    moment = written if isinstance(written, datetime) else datetime.combine(written + after, time(0), zone)
    return moment.astimezone(UTC)


def _numbers(attributes: Mapping[str, str | float]) -> Iterator[tuple[str, float]]:
    """Attributes as models take them; a word that name and value share is said once: campaign_type_a, for Type A."""
    for name, value in attributes.items():
        if isinstance(value, str):
            yield f"{name}_{slug(value).removeprefix(name.rpartition('_')[2] + '_')}", 1.0
        else:
            yield name, value


def _placement(document: PlacementDocument, policy: PolicyDocument, actions: Mapping[str, Action]) -> Placement:
    channel = next(channel for channel in policy.placements.channels if channel.id == document.channel)
    quiet = channel.quiet_hours
    exclusions = {action.id: _exclusions(action) for action in policy.actions.actions}
    treatments = tuple(
        _treatment(treatment, action, actions[action.id], channel)
        for action in policy.actions.actions
        for treatment in action.treatments
        if treatment.placement == document.id
    )
    caps = {
        treatment.key: (*_caps(treatment.action, channel.id, policy.contact_policy), *exclusions[treatment.action.id])
        for treatment in treatments
    }
    return Placement(
        id=document.id,
        channel=document.channel,
        channel_cost=channel.cost,
        quiet_hours=QuietHours(start=time.fromisoformat(quiet.start), end=time.fromisoformat(quiet.end))
        if quiet
        else None,
        slots=document.slots,
        treatments=treatments,
        caps=_bound(caps, lambda cap: cap.count in _CONTACTS),
        event_caps=_bound(caps, lambda cap: cap.count not in _CONTACTS),
        fallback=document.fallback.treatment,
        fallback_content=_content(document.fallback.content),
    )


def _bound(caps: Mapping[str, Iterable[Cap]], wanted: Callable[[Cap], bool]) -> Caps:
    """The caps that are wanted, by the member they count, each with the keys it binds."""
    keys: defaultdict[Cap, set[str]] = defaultdict(set)
    for key, binding in caps.items():
        for cap in filter(wanted, binding):
            keys[cap].add(key)
    found: defaultdict[tuple[Scope, str], list[Bound]] = defaultdict(list)
    for cap, bound in keys.items():
        found[cap.scope, cap.member].append(Bound(cap, frozenset(bound)))
    return dict(found)


def _treatment(
    document: TreatmentDocument, action: ActionDocument, compiled: Action, channel: ChannelDocument
) -> Treatment:
    channel_purpose = channel.purpose if compiled.is_bound else None
    return Treatment(
        id=document.id,
        action=compiled,
        purposes=tuple(dict.fromkeys(filter(None, (action.purpose, channel_purpose)))),
        option=Option(
            key=candidate_key(action.id, document.id),
            action=action.id,
            treatment=document.id,
            group=action.group,
            limits=tuple(_limits(action, compiled, channel)),
        ),
        content=_content(document.content),
    )


def _content(document: Mapping[str, str]) -> dict[str, Template]:
    return {name: compile_template(text) for name, text in document.items()}


def _caps(action: Action, channel: str, contact_policy: ContactPolicyFile) -> Iterator[Cap]:
    if not action.is_bound:
        return
    members = {"action": action.id, "group": action.group, "channel": channel, "all": ""}
    for rule in contact_policy.rules:
        member = members[rule.scope]
        if not rule.only or member in rule.only:
            yield Cap(rule.id, rule.scope, member, rule.count, rule.limit, rule.window_hours * 3_600)


def _exclusions(action: ActionDocument) -> tuple[Cap, ...]:
    """An action that has happened leaves no room for one that it excludes."""
    return tuple(
        Cap(f"excluded_by {each.action}", "action", each.action, each.event, 1, each.within_hours * 3_600)
        for each in action.excluded_by
    )


def _limits(document: ActionDocument, action: Action, channel: ChannelDocument) -> Iterator[Limit]:
    if document.volume:
        yield Limit(f"{action.id}/volume", document.volume.per, 1, document.volume.limit)
    if document.budget:
        cost = action.cost + channel.cost if isinstance(action.cost, float) else 0.0
        most = millionths(document.budget.amount)
        yield Limit(f"{action.id}/budget", document.budget.per, millionths(cost), most, is_money=True)
    if action.starting and action.action_class == "standard":
        yield action.starting.reach


def millionths(amount: float) -> int:
    """Money as budgets count it."""
    return round(amount * MILLIONTHS)


def _suppression(document: SuppressionDocument) -> Suppression:
    return Suppression(
        id=document.id,
        scope=document.scope,
        only=frozenset(document.only),
        kind=document.outcome,
        count=document.count,
        window=timedelta(days=document.within_days),
        pause=timedelta(days=document.pause_days),
    )


def _arbitration(document: ArbitrationFile) -> Arbitration:
    expression = document.formula if isinstance(document.formula, str) else None
    ramp = document.ramp
    switches = document.formula if isinstance(document.formula, FormulaDocument) else FormulaDocument()
    return Arbitration(
        **switches.model_dump(),
        formula=compile_expression(expression) if expression else None,
        do_nothing_threshold=document.do_nothing_threshold,
        exploration=Exploration(**document.exploration.model_dump()),
        unscored_propensity=document.unscored_propensity,
        learning=tuple(LearningFeature(name=each.name, scale=each.scale) for each in document.learning.features),
        prior_sd=document.learning.prior_sd,
        rewards=_rewards(document.learning),
        ramp=Ramp(initial=ramp.initial_percent / 100.0, impressions=ramp.evidence) if ramp else None,
        salt=document.salt,
    )


def _rewards(document: LearningDocument) -> Rewards:
    return Rewards(
        worth=document.rewards.model_dump(),
        default=document.default,
        delay=timedelta(days=document.delay_days),
        last_touch=timedelta(hours=document.last_touch_hours),
    )


def _experiments(document: PolicyDocument) -> Experiments:
    experiments = document.experiments
    control = experiments.control
    return Experiments(
        salt=experiments.salt,
        control=control.id if control else "",
        control_share=control.percent / 100.0 if control else 0.0,
        challengers=tuple(_variant(each, document) for each in experiments.challengers),
        rollouts=tuple(
            Rollout(id=each.id, share=each.percent / 100.0, actions=frozenset(each.actions))
            for each in experiments.rollouts
        ),
        shadows=tuple(_variant(each, document) for each in experiments.shadows),
    )


def _variant(document: ChallengerDocument | ShadowDocument, champion: PolicyDocument) -> Variant:
    policy = compile_policy(changed(champion, document.changes))
    return Variant(id=document.id, share=document.percent / 100.0, policy=policy)


def changed(policy: PolicyDocument, changes: ChangesDocument) -> PolicyDocument:
    """The policy with the changes of a challenger or a shadow, and without variants of its own."""
    given = {
        name: getattr(changes, name)
        for name in ("formula", "do_nothing_threshold", "exploration")
        if getattr(changes, name) is not None
    }
    actions = tuple(
        action.model_copy(update={"lever": changes.levers.get(action.id, action.lever)})
        for action in policy.actions.actions
    )
    return policy.model_copy(
        update={
            "actions": policy.actions.model_copy(update={"actions": actions}),
            "arbitration": policy.arbitration.model_copy(update=given),
            "experiments": ExperimentsFile(
                salt=policy.experiments.salt,
                control=policy.experiments.control,
                rollouts=policy.experiments.rollouts,
            ),
        }
    )
