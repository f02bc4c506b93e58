"""What pydantic finds wrong with a value, in words that say what to write.

Belongs here: one sentence per kind of mistake, and which of the mistakes of a union is the one that is meant. Does not
belong here: where in a file it is (`nextbest.policy_parts`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

from nextbest.findings import Place
from nextbest.policy_checks.subject import meant

_SHOWN: Final = 40
"""Characters of a wrong value that a message repeats."""
_PATTERNS: Final = {
    r"^[a-z][a-z0-9_]*$": "lower-case letters, digits and _, beginning with a letter, such as two_emails_a_week",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "a time of day, such as 21:30",
    r"^[A-Z]{3}$": "the ISO 4217 code of a currency, such as USD",
}
_SENTENCES: Final = {
    "int": "a whole number, such as 3",
    "float": "a number, such as 0.5",
    "string": "text; in quotes, if it looks like a number",
    "bool": "true or false",
    "tuple": "a list, each member after a dash",
    "dict": "fields, each as `name: value`",
    "model": "fields, each as `name: value`",
    "date": "a day such as 2026-03-31, or a moment with its zone such as 2026-03-31T18:00:00+02:00",
    "datetime": "a day such as 2026-03-31, or a moment with its zone such as 2026-03-31T18:00:00+02:00",
    "timezone": "a moment with its zone, such as 2026-03-31T18:00:00+02:00",
    "finite": "a finite number",
}
"""By the first word of pydantic's name for a mistake."""
_BOUNDS: Final = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "literal_error": "one of {expected}",
    "string_too_long": "at most {max_length} characters",
}
_AMOUNT: Final = {"float", "string"}


def sentence(errors: Sequence[Mapping[str, Any]], model: type[BaseModel] | None) -> str:
    """What is wrong at one place, where `model` says what can be there; a union has an error for each of its forms."""
    kinds = {str(error["type"]).partition("_")[0] for error in errors}
    # Where a form fits and only the value does not, its error is the one that is meant.
    error = min(errors, key=lambda each: str(each["type"]).endswith(("_type", "_parsing", "_inexact")))
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "missing":
        return _missing(str(error["loc"][-1]), model)
    if kind == "extra_forbidden":
        return f"there is no such field{meant(str(error['loc'][-1]), set(_fields(model)))}"
    if kind == "too_short":
        return "write at least one, or take the field out if it may be missing"
    if kind == "too_long":
        return f"write at most {context['max_length']}"
    if kinds == _AMOUNT and kind.endswith("_type"):
        wanted = "a number, or CEL over the features in quotes"
    elif kind == "string_pattern_mismatch":
        wanted = _PATTERNS.get(context["pattern"], "what the field's description says")
    elif kind == "string_too_short":
        wanted = "some text"
    elif kind in _BOUNDS:
        wanted = _BOUNDS[kind].format(**{key: _plain(value) for key, value in context.items()})
    else:
        wanted = _SENTENCES.get(kind.partition("_")[0], str(error["msg"]))
    return f"write {wanted}{_shown(error['input'])}"


def model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """The model of a part of a document; None for a part that has none."""
    current: type[BaseModel] | None = model
    for name in place:
        if isinstance(name, int):
            continue
        annotation = _fields(current).get(name)
        current = next(_models(annotation), None)
    return current


def _missing(name: str, model: type[BaseModel] | None) -> str:
    described = {field.alias or key: field.description for key, field in model.model_fields.items()} if model else {}
    return f"`{name}` is missing: write it ({described.get(name) or 'it has no default'})"


def _fields(model: type[BaseModel] | None) -> dict[str, Any]:
    """By the name in a file, what a field can hold."""
    return {field.alias or key: field.annotation for key, field in model.model_fields.items()} if model else {}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models among the forms a field can have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)


def _plain(value: object) -> object:
    """A bound as people write it: 1000000000, not 1000000000.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: object) -> str:
    if value is None:
        return ", since nothing is there"
    if isinstance(value, str | int | float | bool):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f", not `{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}`"
    return ""
