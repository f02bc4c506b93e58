"""Parts of a policy as people would say them: contact rules, quiet hours, ways to explore, amounts.

Belongs here: how a part reads. Does not belong here: the sentence about a change (`nextbest.policy_sentences`).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from nextbest.policy_document import ExplorationDocument

Place = tuple[str, ...]
_Part = Mapping[str, Any]
_Phrase = Callable[[_Part], list[str]]

ACTION: Final = ("actions", "actions", "*")
_GAMMA: Final = ExplorationDocument.model_fields["gamma"].default
"""What a policy that says nothing of gamma has."""


def fits(place: Place, pattern: Place) -> bool:
    """Whether a place is of a pattern: `*` is any name, `a|b` either of them, `**` at the end one name or more."""
    if pattern[-1] == "**":
        place, pattern = place[: max(len(pattern) - 1, 0)] if len(place) >= len(pattern) else ("",), pattern[:-1]
    return len(place) == len(pattern) and all(
        each == "*" or name in each.split("|") for name, each in zip(place, pattern, strict=True)
    )


def phrase(place: Place) -> _Phrase | None:
    """How the part at a place reads, in pieces; None where it is said field by field."""
    return next((each for pattern, each in _PHRASES if fits(place, pattern)), None)


def anything(part: Any) -> list[str]:
    """A part that has no phrase."""
    return [shown(part)]


def _contact_rule(part: _Part) -> list[str]:
    window = f"in {duration(part['window_hours'])}"
    return ["at most", number(part["limit"]), f"{part['count']}s", window, _whom(part["scope"], part["only"])]


def _suppression(part: _Part) -> list[str]:
    return [
        f"after {part['count']} {part['outcome']}",
        f"in {_days(part['within_days'])}",
        f"a pause of {_days(part['pause_days'])}",
        _whom(part["scope"], part["only"]),
    ]


def _whom(scope: str, only: list[str]) -> str:
    if scope == "all":
        return f"of all kinds{f' ({listed(only)})' if only else ''}"
    if not only:
        return f"by the same {scope}" if scope == "channel" else f"of the same {scope}"
    return f"by {listed(only)}" if scope == "channel" else f"of {scope} {listed(only)}"


def _exploration(part: _Part) -> list[str]:
    strategy = part["strategy"]
    used = [
        f"epsilon {_percent(part['epsilon'])}" if part["epsilon"] or strategy == "epsilon" else "",
        f"gamma {number(part['gamma'])}" if strategy == "inverse_gap" or part["gamma"] != _GAMMA else "",
        f"floor {_percent(part['floor'])}" if part["floor"] else "",
    ]
    given = ", ".join(filter(None, used))
    if strategy == "epsilon":
        return [given]
    return [f"{strategy.replace('_', ' ')} ({given})" if given else strategy.replace("_", " ")]


def spoken(names: Iterable[str]) -> str:
    """Names of fields as words."""
    return " ".join(names).replace("_", " ")


def one(kind: str) -> str:
    """The name of one member of a list."""
    return kind.removesuffix("s")


def fields(part: _Part) -> str:
    """What is said of a part: the fields that hold something, without its name."""
    said = {name: value for name, value in part.items() if name not in {"id", "name"} and value not in (None, [], {})}
    return ", ".join(
        f"{spoken([name])} {fields(value) if isinstance(value, dict) else shown(value)}" for name, value in said.items()
    )


def shown(value: Any) -> str:
    """A value as people write it: texts in quotes, yes and no."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f"“{value}”"
    if isinstance(value, int | float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def number(value: Any) -> str:
    """As short as it can be written without becoming another number."""
    if isinstance(value, float) and value.is_integer() and str(value) != "-0.0":
        return f"{value:.0f}"
    return str(value)


def money(value: Any) -> str:
    """With cents, or with all that an amount has; an expression is itself."""
    if isinstance(value, str):
        return f"“{value}”"
    cents = f"{value:.2f}"
    return cents if float(cents) == value and str(value) != "-0.0" else number(value)


def _percent(share: float) -> str:
    percent = f"{share * 100:.10g}"
    return f"{percent} %" if float(percent) / 100 == share else f"{share!r} of 1"


def duration(hours: int) -> str:
    """Hours, or days where they are whole."""
    days, rest = divmod(hours, 24)
    return f"{hours} {'hour' if hours == 1 else 'hours'}" if rest else _days(days)


def _days(days: int) -> str:
    return f"{days} {'day' if days == 1 else 'days'}"


def _per(period: str) -> str:
    return "in total" if period == "total" else f"a {period}"


def listed(names: list[str]) -> str:
    """Names one after the other, with `and` before the last."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _volume(part: _Part) -> list[str]:
    return ["at most", number(part["limit"]), _per(part["per"])]


def _budget(part: _Part) -> list[str]:
    return ["at most", money(part["amount"]), _per(part["per"])]


def _stock(part: _Part) -> list[str]:
    return ["at least", number(part["at_least"]), "by", part["signal"], "of", part["key"] or "the action itself"]


def _starting(part: _Part) -> list[str]:
    return [_percent(part["propensity"]), f"worth {number(part['evidence'])} answers"]


def _quiet_hours(part: _Part) -> list[str]:
    return [f"{part['start']} to {part['end']}"]


def _ramp(part: _Part) -> list[str]:
    share, evidence = number(part["initial_percent"]), number(part["evidence"])
    return [f"from {share} % of customers", f"to all after {evidence} impressions"]


def _control(part: _Part) -> list[str]:
    return [f"{number(part['percent'])} % of customers", f"({part['id']})"]


_PHRASES: Final[tuple[tuple[Place, _Phrase], ...]] = (
    ((*ACTION, "volume"), _volume),
    ((*ACTION, "budget"), _budget),
    ((*ACTION, "stock"), _stock),
    ((*ACTION, "starting"), _starting),
    (("placements", "channels", "*", "quiet_hours"), _quiet_hours),
    (("contact_policy", "rules", "*"), _contact_rule),
    (("contact_policy", "suppressions", "*"), _suppression),
    (("arbitration", "exploration"), _exploration),
    (("arbitration", "ramp"), _ramp),
    (("experiments", "*", "*", "changes", "exploration"), _exploration),
    (("experiments", "control"), _control),
)
"""By pattern of a place, its phrase; each says every field, so that equal phrases are equal parts."""
