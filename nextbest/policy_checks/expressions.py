"""Expressions: they compile, name what there is, and give what is asked for whatever the features are.

Belongs here: rules, amounts, formulas, and defaults of features. Does not belong here: what an expression may look like
(`nextbest.expressions`), or whether rules leave anybody (`nextbest.policy_checks.reach`).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from nextbest.expressions import Expression, ExpressionError, compile_expression, evaluation_context
from nextbest.features import RuleFeature, rule_values
from nextbest.findings import Place, Problem
from nextbest.policy_checks.live import to_declare
from nextbest.policy_checks.logic import Kind, leaves
from nextbest.policy_checks.subject import Subject, meant
from nextbest.policy_document import ActionDocument, FormulaDocument
from nextbest.records import Attribute

TIERS: Final = ("eligibility", "applicability", "suitability")
FORMULA: Final = {
    name: RuleFeature(name=name, default=default)
    for name, default in {"propensity": 0.5, "uplift": 0.5, "value": 1.0, "lever": 1.0, "cost": 0.0}.items()
}
"""What a formula may name beside the features."""

_TRIED: Final[tuple[dict[str, Attribute], ...]] = (
    {"number": 0.0, "boolean": False, "text": ""},
    {"number": 1.0, "boolean": True, "text": "x"},
)
"""Values beside the defaults, by kind: what fails with all of them is a mistake of type."""

_Features = Mapping[str, RuleFeature]


def defaults(subject: Subject) -> Iterator[Problem]:
    """What stands in for a missing feature is of its kind."""
    for index, feature in enumerate(subject.policy.features.features):
        declared = RuleFeature(name=feature.name, kind=feature.kind)
        if feature.default is not None and not declared.takes(feature.default):
            message = f"the default of `{feature.name}` is not a {feature.kind}"
            yield Problem(("features", "features", index, "default"), message, "policy-default")


def rules(subject: Subject) -> Iterator[Problem]:
    """Every rule of every action answers true or false."""
    for index, action in enumerate(subject.actions):
        for place, source in rule_places(action, index):
            yield from _problem(subject, place, source, subject.features, "condition")


def rule_places(action: ActionDocument, index: int) -> Iterator[tuple[Place, str]]:
    """The rules of an action, tier by tier, each with its place."""
    for tier in TIERS:
        for position, source in enumerate(getattr(action, tier)):
            yield ("actions", "actions", index, tier, position), source


def amounts(subject: Subject) -> Iterator[Problem]:
    """Value and cost are numbers, and a cost is nothing that is earned."""
    for index, action in enumerate(subject.actions):
        for name, amount in (("value", action.value), ("cost", action.cost)):
            place = ("actions", "actions", index, name)
            if isinstance(amount, str):
                found = list(_problem(subject, place, amount, subject.features, "value"))
                yield from found
                amount = 0.0 if found or not _known(subject, amount) else _on_defaults(amount, subject.features)  # noqa: PLW2901
            if name == "cost" and amount < 0.0:
                message = f"a cost of {amount:g} is below 0: what is earned belongs to `value`"
                yield Problem(place, message, "policy-amount")


def formulas(subject: Subject) -> Iterator[Problem]:
    """A formula of priority gives a number, of the policy as of those on trial beside it."""
    found: list[tuple[Place, FormulaDocument | str | None]] = [
        (("arbitration", "formula"), subject.policy.arbitration.formula),
        *(((*place, "changes", "formula"), each.changes.formula) for place, each in subject.variants),
    ]
    sources = [(place, formula) for place, formula in found if isinstance(formula, str)]
    for place, source in sources:
        yield from _problem(subject, place, source, {**subject.features, **FORMULA}, "value")
    if sources:
        for index, feature in enumerate(subject.policy.features.features):
            if feature.name in FORMULA:
                message = f"a formula has a `{feature.name}` of its own: give the feature another name"
                yield Problem(("features", "features", index, "name"), message, "policy-duplicate")


def _problem(subject: Subject, place: Place, source: str, features: _Features, kind: Kind) -> Iterator[Problem]:
    try:
        expression = compile_expression(source)
    except ExpressionError as error:
        yield Problem(place, f"`{source}`: {error}", "policy-expression")
        return
    unknown = sorted(expression.variables - features.keys() - subject.lost)
    for name in unknown:
        instead = to_declare(subject, name) or _meant(name, features)
        yield Problem(place, f"`{source}`: unknown feature `{name}`{instead}", "policy-unknown-name")
    if not unknown and _known(subject, source) and (message := _mistake(expression, features, kind)):
        yield Problem(place, f"`{source}`: {message}", "policy-expression")


def _meant(name: str, features: Collection[str]) -> str:
    near = meant(name, features)
    return near if near.endswith("?") else ": features.yaml has the known ones"


def _known(subject: Subject, source: str) -> bool:
    """Whether none of the features that an expression names had to be left out."""
    return not (compile_expression(source).variables & subject.lost - subject.features.keys())


def _on_defaults(source: str, features: _Features) -> float:
    expression = compile_expression(source)
    return expression.number(evaluation_context(_values(expression, features, {})))


def _mistake(expression: Expression, features: _Features, kind: Kind) -> str:
    """What is wrong with an expression: as a whole on the defaults, or with a part of it on whatever there may be.

    A part that `&&`, `||` or `? :` skips on the defaults is an error that only some customers would see.
    """
    try:
        _answer(expression, kind, _values(expression, features, {}))
    except ExpressionError as error:
        return str(error)
    for part, part_kind in leaves(expression.source, kind):
        try:
            leaf = compile_expression(part)
        except ExpressionError:  # the whole compiles, so this is no part of it but a limit of reading it
            continue
        errors = [_failure(leaf, part_kind, _values(leaf, features, tried)) for tried in ({}, *_TRIED)]
        if all(errors):
            return f"`{part}`: {errors[0]}"
    return ""


def _failure(expression: Expression, kind: Kind, values: Mapping[str, Attribute]) -> str:
    try:
        _answer(expression, kind, values)
    except ExpressionError as error:
        return str(error)
    return ""


def _answer(expression: Expression, kind: Kind, values: Mapping[str, Attribute]) -> None:
    context = evaluation_context(values)
    if kind == "condition":
        expression.holds(context)
    else:
        expression.number(context)


def _values(expression: Expression, features: _Features, tried: Mapping[str, Attribute]) -> dict[str, Attribute]:
    used = [features[name] for name in expression.variables]
    given = {feature.name: tried[feature.kind] for feature in used if feature.kind in tried}
    return rule_values(used, given, given)
