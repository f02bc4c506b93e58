"""Rules in CEL, the Common Expression Language: refused when they could do harm, compiled once, then evaluated fast.

Belongs here: what an expression may look like, and how it is evaluated. Does not belong here: which features it may
name and their defaults (`nextbest.features`), or what follows from its answer (`nextbest.screening`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import isfinite

import cel

from nextbest.errors import NextbestError

MAX_CHARACTERS = 2_000
MAX_NESTING = 32
_PAGE = 100
"""Rules in one list: few enough for the compiler, many enough to save calls."""

# The compiler is native code that a deep or long enough expression brings down with the process, so bounds are read
# off the text before it sees it. Backslashes and triple quotes are refused so that the end of a string is plain.
_STRING_OR_COMMENT = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|//[^\n]*')
_COMPREHENSION = re.compile(
    r"\.\s*(all|exists|exists_one|existsOne|filter|map|transformList|transformMap|transformMapEntry)\s*\("
)
_COMPLAINT = re.compile(r"ERROR: <input>:\d+:\d+: (?:Syntax error: )?(.*)")
_OPERATOR_RUN = re.compile(rf"([!-]\s*){{{MAX_NESTING + 1},}}")


class ExpressionError(NextbestError):
    """An expression that cannot be compiled, or that failed on the features it was given."""


class Expression:
    """A compiled rule. Two expressions with the same source are the same one (`compile_expression` keeps them)."""

    __slots__ = ("_program", "source", "variables")

    def __init__(self, source: str) -> None:
        _refuse_harmful(source)
        try:
            self._program = cel.compile(source)
        except ValueError as error:
            raise ExpressionError(f"not a CEL expression: {_reason(error)}") from error
        self.source = source
        self.variables = frozenset(self._program.variables())

    def holds(self, context: cel.Context) -> bool:
        """Whether the rule is true of `context`.

        Raises:
            ExpressionError: it names what the context has not, compares what cannot be compared, or is no yes or no.

        """
        try:
            answer = self._program.execute(context)
        except Exception as error:  # the binding raises ValueError, TypeError and RuntimeError as CEL's errors fall
            raise ExpressionError(str(error).partition(".")[0]) from error
        if answer is True or answer is False:
            return answer
        raise ExpressionError(f"it answers {answer!r}, not true or false")

    def number(self, context: cel.Context) -> float:
        """The number the expression comes to.

        Raises:
            ExpressionError: it names what the context has not, mixes what cannot be mixed, or is no finite number.

        """
        try:
            answer = self._program.execute(context)
        except Exception as error:
            raise ExpressionError(str(error).partition(".")[0]) from error
        if isinstance(answer, bool) or not isinstance(answer, int | float) or not isfinite(answer):
            raise ExpressionError(f"it answers {answer!r}, not a number")
        return float(answer)


class RuleBook:
    """Rules that are answered together: one call for many costs a third of a call each.

    Rules are put side by side in lists. Where a list fails, its rules are asked one by one, so that a rule that fails
    takes no other one with it.
    """

    def __init__(self, rules: Iterable[Expression]) -> None:
        distinct = list({rule.source: rule for rule in rules}.values())
        self._pages = [_Page(distinct[start : start + _PAGE]) for start in range(0, len(distinct), _PAGE)]

    def failures(self, context: cel.Context) -> dict[str, str]:
        """By source of the rules that do not hold, why: `not so: …` or `failed: …`."""
        found: dict[str, str] = {}
        for page in self._pages:
            found |= page.failures(context)
        return found


class _Page:
    def __init__(self, rules: Sequence[Expression]) -> None:
        self._rules = rules
        self._reasons = [(rule.source, f"not so: {rule.source}") for rule in rules]
        # A comment would hide what comes after it; a line of its own ends it.
        self._program = cel.compile("[" + ",".join(f"({rule.source}\n)" for rule in rules) + "]")

    def failures(self, context: cel.Context) -> dict[str, str]:
        try:
            answers = self._program.execute(context)
        except Exception:  # noqa: BLE001  whatever failed is found below, with its reason
            answers = []
        if set(map(type, answers)) != {bool}:
            return {rule.source: reason for rule in self._rules if (reason := _failure(rule, context))}
        if False not in answers:
            return {}
        return {source: reason for (source, reason), holds in zip(self._reasons, answers, strict=True) if not holds}


def _failure(rule: Expression, context: cel.Context) -> str:
    """Empty when the rule holds, else the reason."""
    try:
        return "" if rule.holds(context) else f"not so: {rule.source}"
    except ExpressionError as error:
        return f"failed: {rule.source}: {error}"


def evaluation_context(features: Mapping[str, bool | float | str]) -> cel.Context:
    """The features as expressions see them; building it costs more than evaluating, so one serves a whole decision."""
    return cel.Context(dict(features))


@lru_cache(maxsize=4_096)
def compile_expression(source: str) -> Expression:
    """Compile `source`, once per process.

    Raises:
        ExpressionError: it is too long, too deep, loops over a list, or is not CEL.

    """
    return Expression(source)


def without_texts(source: str) -> str:
    """The source with blanks for strings and comments, everything else in its place."""
    return _STRING_OR_COMMENT.sub(lambda found: " " * len(found[0]), source)


def _refuse_harmful(source: str) -> None:
    if len(source) > MAX_CHARACTERS:
        raise ExpressionError(f"{len(source)} characters are more than the {MAX_CHARACTERS} an expression may have")
    if "\\" in source or '"""' in source or "'''" in source:
        raise ExpressionError("backslashes and triple quotes are not taken in expressions")
    # A text is something, a comment is nothing: what is before and after it may belong together.
    code = _STRING_OR_COMMENT.sub(lambda found: " " if found[0].startswith("//") else "''", source)
    if macro := _COMPREHENSION.search(code):
        raise ExpressionError(f"`{macro[1]}` loops over a list, which expressions may not")
    if _nesting(code) > MAX_NESTING or _OPERATOR_RUN.search(code):
        raise ExpressionError(f"it nests deeper than {MAX_NESTING} levels")


def _nesting(code: str) -> int:
    """The deepest level of brackets, plus one for every conditional: each nests in the one before it."""
    depth = deepest = 0
    for character in code:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest + code.count("?")


def _reason(error: ValueError) -> str:
    """The parser's own complaint, without the echo of the whole source around it."""
    complaints = _COMPLAINT.findall(str(error))
    if not complaints or "'<EOF>'" in complaints[-1]:
        return "it ends too early"
    return str(complaints[-1].partition(" expecting ")[0])
