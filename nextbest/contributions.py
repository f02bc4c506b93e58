"""Contributions: what the priority of a chosen action is made of, and which features moved its propensity.

Belongs here: taking a record apart, with the models that it was made with. Does not belong here: the formula itself
(`nextbest.scoring`), or what would have to change (`nextbest.why_not`).
"""

from collections.abc import Iterator

import numpy as np

from nextbest.experiments import in_force
from nextbest.model_input import model_input
from nextbest.policy import Action, Arbitration, Policy
from nextbest.records import Candidate, DecisionRecord, score_of
from nextbest.situation import PROPENSITY, Models, has_propensity
from nextbest.wire import Contribution, FeatureContribution

FEATURES = 10
"""Most features that are named for an action."""


def contributions(record: DecisionRecord, policy: Policy, models: Models | None) -> Iterator[Contribution]:
    """The parts of whatever fills a slot and was scored."""
    policy = in_force(policy, record.arms, record.shadow)
    for placement in record.placements:
        for slot in placement.slots:
            score, action = score_of(record, placement.id, slot), policy.actions.get(slot.action)
            if score is not None and score.priority is not None and action is not None:
                moves = _moves(record, policy, action, models, placement.channel) if record.tier == "full" else ()
                yield Contribution(
                    placement=placement.id,
                    slot=slot.slot,
                    action=slot.action,
                    terms=_terms(score, policy.arbitration),
                    features=moves,
                )


def _terms(score: Candidate, formula: Arbitration) -> dict[str, float]:
    """P · V, less what is not caused, what the lever adds, and the cost; a formula of the policy's own is one term."""
    priority = score.priority or 0.0
    if formula.formula is not None:
        return {"formula": priority}
    p = score.p if formula.use_propensity and score.p is not None else 1.0
    value = score.value if formula.use_value and score.value is not None else 1.0
    lever = score.lever if formula.use_lever and score.lever is not None else 100.0
    caused = p if score.uplift is None else score.uplift
    terms = {"response": p * value}
    if score.uplift is not None:
        terms["uplift"] = (caused - p) * value
    terms["lever"] = caused * value * (lever / 100.0 - 1.0)
    return terms | {"cost": priority - sum(terms.values())}


def _moves(
    record: DecisionRecord, policy: Policy, action: Action, models: Models | None, channel: str
) -> tuple[FeatureContribution, ...]:
    """One row per feature, each with that feature at its default, beside the row as it was.

    Moves of one feature at a time need not add up: they are what each would change alone.
    """
    if models is None or not has_propensity(models):
        return ()
    model = models.model_set.models[PROPENSITY]
    if action.id not in model.action_features and any(each.origin == "action" for each in model.features):
        return ()  # a new action has what the policy starts it with
    now = record.occurred_at
    context = policy.context(record.context, record.snapshot.signals, now)
    row = model_input(model, [action], features=record.features, context=context, channel=channel, now=now)
    defaults = np.array([each.default for each in model.features], dtype=np.float32)
    others = np.flatnonzero(row[0] != defaults)
    rows = np.repeat(row, len(others) + 1, axis=0)
    rows[np.arange(1, len(rows)), others] = defaults[others]
    scores = models.score(PROPENSITY, rows)
    changes = scores[0] - scores[1:]
    first = np.argsort(-np.abs(changes), kind="stable")[:FEATURES]
    found = ((int(others[each]), float(changes[each])) for each in first if changes[each] != 0.0)
    return tuple(
        FeatureContribution(
            feature=model.features[column].name,
            value=float(row[0, column]),
            default=float(defaults[column]),
            change=change,
        )
        for column, change in found
    )
