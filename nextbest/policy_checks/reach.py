"""Whether an action can ever be proposed, and win.

Belongs here: dates, rules that contradict one another, actions that wait for one another, worth below cost. Does not
belong here: whether a rule is right in itself (`nextbest.policy_checks.expressions`).
"""

import datetime as dt
from collections.abc import Iterator

from nextbest.contact_rules import zone_of
from nextbest.expressions import ExpressionError, compile_expression, evaluation_context
from nextbest.findings import Place, Problem
from nextbest.policy_checks.expressions import rule_places
from nextbest.policy_checks.logic import Bounds, comparison, conjuncts
from nextbest.policy_checks.names import sequence_places
from nextbest.policy_checks.subject import Subject
from nextbest.policy_document import ActionDocument, ArbitrationFile, FormulaDocument

_Moment = dt.date | dt.datetime


def dates(subject: Subject) -> Iterator[Problem]:
    """An action starts before it ends, and has not ended already."""
    zone = _zone(subject)
    for index, action in enumerate(subject.actions):
        place: Place = ("actions", "actions", index, "end")
        if action.end is None:
            continue
        end = _moment(action.end, zone, days=1)
        if action.start is not None and _moment(action.start, zone, days=0) >= end:
            message = f"`{action.id}` ends ({action.end}) before it starts ({action.start}): it can never be proposed"
            yield Problem(place, message, "policy-dates")
        elif subject.today and end <= _moment(subject.today, zone, days=0):
            message = f"`{action.id}` ended on {action.end}: it is no longer proposed"
            yield Problem(place, message, "policy-ended", "warning")


def contradictions(subject: Subject) -> Iterator[Problem]:
    """The rules of an action, all of which must hold, can hold together."""
    for index, action in enumerate(subject.actions):
        yield from _contradictory(action, index)


def _contradictory(action: ActionDocument, index: int) -> Iterator[Problem]:
    bounds: dict[str, tuple[Bounds, str]] = {}
    for place, source in rule_places(action, index):
        if _is_never_true(source):
            message = f"`{source}` is never true: `{action.id}` can never be proposed"
            yield Problem(place, message, "policy-unreachable")
        for part in conjuncts(source):
            compared = comparison(part)
            if compared is None:
                continue
            feature, operator, number = compared
            before, said = bounds.get(feature, (Bounds(), ""))
            after = before.within(operator, number)
            if after.is_empty and not before.is_empty:
                message = f"`{part}` contradicts `{said}`: `{action.id}` can never be proposed"
                yield Problem(place, message, "policy-unreachable")
            bounds[feature] = (after, f"{said} && {part}" if said else part)


def _is_never_true(source: str) -> bool:
    try:
        expression = compile_expression(source)
        return not expression.variables and not expression.holds(evaluation_context({}))
    except ExpressionError:  # said by the check of expressions
        return False


def sequences(subject: Subject) -> Iterator[Problem]:
    """What an action waits for can come, and is not at once what it must not come after."""
    for place, action, sequence in sequence_places(subject.actions):
        if place[3] != "follows":
            continue
        if sequence.action == action.id:
            message = f"`{action.id}` waits for itself: it can never be proposed"
            yield Problem((*place, "action"), message, "policy-unreachable")
        for other in action.excluded_by:
            if (other.action, other.event) == (sequence.action, sequence.event) and (
                other.within_hours >= sequence.within_hours
            ):
                message = f"`{action.id}` both follows and is excluded by {other.event} of `{other.action}`"
                yield Problem(place, f"{message}: it can never be proposed", "policy-unreachable")
    yield from _waiting(subject)


def _waiting(subject: Subject) -> Iterator[Problem]:
    """Actions that wait in a circle, or for one that can never be proposed."""
    places = {action.id: index for index, action in reversed(list(enumerate(subject.actions)))}
    own = [*dates(subject), *contradictions(subject)]
    blocked = {subject.actions[int(each.place[2])].id for each in own if each.level == "error"}
    waits = {
        action.id: {each.action for each in action.follows if each.action in places and each.action != action.id}
        for action in subject.actions
    }
    possible: set[str] = set()
    waiting = waits.keys() - blocked
    while more := {each for each in waiting if waits[each] <= possible}:
        possible |= more
        waiting -= more
    for name, others in waits.items():
        if name in waiting:
            missing = ", ".join(f"`{each}`" for each in sorted(others - possible))
            message = f"`{name}` waits for {missing}, which can never come before it: it can never be proposed"
            yield Problem(("actions", "actions", places[name], "follows"), message, "policy-unreachable")


def worth(subject: Subject) -> Iterator[Problem]:
    """An action with fixed amounts can be worth more than it costs, at the best of propensities."""
    arbitration, experiments = subject.policy.arbitration, subject.policy.experiments
    channels = {channel.id: channel.cost for channel in subject.policy.placements.channels}
    others = [each.changes for each in experiments.challengers]
    if any(each.formula or each.do_nothing_threshold is not None for each in others):
        return
    for index, action in enumerate(subject.actions):
        costs = [channels[each.channel] for each in action.treatments if each.channel in channels]
        if not costs or action.action_class != "standard" or any(action.id in each.levers for each in others):
            continue
        best = _best_priority(action, arbitration, min(costs))
        if best is not None and best <= arbitration.do_nothing_threshold:
            currency = subject.policy.actions.currency
            message = (
                f"`{action.id}` can never win: at best its priority is {best:g} {currency}, and doing nothing has "
                f"{arbitration.do_nothing_threshold:g}"
            )
            place: Place = ("actions", "actions", index)
            if action.lever:
                yield Problem((*place, "value"), message, "policy-worth")
            else:  # a way to switch an action off
                yield Problem((*place, "lever"), message, "policy-worth", "warning")


def _best_priority(action: ActionDocument, arbitration: ArbitrationFile, channel_cost: float) -> float | None:
    """The priority if everybody responds, or nobody where that is better; None where it depends on the customer."""
    formula = arbitration.formula
    if not isinstance(formula, FormulaDocument) or isinstance(action.value, str) or isinstance(action.cost, str):
        return None
    gain = (action.value if formula.use_value else 1.0) * (action.lever / 100.0 if formula.use_lever else 1.0)
    if formula.use_propensity:
        gain = abs(gain) if formula.use_uplift else max(gain, 0.0)  # to keep a loss away is a gain
    return gain - (action.cost + channel_cost if formula.use_cost else 0.0)


def _zone(subject: Subject) -> dt.tzinfo:
    return zone_of(subject.policy.contact_policy.time_zone.default) or dt.UTC


def _moment(day: _Moment, zone: dt.tzinfo, *, days: int) -> dt.datetime:
    """A moment as it is; of a day its midnight in the policy's zone, or that of so many days later."""
    if isinstance(day, dt.datetime):
        return day
    return dt.datetime.combine(day, dt.time(), zone) + dt.timedelta(days=days)
