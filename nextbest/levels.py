"""Levels: how much of one number alone makes a candidate the first choice.

Belongs here: the numbers a priority is made of, and the search for the least change of each. Priority may be any
formula, so it is searched rather than solved: where it is linear in a number, one step of the search is exact. Does not
belong here: anything that stops a candidate (`nextbest.stops`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scipy.optimize import brentq

from nextbest.counterfactual import (
    Change,
    Kind,
    ShiftedResiduals,
    decide_in,
    with_action,
    with_arbitration,
    with_residuals,
)
from nextbest.expressions import Expression
from nextbest.policy_document import MOST
from nextbest.records import DO_NOTHING, Candidate
from nextbest.situation import Situation
from nextbest.standing import Standing, standing

_MOST_LEVER = 10_000.0
_MOST_PROPENSITY = 1.0 - 2.0**-53
_FINEST = 15
"""Decimals that a number is named with at most."""
_SLACK = 5e-4
"""The part of a change by which it may be rounded up, to be named in fewer digits."""
_TIE = 1e-9
"""A change of this part of a number is none: the two are equal, and the least that is more is named."""
_TIE_SLACK = 1e-4
_ITERATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """A number of the situation: what it is now, how far it can go, and the situation with another one."""

    kind: Kind
    subject: str
    before: float
    bound: float
    unit: str = ""
    situation: Callable[[float], Situation]


def levels(situation: Situation, placement: str, key: str) -> list[tuple[Change, Situation]]:
    """The changes of one number alone that make a candidate the first choice, the smallest in proportion first.

    Args:
        situation: In it the candidate takes part and is not first.
        placement: The placement's id.
        key: The candidate's.

    """
    now = standing(decide_in(situation).record, situation.policy, placement, key)
    if now.candidate is None:
        return []
    found = []
    for level in _levels(situation, now.candidate, key):

        def at(number: float, level: _Level = level) -> Standing:
            changed = level.situation(number)
            return standing(decide_in(changed).record, changed.policy, placement, key)

        if (root := _root(level, at)) is not None:
            number = _named(level, root, at)
            found.append((_proportion(level.before, root), _change(level, number), level.situation(number)))
    return [(change, changed) for _, change, changed in sorted(found, key=lambda each: each[0])]


def _levels(situation: Situation, candidate: Candidate, key: str) -> Iterator[_Level]:
    """What the priority of a candidate is made of; of changes equal in proportion the first is named."""
    name = key.partition("/")[0]
    if name == DO_NOTHING:
        yield _Level(
            kind="threshold",
            subject="do_nothing_threshold",
            before=situation.policy.arbitration.do_nothing_threshold,
            bound=MOST,
            situation=lambda x: with_arbitration(situation, do_nothing_threshold=x),
        )
        return
    action = situation.policy.actions[name]
    for bound in (_MOST_LEVER, 0.0):
        yield _Level(
            kind="lever",
            subject=name,
            before=action.lever,
            bound=bound,
            unit=" %",
            situation=lambda x: with_action(situation, name, lever=x),
        )
    yield from _responses(situation, candidate, name)
    if candidate.value is not None:
        yield _Level(
            kind="value",
            subject=name,
            before=candidate.value,
            bound=MOST,
            situation=lambda x: with_action(situation, name, value=x),
        )
    cost = action.cost
    if isinstance(cost, Expression) and candidate.cost is not None:
        cost = candidate.cost - situation.policy.placements[candidate.placement].channel_cost
    if isinstance(cost, float) and cost > 0.0:
        yield _Level(
            kind="cost",
            subject=name,
            before=cost,
            bound=0.0,
            situation=lambda x: with_action(situation, name, cost=x),
        )


def _responses(situation: Situation, candidate: Candidate, name: str) -> Iterator[_Level]:
    """How likely a response is, or one that the action causes: what answers would have to say.

    Where what is caused counts, its share of all responses stays as it is, so that it can be no more than that.
    """
    if candidate.p is None or candidate.logit is None:
        return
    logit = candidate.logit
    caused = candidate.uplift if situation.policy.arbitration.formula is None else None
    counted = candidate.p if caused is None else caused
    if counted <= 0.0:
        return  # of what is caused by none, or of harm, more answers make nothing better
    share = counted / candidate.p

    def at(level: float) -> Situation:
        p = level / share
        shift = math.log(p) - math.log1p(-p) - logit
        return with_residuals(situation, ShiftedResiduals(situation.residuals, name, shift))

    yield _Level(
        kind="propensity" if caused is None else "uplift",
        subject=name,
        before=counted,
        bound=_MOST_PROPENSITY * share,
        situation=at,
    )


def _root(level: _Level, at: Callable[[float], Standing]) -> float | None:
    """The number beyond which the candidate is first; none up to the bound."""
    if level.bound == level.before or not at(level.bound).is_first:
        return None
    if at(level.before).margin >= 0.0:  # equal, and the rival is listed before it
        return level.before
    if at(level.bound).margin <= 0.0:  # equal at the bound, and the rival is listed after it
        return level.bound
    # 1e-300: only the relative precision, that of floats, ends the search.
    root, _ = brentq(
        lambda x: at(x).margin,
        level.before,
        level.bound,
        xtol=1e-300,
        maxiter=_ITERATIONS,
        disp=False,
        full_output=True,
    )
    return float(root)


def _named(level: _Level, root: float, at: Callable[[float], Standing]) -> float:
    """The number with the fewest decimals that lies just beyond `root`."""
    up = level.bound > level.before
    change = abs(root - level.before)
    is_tie = change < _TIE * abs(level.before)
    slack = _TIE_SLACK * max(abs(level.before), _TIE_SLACK) if is_tie else _SLACK * change
    for decimals in range(_FINEST + 1):
        scale = 10.0**decimals
        nearest = math.ceil(root * scale) if up else math.floor(root * scale)
        for count in (nearest, nearest + 1 if up else nearest - 1):
            number = count / scale
            is_within = number <= level.bound if up else number >= level.bound
            if abs(number - root) <= slack and is_within and at(number).is_first:
                return number
    return level.bound


def _proportion(before: float, after: float) -> float:
    """The change as a part of what it was; what differs by the errors of floats is equal."""
    return round(abs(after - before) / abs(before), 9) if before else math.inf


def _change(level: _Level, number: float) -> Change:
    what = level.kind if level.kind == "threshold" else f"{level.kind} of {level.subject}"
    text = f"{what}: {level.before:.5g}{level.unit} → {number:.12g}{level.unit}"
    if level.before:
        text += f" ({100.0 * (number - level.before) / abs(level.before):+.3g} %)"
    return Change(level.kind, level.subject, level.before, number, text)
