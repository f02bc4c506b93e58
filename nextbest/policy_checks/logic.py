"""What an expression in CEL is made of: the parts that `&&`, `||` and `? :` join, and the bounds they set.

Belongs here: reading structure off the text of an expression that compiles. Does not belong here: evaluating
(`nextbest.expressions`), or what a structure means for a policy.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Final, Literal

from nextbest.expressions import without_texts

Kind = Literal["condition", "value"]

_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_NAME: Final = r"[a-zA-Z_]\w*"
_COMPARISON: Final = re.compile(
    rf"(?P<name>{_NAME})\s*(?P<operator>[<>]=?|==)\s*(?P<number>{_NUMBER})"
    rf"|(?P<other_number>{_NUMBER})\s*(?P<other_operator>[<>]=?|==)\s*(?P<other_name>{_NAME})"
)
_TURNED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "=="}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers between two bounds; an open bound is not itself among them."""

    low: float = -inf
    high: float = inf
    is_low_open: bool = False
    is_high_open: bool = False

    @property
    def is_empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.is_low_open or self.is_high_open))

    def within(self, operator: str, number: float) -> "Bounds":
        """Those that also compare with `number` as the operator says."""
        bounds = self
        is_open = operator in {"<", ">"}
        if operator in {">", ">=", "=="} and (number, is_open) > (self.low, self.is_low_open):
            bounds = replace(bounds, low=number, is_low_open=is_open)
        if operator in {"<", "<=", "=="} and (-number, is_open) > (-self.high, self.is_high_open):
            bounds = replace(bounds, high=number, is_high_open=is_open)
        return bounds


def comparison(source: str) -> tuple[str, str, float] | None:
    """The feature, operator and number of a part that compares just these; None for any other."""
    found = _COMPARISON.fullmatch(source)
    if found is None:
        return None
    if found["name"]:
        return found["name"], found["operator"], float(found["number"])
    return found["other_name"], _TURNED[found["other_operator"]], float(found["other_number"])


def conjuncts(source: str) -> Iterator[str]:
    """The parts that must all be true."""
    source = _bare(source)
    parts = [] if _ternary(source) or len(_split(source, "||")) > 1 else _split(source, "&&")
    if len(parts) > 1:
        for part in parts:
            yield from conjuncts(part)
    else:
        yield source


def leaves(source: str, kind: Kind) -> Iterator[tuple[str, Kind]]:
    """The parts without logic of their own, each with what it must answer."""
    source = _bare(source)
    if branches := _ternary(source):
        condition, *answers = branches
        yield from leaves(condition, "condition")
        for answer in answers:
            yield from leaves(answer, kind)
        return
    parts = next((parts for operator in ("||", "&&") if len(parts := _split(source, operator)) > 1), [])
    for part in parts:
        yield from leaves(part, "condition")
    if not parts:
        yield source, kind


def _bare(source: str) -> str:
    """Without blanks and brackets around the whole."""
    source = source.strip()
    while source.startswith("(") and [depth for depth, _ in _depths(source)].index(0) == len(source) - 1:
        source = source[1:-1].strip()
    return source


def _depths(source: str) -> Iterator[tuple[int, str]]:
    """Each character, blank where it is of a string or comment, with the brackets that are open after it."""
    depth = 0
    for character in without_texts(source):
        depth += (character in "([{") - (character in ")]}")
        yield depth, character


def _flat(source: str) -> str:
    """With blanks for all that is in brackets, texts and comments."""
    return "".join(character if depth == 0 else " " for depth, character in _depths(source))


def _split(source: str, operator: str) -> list[str]:
    """The parts between an operator that is in no bracket."""
    flat = _flat(source)
    starts = [0, *(found.end() for found in re.finditer(re.escape(operator), flat))]
    ends = [*(found.start() for found in re.finditer(re.escape(operator), flat)), len(source)]
    return [source[start:end] for start, end in zip(starts, ends, strict=True)]


def _ternary(source: str) -> tuple[str, str, str] | None:
    """Condition, answer and other answer of a conditional that is in no bracket."""
    flat = _flat(source)
    question = flat.find("?")
    if question < 0:
        return None
    colon = flat.find(":", question)
    return source[:question], source[question + 1 : colon], source[colon + 1 :]
