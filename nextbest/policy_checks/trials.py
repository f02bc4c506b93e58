"""Exploration, learning and experiments: parameters that do something, and shares that add up.

Belongs here: arbitration.yaml and experiments.yaml. Does not belong here: formulas in CEL
(`nextbest.policy_checks.expressions`), or names (`nextbest.policy_checks.names`).
"""

from collections.abc import Iterator
from typing import Final

from nextbest.findings import Place, Problem
from nextbest.policy_checks.live import to_declare
from nextbest.policy_checks.subject import Subject
from nextbest.policy_document import ChangesDocument, ExplorationDocument, FormulaDocument, RolloutDocument

_OF_STRATEGY: Final = {"epsilon": "epsilon", "gamma": "inverse_gap"}
_ALL: Final = 100.0


def exploration(subject: Subject) -> Iterator[Problem]:
    """A way to explore has the parameters it uses, and no other."""
    yield from _exploration(("arbitration", "exploration"), subject.policy.arbitration.exploration)


def changes(subject: Subject) -> Iterator[Problem]:
    """A policy on trial does something otherwise, and explores as it says."""
    for place, each in subject.variants:
        if each.changes.exploration:
            yield from _exploration((*place, "changes", "exploration"), each.changes.exploration)
        if each.changes == ChangesDocument():
            message = f"`{each.id}` changes nothing: it is the policy itself"
            yield Problem((*place, "changes"), message, "policy-experiment", "warning")


def _exploration(place: Place, chosen: ExplorationDocument) -> Iterator[Problem]:
    given = chosen.model_fields_set
    for parameter, strategy in _OF_STRATEGY.items():
        if parameter in given and chosen.strategy != strategy:
            message = f"`{parameter}` belongs to the strategy {strategy}, and {chosen.strategy} makes no use of it"
            yield Problem((*place, parameter), f"{message}: take it out, or change `strategy`", "policy-exploration")
    if chosen.strategy == "epsilon" and chosen.epsilon == 0.0:
        message = (
            "epsilon 0 tries nothing: write the share to draw evenly, such as `epsilon: 0.1`, or `strategy: greedy`"
        )
        yield Problem((*place, "epsilon"), message, "policy-exploration")
    if chosen.strategy == "greedy" and chosen.floor > 0.0:
        message = "greedy always takes the best, and a floor gives every other a chance: take one of the two out"
        yield Problem((*place, "floor"), message, "policy-exploration")


def thompson(subject: Subject) -> Iterator[Problem]:
    """Thompson sampling has the propensity in its priority, times something less something."""
    own = subject.policy.arbitration
    yield from _thompson(("arbitration",), own.exploration, own.formula)
    for place, each in subject.variants:
        changes = each.changes
        if changes.exploration or changes.formula:
            explored, formula = changes.exploration or own.exploration, changes.formula or own.formula
            yield from _thompson((*place, "changes"), explored, formula)


def _thompson(place: Place, chosen: ExplorationDocument, formula: FormulaDocument | str) -> Iterator[Problem]:
    uses_propensity = isinstance(formula, FormulaDocument) and formula.use_propensity
    if chosen.strategy == "thompson" and not uses_propensity:
        message = (
            "thompson goes by how unsure the propensity is, and a formula in CEL or without it leaves it nothing to go "
            "by: take another strategy, or the formula of switches with `use_propensity`"
        )
        yield Problem((*place, "exploration", "strategy"), message, "policy-exploration")


def uplift(subject: Subject) -> Iterator[Problem]:
    """What counts of the propensity is a part of something that counts."""
    formulas = [
        (("arbitration", "formula"), subject.policy.arbitration.formula),
        *(((*place, "changes", "formula"), each.changes.formula) for place, each in subject.variants),
    ]
    for place, formula in formulas:
        if isinstance(formula, FormulaDocument) and formula.use_uplift and not formula.use_propensity:
            message = (
                "`use_uplift` says which part of the propensity counts, and the propensity is switched off: switch "
                "`use_propensity` on, or take this out"
            )
            yield Problem((*place, "use_uplift"), message, "policy-formula")


def learning(subject: Subject) -> Iterator[Problem]:
    """What the correction of a model depends on are numbers that there are, each once; and some answer counts."""
    rewards = subject.policy.arbitration.learning.rewards
    if not (rewards.redemption or rewards.conversion or rewards.click):
        message = "no answer is worth anything: every action would be learned to be worth nothing"
        yield Problem(("arbitration", "learning", "rewards"), message, "policy-rewards", "warning")
    names = [feature.name for feature in subject.policy.arbitration.learning.features]
    for position, name in enumerate(names):
        place: Place = ("arbitration", "learning", "features", position, "name")
        if name not in subject.features and (instead := to_declare(subject, name)):
            yield Problem(place, f"unknown feature `{name}`{instead}", "policy-unknown-name")
        else:
            yield from subject.unknown(place, "feature", name, subject.features)
        if name in subject.features and subject.features[name].kind != "number":
            message = f"`{name}` is a {subject.features[name].kind}: models are corrected by numbers"
            yield Problem(place, message, "policy-feature")
        if name in names[:position]:
            yield Problem(place, f"`{name}` is there already", "policy-duplicate")


def shares(subject: Subject) -> Iterator[Problem]:
    """The shares of customers leave somebody to decide for."""
    file = subject.policy.experiments
    if file.control and file.control.percent >= _ALL:
        message = "with all customers in the control nothing is ever decided: write a share such as 5"
        yield Problem(("experiments", "control", "percent"), message, "policy-experiment")
    together = sum(each.percent for each in file.challengers)
    if together > _ALL:
        message = f"together the challengers have {together:g} per cent of the customers, more than there are"
        yield Problem(("experiments", "challengers"), message, "policy-experiment")
    rollouts: list[tuple[Place, RolloutDocument]] = [
        (("experiments", "rollouts", index), each) for index, each in enumerate(file.rollouts)
    ]
    for place, each in (*rollouts, *subject.variants):
        if each.percent == 0.0:
            message = f"`{each.id}` is at 0 per cent: it concerns nobody yet"
            yield Problem((*place, "percent"), message, "policy-experiment", "warning")
