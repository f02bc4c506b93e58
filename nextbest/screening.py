"""Screening: everything that can stop an action before it is scored, in the order of the design.

Belongs here: whether a treatment may be proposed to this customer now, and why not. Does not belong here: what it is
worth (`nextbest.scoring`), or the binding test of caps and limits (`nextbest.reservations`, in State's atomic step).
"""

from collections.abc import Sequence

import cel

from nextbest.contact_rules import History, Member, quiet
from nextbest.experiments import CONTROL, OUT, in_control, side_of
from nextbest.expressions import Expression, ExpressionError, evaluation_context
from nextbest.features import rule_values
from nextbest.hashing import uniforms
from nextbest.policy import Action, Placement, Treatment
from nextbest.records import Stage, Usage
from nextbest.reservations import Budgets, Tally
from nextbest.situation import Situation

Verdict = tuple[Stage, str] | None
"""The stage that stopped a treatment and why; none when nothing did."""

_NOTHING_USED = Usage()


class Screening:
    """One customer's screening for one decision; what treatments share is found out once."""

    def __init__(self, situation: Situation) -> None:
        policy, snapshot, request, now = situation.policy, situation.snapshot, situation.request, situation.now
        self._policy = policy
        self._snapshot = snapshot
        self._situation = situation
        self.context = evaluation_context(rule_values(policy.features, situation.features, request.context))
        """The features as expressions see them."""
        self._answers: dict[str, str] = {}
        self._engagement: dict[str, Verdict] = {}
        self._quiet: dict[str, str] = {}
        self._tally = Tally(snapshot.contacts, now, request.decision_id)
        self._budgets = Budgets(snapshot.usage, now)
        self._history = History(policy, snapshot, now)
        self._repeated = {c.action for c in snapshot.contacts if c.decision_id in request.options.dedup_with}
        self._is_control = in_control(policy, situation.arms)
        self._held_back = {
            action: rollout.id
            for rollout in policy.experiments.rollouts
            if side_of(situation.arms, rollout.id) == OUT
            for action in rollout.actions
        }

    def verdict(self, placement: Placement, treatment: Treatment) -> Verdict:
        """The first stage that stops `treatment`, in the order of the design."""
        action = treatment.action
        if action.id not in self._engagement:
            self._engagement[action.id] = self._experiment(action) or self._engagement_policy(action)
        return self._consent(treatment.purposes) or self._engagement[action.id] or self._contact(placement, treatment)

    def _consent(self, purposes: Sequence[str]) -> Verdict:
        for purpose in purposes:
            said = self._snapshot.consents.get(purpose)
            if said == "withdrawn":
                return "consent", f"{purpose}: withdrawn"
            if said is None and self._policy.regimes[purpose] == "opt_in":
                return "consent", f"{purpose}: not granted"
        return None

    def _experiment(self, action: Action) -> Verdict:
        if self._is_control and action.action_class == "standard":
            return "experiment", f"{self._policy.experiments.control}: {CONTROL}"
        if action.id in self._held_back:
            return "experiment", f"{self._held_back[action.id]}: not rolled out to this customer"
        return None

    def _engagement_policy(self, action: Action) -> Verdict:
        if action.id in self._snapshot.pauses:
            return "pause", "paused"
        if action.opens and self._situation.now < action.opens:
            return "schedule", f"starts {action.opens:%Y-%m-%d %H:%M %Z}"
        if action.closes and self._situation.now >= action.closes:
            return "schedule", f"ended {action.closes:%Y-%m-%d %H:%M %Z}"
        for tier, rule in action.rules:
            source = rule.source
            if source not in self._answers:
                self._answers[source] = _answer(rule, self.context)
            if reason := self._answers[source]:
                return tier, reason
        return (self._sequence(action) if action.follows else None) or (
            self._reach(action) if action.starting else None
        )

    def _sequence(self, action: Action) -> Verdict:
        missing = next((follow for follow in action.follows if not self._history.has(follow)), None)
        if missing is None:
            return None
        return "contact_policy", f"follows {missing.action}: no {missing.event} in {missing.window_seconds // 3_600} h"

    def _reach(self, action: Action) -> Verdict:
        """A new action reaches few customers at first, always the same ones, and more with its impressions."""
        ramp, starting = self._policy.arbitration.ramp, action.starting
        if ramp is None or starting is None or action.id in self._situation.known_actions:
            return None
        seen = self._snapshot.usage.get(starting.reach.counter(self._situation.now), _NOTHING_USED).seen
        share = ramp.share(seen)
        salt = self._policy.arbitration.salt
        if uniforms(1, "reach", salt, action.id, self._situation.request.customer_id or "")[0] < share:
            return None
        return "reach", f"new: reaches {100.0 * share:.0f} % of customers after {seen} impressions"

    def _contact(self, placement: Placement, treatment: Treatment) -> Verdict:
        action, option = treatment.action, treatment.option
        if action.id in self._repeated:
            return "contact_policy", "in an earlier decision already"
        if full := self._tally.full(option.caps):
            return "contact_policy", f"{full.rule}: {self._tally.usage(full)} of {full.limit}"
        if over := self._history.full(treatment.event_caps):
            return "contact_policy", f"{over.rule}: {self._history.usage(over)} of {over.limit}"
        if option.limits and (spent := self._budgets.full(option.limits)):
            return "contact_policy", f"{spent.name}: used up"
        if action.is_bound:
            reason = self._suppressed(placement, action) or self._quiet_now(placement)
            return ("contact_policy", reason) if reason else None
        return None

    def _suppressed(self, placement: Placement, action: Action) -> str:
        suppressed = self._history.suppressed
        if not suppressed:
            return ""
        members: tuple[Member, ...] = (
            ("action", action.id),
            ("group", action.group),
            ("channel", placement.channel),
            ("all", ""),
        )
        return next((suppressed[member] for member in members if member in suppressed), "")

    def _quiet_now(self, placement: Placement) -> str:
        if placement.channel not in self._quiet:
            self._quiet[placement.channel] = quiet(placement, self._situation)
        return self._quiet[placement.channel]


def _answer(rule: Expression, context: cel.Context) -> str:
    """Empty when the rule holds, else the reason; a rule that fails drops the action rather than let it through."""
    try:
        return "" if rule.holds(context) else f"not so: {rule.source}"
    except ExpressionError as error:
        return f"failed: {rule.source}: {error}"
