"""What a rule wants: the smallest change of one feature under which a rule holds that does not.

Belongs here: the search. A rule is opaque: what it compares features with is read off its text, what it computes is
tried. Does not belong here: which rule stopped an action (`nextbest.stops`), or evaluating one
(`nextbest.expressions`).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from nextbest.expressions import Expression, ExpressionError, evaluation_context
from nextbest.features import RuleFeature
from nextbest.records import Attribute

_TEXT = re.compile(r'"([^"\n]*)"|\'([^\'\n]*)\'')
_NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_FARTHEST = 12
"""Numbers are tried up to ten to this power away."""
_HALVINGS = 200
_DIGITS = 12

Values = Mapping[str, Attribute]


class FeatureChange(NamedTuple):
    """Another value of one feature; `words` say which values would do as well: `above 50.0`."""

    name: str
    value: Attribute
    words: str


def smallest_change(
    rule: Expression, others: Sequence[Expression], features: Mapping[str, RuleFeature], values: Values
) -> FeatureChange | None:
    """The change of one feature's value, relative to it the smallest, that makes `rule` hold.

    Args:
        rule: It does not hold of `values`.
        others: Rules that must go on to hold where they do.
        features: The kinds of features, by name.
        values: By name, of every feature the rules name.

    Returns:
        None where no value of one feature suffices.

    """
    kept = [rule, *(each for each in others if _holds(each, values))]

    def suffices(name: str, value: Attribute) -> bool:
        given = {**values, name: value}
        return all(_holds(each, given) for each in kept)

    found = [
        (_size(values[name], change.value), change)
        for name in sorted(rule.variables)
        for change in _changes(features[name], values, _sources(kept), partial(suffices, name))
    ]
    return min(found, key=lambda each: each[0])[1] if found else None


def _holds(rule: Expression, values: Values) -> bool:
    """A rule that fails is not a yes."""
    try:
        return rule.holds(evaluation_context({name: values[name] for name in rule.variables}))
    except ExpressionError:
        return False


def _sources(rules: Sequence[Expression]) -> str:
    return "\n".join(rule.source for rule in rules)


def _size(before: Attribute, after: Attribute) -> tuple[float, float]:
    """A change as a part of what it was, and then as it is; what was nothing, and another word, is another whole."""
    if isinstance(before, str) or isinstance(after, str):
        return 1.0, 0.0
    return abs(after - before) / abs(before) if before else 1.0, abs(after - before)


def _changes(
    feature: RuleFeature, values: Values, source: str, suffices: Callable[[Attribute], bool]
) -> Iterator[FeatureChange]:
    """Changes of one feature that suffice; of equal ones the first is the one to name."""
    before = values[feature.name]
    if isinstance(before, str):
        yield from _words(feature, before, source, suffices)
    elif isinstance(before, bool):
        if suffices(not before):
            yield FeatureChange(feature.name, not before, str(not before).lower())
    else:
        literals = [float(text) for text in _NUMBER.findall(_TEXT.sub("", source))]
        rivals = [value for value in values.values() if not isinstance(value, str | bool)]
        numbers = [each for each in (*literals, *(-each for each in literals), *rivals) if math.isfinite(each)]
        yield from _computed_numbers(feature.name, before, suffices)
        yield from _named_numbers(feature.name, before, numbers, suffices)


def _words(
    feature: RuleFeature, before: str, source: str, suffices: Callable[[Attribute], bool]
) -> Iterator[FeatureChange]:
    """The words a rule names, or else one that it does not name."""
    named = [a or b for a, b in _TEXT.findall(source)]
    for word in dict.fromkeys(named):
        if word != before and suffices(word):
            yield FeatureChange(feature.name, word, repr(word))
    for word in (feature.value(None), "", "other"):
        if word not in {before, *named} and suffices(word):
            refused = dict.fromkeys(each for each in (before, *named) if not suffices(each))
            yield FeatureChange(feature.name, word, f"anything but {', '.join(map(repr, refused))}")
            break


def _named_numbers(
    name: str, before: float, numbers: Sequence[float], suffices: Callable[[Attribute], bool]
) -> Iterator[FeatureChange]:
    """The numbers a rule compares with, and what lies next to them."""
    for number in dict.fromkeys(numbers):
        for value, words in (
            (number, _shown(number)),
            (math.nextafter(number, math.inf), f"above {_shown(number)}"),
            (math.nextafter(number, -math.inf), f"below {_shown(number)}"),
        ):
            if value != before and suffices(value):
                yield FeatureChange(name, value, words)


def _computed_numbers(name: str, before: float, suffices: Callable[[Attribute], bool]) -> Iterator[FeatureChange]:
    """Either way, the nearest number that suffices of those a rule only computes with."""
    distances = [0.0, *(10.0**power for power in range(-_FARTHEST, _FARTHEST + 1))]
    for sign, closed, opened in ((1.0, "at least ", "above "), (-1.0, "at most ", "below ")):
        for near, far in pairwise(before + sign * distance for distance in distances):
            if suffices(far):
                value = _boundary(near, far, suffices)
                short = _short(value, before)
                if short == before or not suffices(short):
                    yield FeatureChange(name, value, f"{opened}{_shown(short)}")
                else:
                    has_more = suffices(math.nextafter(short, sign * math.inf))
                    yield FeatureChange(name, short, f"{closed if has_more else ''}{_shown(short)}")
                break


def _boundary(fails: float, suffices_at: float, suffices: Callable[[Attribute], bool]) -> float:
    """The number nearest to `fails` that suffices, between the two."""
    for _ in range(_HALVINGS):
        middle = (fails + suffices_at) / 2.0
        if middle in {fails, suffices_at}:
            break
        if suffices(middle):
            suffices_at = middle
        else:
            fails = middle
    return suffices_at


def _short(value: float, before: float) -> float:
    """A number as people write it: the digits behind come of the computing."""
    is_nothing = abs(value) < 10.0**-_DIGITS * max(1.0, abs(before))
    return 0.0 if is_nothing else float(f"{value:.{_DIGITS}g}")


def _shown(number: float) -> str:
    return f"{number:.{_DIGITS}g}" if number != int(number) or abs(number) >= 10.0**_DIGITS else f"{number:.1f}"
