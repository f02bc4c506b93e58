"""What must hold between the parts of a policy: every mistake found at once, each with its place.

Belongs here: checks that need more than one field. Does not belong here: types and bounds of a field
(`nextbest.policy_document`), or turning a place into file and line (`nextbest.adapters.policy_files`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from nextbest.expressions import ExpressionError, compile_expression, evaluation_context
from nextbest.features import RuleFeature, rule_values
from nextbest.findings import Place, Problem
from nextbest.policy_compiler import rule_features
from nextbest.policy_document import ActionDocument, PolicyDocument
from nextbest.records import DO_NOTHING

_TIERS = ("eligibility", "applicability", "suitability")


def check(policy: PolicyDocument) -> list[Problem]:
    """Every problem of `policy`, in no particular order; none means that it compiles."""
    return [
        *_duplicates(policy),
        *_channels(policy),
        *_purposes(policy),
        *_contact_rules(policy),
        *(p for i, action in enumerate(policy.actions.actions) for p in _treatments(policy, action, i)),
        *_expressions(policy),
    ]


def _duplicates(policy: PolicyDocument) -> Iterator[Problem]:
    actions = policy.actions.actions
    yield from _repeated(("actions", "actions"), (action.id for action in actions))
    for index, action in enumerate(actions):
        if action.id == DO_NOTHING:
            message = f"`{DO_NOTHING}` is always an action and cannot be defined"
            yield Problem(("actions", "actions", index, "id"), message, "policy-reserved")
        yield from _repeated(("actions", "actions", index, "treatments"), (t.id for t in action.treatments))
    yield from _repeated(("placements", "channels"), (channel.id for channel in policy.placements.channels))
    yield from _repeated(("placements", "placements"), (placement.id for placement in policy.placements.placements))
    yield from _repeated(("contact_policy", "purposes"), (purpose.id for purpose in policy.contact_policy.purposes))
    yield from _repeated(("contact_policy", "rules"), (rule.id for rule in policy.contact_policy.rules))
    yield from _repeated(("features", "features"), (f.name for f in policy.features.features), "name")


def _repeated(place: Place, ids: Iterable[str], field: str = "id") -> Iterator[Problem]:
    seen: Counter[str] = Counter()
    for index, identity in enumerate(ids):
        if seen[identity]:
            yield Problem((*place, index, field), f"`{identity}` is there already", "policy-duplicate")
        seen[identity] += 1


def _channels(policy: PolicyDocument) -> Iterator[Problem]:
    channels = {channel.id for channel in policy.placements.channels}
    for index, placement in enumerate(policy.placements.placements):
        yield from _unknown(("placements", "placements", index, "channel"), "channel", placement.channel, channels)


def _purposes(policy: PolicyDocument) -> Iterator[Problem]:
    purposes = {purpose.id for purpose in policy.contact_policy.purposes}
    for index, action in enumerate(policy.actions.actions):
        if action.purpose:
            yield from _unknown(("actions", "actions", index, "purpose"), "purpose", action.purpose, purposes)
    for index, channel in enumerate(policy.placements.channels):
        if channel.purpose:
            yield from _unknown(("placements", "channels", index, "purpose"), "purpose", channel.purpose, purposes)


def _contact_rules(policy: PolicyDocument) -> Iterator[Problem]:
    members = {
        "action": {action.id for action in policy.actions.actions},
        "group": {action.group for action in policy.actions.actions},
        "channel": {channel.id for channel in policy.placements.channels},
        "all": set(),
    }
    for index, rule in enumerate(policy.contact_policy.rules):
        for position, member in enumerate(rule.only):
            place = ("contact_policy", "rules", index, "only", position)
            yield from _unknown(place, rule.scope, member, members[rule.scope])


def _treatments(policy: PolicyDocument, action: ActionDocument, index: int) -> Iterator[Problem]:
    channels = {placement.id: placement.channel for placement in policy.placements.placements}
    for position, treatment in enumerate(action.treatments):
        place = ("actions", "actions", index, "treatments", position)
        yield from _unknown((*place, "placement"), "placement", treatment.placement, channels)
        channel = channels.get(treatment.placement, treatment.channel)
        if channel != treatment.channel:
            message = f"placement `{treatment.placement}` is in channel `{channel}`, not `{treatment.channel}`"
            yield Problem((*place, "channel"), message, "policy-channel")


def _unknown(place: Place, what: str, name: str, known: Collection[str]) -> Iterator[Problem]:
    if name not in known:
        message = f"unknown {what} `{name}`: there is {', '.join(sorted(known)) or 'none'}"
        yield Problem(place, message, "policy-unknown-name")


def _expressions(policy: PolicyDocument) -> Iterator[Problem]:
    catalogue = {f.name: f for f in rule_features(policy.features, {a.id: a for a in policy.actions.actions})}
    for name, feature in catalogue.items():
        if feature.default is not None and not feature.takes(feature.default):
            message = f"the default of `{name}` is not a {feature.kind}"
            yield Problem(("features", "features"), message, "policy-default")
    for index, action in enumerate(policy.actions.actions):
        for tier in _TIERS:
            for position, source in enumerate(getattr(action, tier)):
                if message := _mistake(source, catalogue):
                    place = ("actions", "actions", index, tier, position)
                    yield Problem(place, f"`{source}`: {message}", "policy-expression")


def _mistake(source: str, catalogue: dict[str, RuleFeature]) -> str:
    """What is wrong with an expression; it is tried on the defaults, so that types that cannot be compared show."""
    try:
        expression = compile_expression(source)
        if unknown := sorted(expression.variables - catalogue.keys()):
            return f"unknown feature {', '.join(f'`{name}`' for name in unknown)}: features.yaml has the known ones"
        used = [catalogue[name] for name in expression.variables]
        expression.holds(evaluation_context(rule_values(used, {}, {})))
    except ExpressionError as error:
        return str(error)
    return ""
