"""Screening: consent, the three engagement tiers and the contact policy, before anything is scored.

Belongs here: whether a treatment may be proposed to this customer now, and why not. Does not belong here: what it is
worth (`nextbest.scoring`), or the binding test of caps (`nextbest.reservations`, inside State's atomic step).
"""

from collections.abc import Sequence
from datetime import datetime

import cel

from nextbest.expressions import Expression, ExpressionError, evaluation_context
from nextbest.features import rule_values
from nextbest.messages import Cap, Request
from nextbest.policy import Action, Policy, Treatment
from nextbest.records import Attribute, Snapshot, Stage
from nextbest.reservations import Tally

Verdict = tuple[Stage, str] | None
"""The stage that stopped a treatment and why; none when nothing did."""


class Screening:
    """One customer's screening for one decision; what treatments share is found out once."""

    def __init__(
        self,
        policy: Policy,
        request: Request,
        features: dict[str, Attribute],
        snapshot: Snapshot,
        now: datetime,
    ) -> None:
        self._policy = policy
        self._snapshot = snapshot
        self._context = evaluation_context(rule_values(policy.features, features, request.context))
        self._answers: dict[str, str] = {}
        self._engagement: dict[str, Verdict] = {}
        self._tally = Tally(snapshot.contacts, now, request.decision_id)

    def verdict(self, treatment: Treatment) -> Verdict:
        """The first stage that stops `treatment`, in the order of the design."""
        return (
            self._consent(treatment.purposes) or self._engaged(treatment.action) or self._contact_policy(treatment.caps)
        )

    def _consent(self, purposes: Sequence[str]) -> Verdict:
        for purpose in purposes:
            said = self._snapshot.consents.get(purpose)
            if said == "withdrawn":
                return "consent", f"{purpose}: withdrawn"
            if said is None and self._policy.regimes[purpose] == "opt_in":
                return "consent", f"{purpose}: not granted"
        return None

    def _engaged(self, action: Action) -> Verdict:
        if action.id not in self._engagement:
            self._engagement[action.id] = self._engagement_policy(action)
        return self._engagement[action.id]

    def _engagement_policy(self, action: Action) -> Verdict:
        if action.id in self._snapshot.pauses:
            return "pause", "paused"
        for tier, rule in action.rules:
            if rule.source not in self._answers:
                self._answers[rule.source] = _answer(rule, self._context)
            if reason := self._answers[rule.source]:
                return tier, reason
        return None

    def _contact_policy(self, caps: Sequence[Cap]) -> Verdict:
        full = next((cap for cap in caps if not self._tally.has_room(cap)), None)
        return None if full is None else ("contact_policy", f"{full.rule}: {self._tally.usage(full)} of {full.limit}")


def _answer(rule: Expression, context: cel.Context) -> str:
    """Empty when the rule holds, else the reason; a rule that fails drops the action rather than let it through."""
    try:
        return "" if rule.holds(context) else f"not so: {rule.source}"
    except ExpressionError as error:
        return f"failed: {rule.source}: {error}"
