"""The sentence that says one difference between two policies, in the words of the people who write them.

Belongs here: what a change to a part is called. A change without words of its own is said by its field, so that none is
silent. Does not belong here: how parts read (`nextbest.policy_words`), or finding differences (`nextbest.policy_diff`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nextbest.policy_words import (
    ACTION,
    Place,
    anything,
    duration,
    fields,
    fits,
    listed,
    money,
    number,
    one,
    phrase,
    shown,
    spoken,
)

ORDER: Final = "(order)"
"""The last name of a place where a list has the same members in another order; no id looks like it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is at a place in two policies; None stands for what is not there, amounts are in `currency`."""

    place: Place
    before: Any
    after: Any
    currency: str

    @property
    def whose(self) -> str:
        """The id of the member of a list that the place is in."""
        return self.place[2]

    @property
    def field(self) -> str:
        """The names below that member, as words."""
        return spoken(self.place[3:])

    @property
    def given(self) -> Any:
        """What was added or removed."""
        return self.after if self.before is None else self.before

    @property
    def added(self) -> str:
        return "added" if self.before is None else "removed"

    @property
    def money(self) -> str:
        return f"{money(self.before)} → {money(self.after)} {self.currency}"

    @property
    def value(self) -> str:
        return f"{shown(self.before)} → {shown(self.after)}"

    @property
    def change(self) -> str:
        """From one to the other; where only one piece of a phrase differs, the arrow is inside of it."""
        said = phrase(self.place) or anything
        old, new = (["none"] if each is None else said(each) for each in (self.before, self.after))
        different = [index for index, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]]
        if len(old) != len(new) or len(different) != 1:
            return f"{' '.join(old)} → {' '.join(new)}"
        [index] = different
        return " ".join([*new[:index], f"{old[index]} → {new[index]}", *new[index + 1 :]])

    @property
    def said(self) -> str:
        """What was added or removed, in words."""
        return " ".join((phrase(self.place) or anything)(self.given))


def sentence(difference: Difference) -> str:
    """What changes: the first words that fit."""
    fitting = (say for pattern, when, say in _SENTENCES if fits(difference.place, pattern) and when(difference))
    return next(fitting)(difference)


def _always(_: Difference) -> bool:
    return True


def _is_order(difference: Difference) -> bool:
    return difference.place[-1] == ORDER


def _is_new(difference: Difference) -> bool:
    return difference.before is None


def _is_gone(difference: Difference) -> bool:
    return difference.after is None


def _is_either(difference: Difference) -> bool:
    return _is_new(difference) or _is_gone(difference)


def _order(difference: Difference) -> str:
    names = spoken(difference.place[:-1])
    return f"the order of {names} changes: {listed(difference.before)} → {listed(difference.after)}"


def _new_action(difference: Difference) -> str:
    action = difference.after
    placements = listed(sorted({each["placement"] for each in action["treatments"]}))
    return f"{difference.whose} is new (group {action['group']}, for {placements})"


def _sequence(difference: Difference) -> str:
    each, how = difference.given, "only after" if difference.place[3] == "follows" else "not after"
    what = f"{how} {each['event']} of {each['action']} within {duration(each['within_hours'])}"
    return f"{difference.whose}: {what}: {difference.added}"


def _new_treatment(difference: Difference) -> str:
    content = ", ".join(f"{key} {shown(text)}" for key, text in difference.after["content"].items())
    name, placement = difference.place[4], difference.after["placement"]
    return f"{difference.whose}: treatment {name} is new, for {placement}: {content}"


def _gone_treatment(difference: Difference) -> str:
    name, placement = difference.place[4], difference.before["placement"]
    return f"{difference.whose}: treatment {name} is no longer shown in {placement}"


def _content(difference: Difference) -> str:
    _, _, action, _, treatment, _, key = difference.place
    return f"{action}: {key} of {treatment} {difference.value}"


def _regime(difference: Difference) -> str:
    silence = {"opt_in": "no", "opt_out": "yes"}
    return f"purpose {difference.whose}: silence means {silence[difference.before]} → {silence[difference.after]}"


def _new_part(difference: Difference) -> str:
    return f"{one(difference.place[1])} {difference.whose} is new: {fields(difference.after)}"


def _last_touch(difference: Difference) -> str:
    hours = " → ".join(map(duration, (difference.before, difference.after)))
    return f"an answer that names no decision counts for what was seen in the last {hours}"


def _a(noun: str) -> str:
    """With its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_LEARNING: Final = ("arbitration", "learning")
_TIERS: Final = (*ACTION, "eligibility|applicability|suitability")
_HOLDS: Final = ("contact_policy", "rules|suppressions", "*")
_TRIALS: Final = ("experiments", "challengers|rollouts|shadows", "*")
_MEMBERS: Final = ("placements|contact_policy|features", "channels|placements|purposes|features", "*")
_FALLBACK: Final = ("placements", "placements", "*", "fallback", "content", "*")

_SENTENCES: Final[tuple[tuple[Place, Callable[[Difference], bool], Callable[[Difference], str]], ...]] = (
    (("**",), _is_order, _order),
    (("actions", "currency"), _always, lambda d: f"amounts are in {d.after}, no longer in {d.before}"),
    (ACTION, _is_new, _new_action),
    (ACTION, _is_gone, lambda d: f"{d.whose} is no longer proposed"),
    ((*ACTION, "value|cost"), _always, lambda d: f"{d.whose}: {d.field} {d.money}"),
    ((*ACTION, "lever"), _always, lambda d: f"{d.whose}: lever {number(d.before)} → {number(d.after)} %"),
    (_TIERS, _is_either, lambda d: f"{d.whose}: {d.field} rule {d.added}: {d.given}"),
    ((*ACTION, "follows|excluded_by"), _is_either, _sequence),
    ((*ACTION, "treatments", "*"), _is_new, _new_treatment),
    ((*ACTION, "treatments", "*"), _is_gone, _gone_treatment),
    ((*ACTION, "treatments", "*", "content", "*"), _always, _content),
    ((*ACTION, "attributes", "*"), _always, lambda d: f"{d.whose}: attribute {d.place[4]} {d.value}"),
    ((*ACTION, "**"), _always, lambda d: f"{d.whose}: {d.field} {d.change}"),
    (("placements", "channels", "*", "cost"), _always, lambda d: f"cost of {d.whose}: {d.money} per contact"),
    (("placements", "channels", "*", "**"), _always, lambda d: f"{d.field} of {d.whose}: {d.change}"),
    (_FALLBACK, _always, lambda d: f"fallback of {d.whose}: {d.place[5]} {d.value}"),
    (("placements", "placements", "*", "**"), _always, lambda d: f"{d.whose}: {d.field} {d.change}"),
    (_HOLDS, _is_new, lambda d: f"{d.whose} is new: {d.said}"),
    (_HOLDS, _is_gone, lambda d: f"{d.whose} no longer holds: {d.said}"),
    (_HOLDS, _always, lambda d: f"{d.whose}: {d.change}"),
    (("contact_policy", "purposes", "*", "regime"), _always, _regime),
    (("contact_policy", "binds"), _is_new, lambda d: f"contact rules now bind {d.after} actions"),
    (("contact_policy", "binds"), _is_gone, lambda d: f"contact rules no longer bind {d.before} actions"),
    (("arbitration", "do_nothing_threshold"), _always, lambda d: f"doing nothing counts {d.money}"),
    (("arbitration", "formula", "use_uplift"), _always, lambda d: f"only responses an action causes count: {d.value}"),
    ((*_LEARNING, "rewards", "*"), _always, lambda d: f"{_a(d.place[3])} is worth {d.value} of a full response"),
    ((*_LEARNING, "default"), _always, lambda d: f"a contact that is not answered is worth {d.value}"),
    ((*_LEARNING, "delay_days"), _always, lambda d: f"answers count for {d.value} days"),
    ((*_LEARNING, "last_touch_hours"), _always, _last_touch),
    (("experiments", "control"), _always, lambda d: f"universal control: {d.change}"),
    (_TRIALS, _is_new, _new_part),
    (_TRIALS, _is_gone, lambda d: f"{one(d.place[1])} {d.whose} has ended"),
    ((*_TRIALS, "**"), _always, lambda d: f"{one(d.place[1])} {d.whose}: {d.field} {d.change}"),
    (_MEMBERS, _is_new, _new_part),
    (_MEMBERS, _is_gone, lambda d: f"{one(d.place[1])} {d.whose} is gone"),
    (("*", "**"), _always, lambda d: f"{spoken(d.place[1:])}: {d.change}"),
)
"""By pattern of a place and what happened to it, its sentence; the first that fits is said."""
