"""Contact rules, suppressions, quiet hours and time zone: each holds somebody back at some time, and none always.

Belongs here: contradictions within contact_policy.yaml, and with what can happen. Does not belong here: names of their
members (`nextbest.policy_checks.names`).
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from nextbest.contact_rules import zone_of
from nextbest.findings import Place, Problem
from nextbest.policy_checks.names import event
from nextbest.policy_checks.subject import Subject
from nextbest.policy_document import ContactRuleDocument, QuietHoursDocument

_DAY: Final = 24 * 60


def counted(subject: Subject) -> Iterator[Problem]:
    """What rules count and what suppressions wait for can happen."""
    file, words = subject.policy.contact_policy, subject.vocabulary
    for index, rule in enumerate(file.rules):
        yield from event(subject, ("contact_policy", "rules", index, "count"), rule.count)
    if words.events is not None and words.outcomes is not None:
        known = words.events | words.outcomes | {"impression", "click"}
        for index, each in enumerate(file.suppressions):
            place = ("contact_policy", "suppressions", index, "outcome")
            yield from subject.unknown(place, "outcome", each.outcome, known)


def bound(subject: Subject) -> Iterator[Problem]:
    """There are actions that rules and suppressions hold back."""
    file = subject.policy.contact_policy
    if subject.lost or not (file.rules or file.suppressions):
        return
    held = [action for action in subject.actions if action.action_class in file.binds]
    if not held:
        message = f"no action is {' or '.join(file.binds) or 'bound'}: rules and suppressions hold nothing back"
        yield Problem(("contact_policy", "binds"), message, "policy-cap")
        return
    members = {
        "action": {action.id for action in held},
        "group": {action.group for action in held},
        "channel": {treatment.channel for action in held for treatment in action.treatments},
    }
    known = {
        "action": {action.id for action in subject.actions},
        "group": {action.group for action in subject.actions},
        "channel": {channel.id for channel in subject.policy.placements.channels},
    }
    for place, each in subject.holds:
        for position, member in enumerate(each.only):
            if member in known.get(each.scope, ()) and member not in members[each.scope]:
                message = f"nothing that rules bind is of {each.scope} `{member}`: `{each.id}` can never bind it"
                yield Problem((*place, "only", position), message, "policy-cap")


def caps(subject: Subject) -> Iterator[Problem]:
    """A cap that another one always reaches first, or at the same time, can never bind."""
    groups = {action.id: action.group for action in subject.actions}
    rules = list(enumerate(subject.policy.contact_policy.rules))
    told: set[int] = set()
    for (first, one), (second, two) in combinations(rules, 2):
        # Of two that say the same, the later one is told.
        for index, loose, tight in ((second, two, one), (first, one, two)):
            if not {first, second} & told and _covers(tight, loose, groups):
                told.add(index)
                message = (
                    f"`{loose.id}` can never bind: `{tight.id}` counts all that it counts, and allows {tight.limit} in "
                    f"{tight.window_hours} hours"
                )
                yield Problem(("contact_policy", "rules", index, "limit"), message, "policy-cap")


def _covers(tight: ContactRuleDocument, loose: ContactRuleDocument, groups: dict[str, str]) -> bool:
    """Whether `tight` holds back whatever `loose` would."""
    return (
        tight.count == loose.count
        and tight.limit <= loose.limit
        and tight.window_hours >= loose.window_hours
        and _counts_more(tight, loose, groups)
    )


def _counts_more(tight: ContactRuleDocument, loose: ContactRuleDocument, groups: dict[str, str]) -> bool:
    if tight.scope == "all":
        return True
    if tight.scope == loose.scope:
        members = set(loose.only)
    elif (tight.scope, loose.scope) == ("group", "action"):
        members = {groups[each] for each in loose.only if each in groups}
    else:
        return False
    return not tight.only or (bool(loose.only) and members <= set(tight.only))


def quiet_hours(subject: Subject) -> Iterator[Problem]:
    """Quiet hours are longer than nothing and shorter than a day."""
    for index, channel in enumerate(subject.policy.placements.channels):
        hours = channel.quiet_hours
        if hours and not 0 < _minutes(hours) < _DAY - 1:
            place: Place = ("placements", "channels", index, "quiet_hours")
            message = f"from {hours.start} to {hours.end} is no time or all day: write when `{channel.id}` is silent"
            yield Problem(place, f"{message}, such as 21:00 to 08:00", "policy-quiet-hours")


def _minutes(hours: QuietHoursDocument) -> int:
    start, end = (int(time[:2]) * 60 + int(time[3:]) for time in (hours.start, hours.end))
    return (end - start) % _DAY


def time_zone(subject: Subject) -> Iterator[Problem]:
    """The zone where the customer's is not known exists."""
    zone = subject.policy.contact_policy.time_zone.default
    if zone_of(zone) is None:
        message = f"there is no time zone `{zone}`: write one such as America/New_York"
        yield Problem(("contact_policy", "time_zone", "default"), message, "policy-time-zone")


def time_zone_feature(subject: Subject) -> Iterator[Problem]:
    """The feature with the customer's zone is there, and is text."""
    name = subject.policy.contact_policy.time_zone.feature
    if name is None:
        return
    place: Place = ("contact_policy", "time_zone", "feature")
    yield from subject.unknown(place, "feature", name, subject.features)
    if name in subject.features and subject.features[name].kind != "text":
        message = f"`{name}` is a {subject.features[name].kind}: a zone is text, such as America/New_York"
        yield Problem(place, message, "policy-feature")
