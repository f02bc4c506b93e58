"""What a treatment shows, in Liquid: refused when it could do harm, compiled once, then filled in for one customer.

Belongs here: which of Liquid's tags and filters there are, how much a template may do, and filling one in. Does not
belong here: which variables somebody supplies (`nextbest.policy_checks.content`), or escaping for HTML or another
format: a text goes to many channels, and each escapes what it shows as it needs to.
"""

import functools
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import liquid
from liquid.exceptions import (
    LiquidError,
    LiquidSyntaxError,
    ResourceLimitError,
    UndefinedError,
)

from nextbest.errors import NextbestError
from nextbest.records import Attribute

MAX_SOURCE: Final = 10_000
"""Characters of a template."""
MAX_OUTPUT: Final = 20_000
"""Bytes in UTF-8 of what it yields, and characters of any value on the way."""
MAX_NESTING: Final = 16
"""Levels of `if`, `unless` and `case`."""
MAX_BLANKS: Final = 200
"""Blanks in a row, in a text with tags."""
MAX_ASSIGNED: Final = 100_000
"""Bytes of all that `assign` keeps."""
_MAX_NUMBER: Final = 1e15
"""Up to here a float tells every whole number from the next; beyond, whole numbers of Python grow without end."""

# Neither loops nor other files nor the clock: a text depends on its values alone, and takes no longer than it is long.
TAGS: Final = frozenset({"if", "unless", "case", "assign"})
FILTERS: Final = frozenset(
    {
        *("abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "times"),
        *("append", "capitalize", "default", "downcase", "lstrip", "prepend", "remove", "rstrip", "size", "strip"),
        *("truncate", "truncatewords", "upcase", "url_encode"),
    }
)

_INTERNAL: Final = frozenset({"content", "output", "illegal", "#"})
"""Liquid's own names for text, `{{ … }}`, unknown tags and remarks."""

_CLOSING: Final = {"{{": "}}", "{%": "%}"}
_BLANKS: Final = re.compile(rf"\s{{{MAX_BLANKS + 1}}}")
_BRACE: Final = re.compile(r"\{\{|\{%|\}\}|%\}")
_SEGMENTS: Final = 2
_TOO_DEEP: Final = f"it nests deeper than {MAX_NESTING} levels: make it simpler"

Values = Mapping[str, Mapping[str, Attribute]]
"""What a template can name: `customer`, `context` and `action`, each with its attributes."""


class TemplateError(NextbestError):
    """A template that cannot be used, or that failed on the values it was given; the message says what to change."""


class _Number(float):
    """A number as people write it: 3 where it is whole, and 0.3 where sums of fractions left 0.30000000000000004."""

    def __str__(self) -> str:
        return f"{self:.15g}"


class Template:
    """A compiled text. Two with the same source are the same one (`compile_template` keeps them)."""

    __slots__ = ("_bound", "source", "variables")

    def __init__(self, source: str) -> None:
        self.source = source
        self._bound: liquid.BoundTemplate | None = None
        self.variables: frozenset[str] = frozenset()
        """Every path that is named, such as `customer.baskets_28d`."""
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"{len(source)} characters are more than the {MAX_SOURCE} a text may have: shorten it")
        if not is_plain(source):
            _refuse_slow(source)
            self._bound = _parse(source)
            self.variables = frozenset(_paths(self._bound))

    def render(self, values: Values) -> str:
        """The text with `values` in it; one without variables is returned as it is.

        Raises:
            TemplateError: a value is missing, cannot be used as it is, or what comes out is too long.

        """
        if self._bound is None:
            return self.source
        given = {name: {key: _shown(value) for key, value in each.items()} for name, each in values.items()}
        try:
            return self._bound.render(given)
        except TemplateError:
            raise
        except LiquidError as error:
            raise TemplateError(_reason(error)) from error
        except Exception as error:  # a filter that a value does not fit: Python's own errors come through
            raise TemplateError(f"it cannot be filled in: {error}") from error


def is_plain(source: str) -> bool:
    """Whether a text has nothing to fill in."""
    return "{{" not in source and "{%" not in source


@lru_cache(maxsize=4_096)
def compile_template(source: str) -> Template:
    """Compile `source`, once per process.

    Raises:
        TemplateError: it is too long or too deep, loops, uses what there is not, or is not Liquid.

    """
    return Template(source)


def _shown(value: object) -> object:
    return _Number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _bounded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result stays small: each may grow what it is given, and a text can have a thousand of them."""

    @functools.wraps(original)
    def bounded(*arguments: Any, **options: Any) -> object:
        result = original(*arguments, **options)
        if isinstance(result, str) and len(result) > MAX_OUTPUT:
            raise TemplateError(f"`{name}` makes more than {MAX_OUTPUT} characters: shorten the text")
        if isinstance(result, int | float) and not abs(result) <= _MAX_NUMBER:
            raise TemplateError(f"`{name}` makes a number beyond {_MAX_NUMBER:.0e}: use smaller numbers")
        return _shown(result) if isinstance(result, float) else result

    return bounded


class _Environment(liquid.Environment):
    block_nesting_limit = MAX_NESTING
    context_depth_limit = MAX_NESTING
    loop_iteration_limit = 1
    local_namespace_limit = MAX_ASSIGNED
    output_stream_limit = MAX_OUTPUT

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.tags = {name: tag for name, tag in self.tags.items() if name in TAGS | _INTERNAL}
        self.filters = {name: _bounded(name, self.filters[name]) for name in sorted(FILTERS)}


@lru_cache(maxsize=1)
def _environment() -> liquid.Environment:
    return _Environment(undefined=liquid.StrictUndefined)


def _refuse_slow(source: str) -> None:
    """Refuse what takes Liquid's lexer seconds: openings without an end, and long runs of blanks."""
    if _BLANKS.search(source):
        raise TemplateError(f"more than {MAX_BLANKS} blanks in a row: take them out")
    closing = ""
    for brace in _BRACE.findall(source):
        if brace == closing:
            closing = ""
        elif brace in _CLOSING:
            if closing:
                break
            closing = _CLOSING[brace]
    if closing:
        raise TemplateError(f"not Liquid: a tag is opened and not closed: write `{closing}` at its end")


def _parse(source: str) -> liquid.BoundTemplate:
    try:
        return _environment().from_string(source)
    except LiquidError as error:
        raise TemplateError(_reason(error)) from error


def _paths(template: liquid.BoundTemplate) -> list[str]:
    """The paths that are named: all of one form, since Liquid's own `now`, say, would bring the clock in.

    Filters are looked at on the way: Liquid would miss an unknown one only when it comes to it.
    """
    try:
        used = template.analyze()
    except (LiquidError, RecursionError) as error:
        raise TemplateError(_TOO_DEEP) from error
    if unknown := sorted(used.filters.keys() - FILTERS):
        raise TemplateError(f"unknown filter `{unknown[0]}`: there are {', '.join(sorted(FILTERS))}")
    found = [variable for each in used.globals.values() for variable in each]
    for variable in found:
        if len(variable.segments) != _SEGMENTS or not all(isinstance(each, str) for each in variable.segments):
            raise TemplateError(f"`{variable}` is no variable: write customer.FEATURE, context.FEATURE or action.NAME")
    return [".".join(map(str, variable.segments)) for variable in found]


def _reason(error: LiquidError) -> str:
    """What Liquid says, with what there is instead where that is the answer."""
    if isinstance(error.__cause__, RecursionError):
        return _TOO_DEEP
    hint = ""
    match error:
        case UndefinedError():
            hint = ": give it a value, or take it out"
        case ResourceLimitError():
            hint = ": make it shorter and simpler"
        case LiquidSyntaxError() if "unexpected tag" in str(error.message):
            hint = f": there are {', '.join(sorted(TAGS))}"
        case LiquidSyntaxError():
            return f"not Liquid: {error.message}"
    return f"{error.message}{hint}"
