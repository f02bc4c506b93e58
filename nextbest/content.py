"""Content: what a channel shows of a decision, with the customer's own words in it.

Belongs here: what templates are given, and what is shown where one fails. Does not belong here: the template language
(`nextbest.templates`), or what is decided.
"""

import logging
from collections.abc import Mapping

from nextbest.features import rule_values
from nextbest.policy import Policy
from nextbest.records import DO_NOTHING, Attribute, DecisionRecord, PlacementRecord, SlotRecord
from nextbest.templates import Template, TemplateError

_log = logging.getLogger(__name__)


def content_of(policy: Policy, record: DecisionRecord, filled: PlacementRecord, slot: SlotRecord) -> dict[str, str]:
    """What `slot` shows; empty for what the policy of today has no more.

    A template that fails is an error of the policy, not of the customer, who sees the placement's fallback.
    """
    placement = policy.placements.get(filled.id)
    if placement is None:
        return {}
    fallback = {name: template.source for name, template in placement.fallback_content.items()}
    if slot.action == DO_NOTHING:
        return fallback
    treatment = placement.by_key.get(slot.key)
    if treatment is None:
        return {}
    try:
        return _rendered(treatment.content, policy, record, treatment.action.words)
    except TemplateError as error:
        # What it says may quote what is known of the customer, which no log is to hold.
        kind = type(error.__cause__ or error).__name__
        _log.error("%s of decision %s shows the fallback: its content failed, %s", slot.key, record.decision_id, kind)
        return fallback


def _rendered(
    content: Mapping[str, Template], policy: Policy, record: DecisionRecord, words: Mapping[str, Attribute]
) -> dict[str, str]:
    named = {path.partition(".")[2] for template in content.values() for path in template.variables}
    declared = [policy.catalogue[name] for name in named if name in policy.catalogue]
    context = policy.context(record.context, record.snapshot.signals, record.occurred_at)
    values = {
        "action": words,
        "customer": rule_values([each for each in declared if each.origin == "customer"], record.features, {}),
        "context": rule_values([each for each in declared if each.origin == "context"], {}, context),
    }
    return {name: template.render(values) for name, template in content.items()}
