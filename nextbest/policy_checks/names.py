"""Names: each is there once, and every other part that says it finds it.

Belongs here: ids, and references between the files. Does not belong here: names in expressions
(`nextbest.policy_checks.expressions`) and in texts (`nextbest.policy_checks.content`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from nextbest.experiments import CHALLENGERS, CHAMPION
from nextbest.findings import Place, Problem
from nextbest.policy_checks.subject import Subject
from nextbest.policy_document import ActionDocument, SequenceDocument
from nextbest.records import DO_NOTHING


def action_ids(subject: Subject) -> Iterator[Problem]:
    """Actions and, within each, treatments are there once, and none takes the name of doing nothing."""
    yield from _repeated((("actions", "actions", i, "id"), each.id) for i, each in enumerate(subject.actions))
    for index, action in enumerate(subject.actions):
        place: Place = ("actions", "actions", index)
        if action.id == DO_NOTHING:
            message = f"`{DO_NOTHING}` is always an action and cannot be defined"
            yield Problem((*place, "id"), message, "policy-reserved")
        if action.action_class == "standard" and action.purpose is None:
            message = f"`{action.id}` has no purpose: a standard action needs one, such as `purpose: marketing`"
            yield Problem(place, message, "policy-purpose")
        yield from _repeated(
            ((*place, "treatments", position, "id"), treatment.id)
            for position, treatment in enumerate(action.treatments)
        )


def placement_ids(subject: Subject) -> Iterator[Problem]:
    """Channels and placements are there once, and a placement is in a channel that there is."""
    file = subject.policy.placements
    channels = {channel.id for channel in file.channels}
    yield from _repeated((("placements", "channels", i, "id"), each.id) for i, each in enumerate(file.channels))
    yield from _repeated((("placements", "placements", i, "id"), each.id) for i, each in enumerate(file.placements))
    for index, placement in enumerate(file.placements):
        place = ("placements", "placements", index, "channel")
        yield from subject.unknown(place, "channel", placement.channel, channels)


def contact_ids(subject: Subject) -> Iterator[Problem]:
    """Purposes are there once; rules and suppressions share their names, which are reasons."""
    file = subject.policy.contact_policy
    yield from _repeated((("contact_policy", "purposes", i, "id"), each.id) for i, each in enumerate(file.purposes))
    rules = [(("contact_policy", "rules", i, "id"), each.id) for i, each in enumerate(file.rules)]
    pauses = [(("contact_policy", "suppressions", i, "id"), each.id) for i, each in enumerate(file.suppressions)]
    yield from _repeated([*rules, *pauses])


def feature_names(subject: Subject) -> Iterator[Problem]:
    """A feature is declared once."""
    features = subject.policy.features.features
    yield from _repeated((("features", "features", i, "name"), each.name) for i, each in enumerate(features))


def experiment_ids(subject: Subject) -> Iterator[Problem]:
    """Experiments of whatever kind share their names, since records tell them apart by these."""
    file = subject.policy.experiments
    control = [(("experiments", "control"), file.control.id)] if file.control else []
    challengers = [(("experiments", "challengers", i, "id"), each.id) for i, each in enumerate(file.challengers)]
    rollouts = [(("experiments", "rollouts", i, "id"), each.id) for i, each in enumerate(file.rollouts)]
    shadows = [(("experiments", "shadows", i, "id"), each.id) for i, each in enumerate(file.shadows)]
    named = [*control, *challengers, *rollouts, *shadows]
    yield from _repeated(named)
    for place, identity in named:
        if identity in {CHAMPION, CHALLENGERS}:
            message = f"`{identity}` is a name of its own: records say so who decided beside the challengers"
            yield Problem(place, message, "policy-reserved")


def purposes(subject: Subject) -> Iterator[Problem]:
    """The purposes of actions and channels are those of contact_policy.yaml."""
    known = {purpose.id for purpose in subject.policy.contact_policy.purposes}
    for index, action in enumerate(subject.actions):
        if action.purpose:
            yield from subject.unknown(("actions", "actions", index, "purpose"), "purpose", action.purpose, known)
    for index, channel in enumerate(subject.policy.placements.channels):
        if channel.purpose:
            yield from subject.unknown(("placements", "channels", index, "purpose"), "purpose", channel.purpose, known)


def treatments(subject: Subject) -> Iterator[Problem]:
    """A treatment is for a placement that there is, and says its channel."""
    channels = {placement.id: placement.channel for placement in subject.policy.placements.placements}
    for index, action in enumerate(subject.actions):
        for position, treatment in enumerate(action.treatments):
            place = ("actions", "actions", index, "treatments", position)
            yield from subject.unknown((*place, "placement"), "placement", treatment.placement, channels)
            channel = channels.get(treatment.placement, treatment.channel)
            if channel != treatment.channel:
                message = f"placement `{treatment.placement}` is in channel `{channel}`, not `{treatment.channel}`"
                yield Problem((*place, "channel"), message, "policy-channel")


def members(subject: Subject) -> Iterator[Problem]:
    """What rules and suppressions are about is there."""
    known = {
        "action": {action.id for action in subject.actions},
        "group": {action.group for action in subject.actions},
        "channel": {channel.id for channel in subject.policy.placements.channels},
        "all": set(),
    }
    for place, each in subject.holds:
        for position, member in enumerate(each.only):
            yield from subject.unknown((*place, "only", position), each.scope, member, known[each.scope])


def sequences(subject: Subject) -> Iterator[Problem]:
    """What must or must not have happened before is about an action and an event that there are."""
    known = {action.id for action in subject.actions}
    for place, _, sequence in sequence_places(subject.actions):
        yield from subject.unknown((*place, "action"), "action", sequence.action, known)
        yield from event(subject, (*place, "event"), sequence.event)


def event(subject: Subject, place: Place, name: str) -> Iterator[Problem]:
    """A problem if nothing of this name can happen."""
    if subject.vocabulary.events is not None:
        yield from subject.unknown(
            place, "event", name, subject.vocabulary.events | {"decision", "impression", "click"}
        )


def sequence_places(actions: Iterable[ActionDocument]) -> Iterator[tuple[Place, ActionDocument, SequenceDocument]]:
    """Every sequence with its place and the action it is of."""
    for index, action in enumerate(actions):
        for kind, found in (("follows", action.follows), ("excluded_by", action.excluded_by)):
            for position, sequence in enumerate(found):
                yield ("actions", "actions", index, kind, position), action, sequence


def experiment_members(subject: Subject) -> Iterator[Problem]:
    """Rollouts and other levers are about actions that there are."""
    known = {action.id for action in subject.actions}
    for index, rollout in enumerate(subject.policy.experiments.rollouts):
        for position, member in enumerate(rollout.actions):
            yield from subject.unknown(("experiments", "rollouts", index, "actions", position), "action", member, known)
    for place, each in subject.variants:
        for member in each.changes.levers:
            yield from subject.unknown((*place, "changes", "levers", member), "action", member, known)


def _repeated(named: Iterable[tuple[Place, str]]) -> Iterator[Problem]:
    seen: Counter[str] = Counter()
    for place, identity in named:
        if seen[identity]:
            yield Problem(place, f"`{identity}` is there already", "policy-duplicate")
        seen[identity] += 1
