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
from nextbest.policy import Action, Placement
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
        self._engagement: dict[int, Verdict] = {}
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
        self._has_switches = bool(self._is_control or self._held_back or snapshot.pauses)

    def verdicts(self, placement: Placement) -> list[Verdict]:
        """By treatment of the placement the first stage that stops it, in the order of the design."""
        refused = {purposes: verdict for purposes in placement.purposes if (verdict := self._consent(purposes))}
        stopped, engagement = self._contact_policy(placement), self._engagement
        found: list[Verdict] = []
        for treatment in placement.treatments:
            number = treatment.action.number
            if number in engagement:
                verdict = engagement[number]
            else:
                verdict = engagement[number] = self._engaged(treatment.action)
            if refused or stopped:
                verdict = refused.get(treatment.purposes) or verdict or stopped.get(treatment.key)
            found.append(verdict)
        return found

    def _consent(self, purposes: Sequence[str]) -> Verdict:
        for purpose in purposes:
            said = self._snapshot.consents.get(purpose)
            if said == "withdrawn":
                return "consent", f"{purpose}: withdrawn"
            if said is None and self._policy.regimes[purpose] == "opt_in":
                return "consent", f"{purpose}: not granted"
        return None

    def _engaged(self, action: Action) -> Verdict:
        """What stops the action wherever it would be shown."""
        if self._has_switches and (stopped := self._switched_off(action)):
            return stopped
        now, answers = self._situation.now, self._answers
        if action.opens and now < action.opens:
            return "schedule", f"starts {action.opens:%Y-%m-%d %H:%M} UTC"
        if action.closes and now >= action.closes:
            return "schedule", f"ended {action.closes:%Y-%m-%d %H:%M} UTC"
        for tier, rule in action.rules:
            reason = answers.get(rule.source)
            if reason is None:
                reason = answers[rule.source] = _answer(rule, self.context)
            if reason:
                return tier, reason
        return (self._sequence(action) if action.follows else None) or (
            self._reach(action) if action.starting else None
        )

    def _switched_off(self, action: Action) -> Verdict:
        if self._is_control and action.action_class == "standard":
            return "experiment", f"{self._policy.experiments.control}: {CONTROL}"
        if action.id in self._held_back:
            return "experiment", f"{self._held_back[action.id]}: not rolled out to this customer"
        return ("pause", "paused") if action.id in self._snapshot.pauses else None

    def _sequence(self, action: Action) -> Verdict:
        for follow in action.follows:
            if not self._history.has(follow):
                hours = follow.window_seconds // 3_600
                return "contact_policy", f"follows {follow.action}: no {follow.event} in {hours} h"
        return None

    def _reach(self, action: Action) -> Verdict:
        """A new action reaches few customers at first, always the same ones, and more with its impressions."""
        ramp, starting = self._policy.arbitration.ramp, action.starting
        is_new = action.action_class == "standard" and action.id not in self._situation.known_actions
        if ramp is None or starting is None or not is_new:
            return None
        seen = self._snapshot.usage.get(starting.reach.counter(self._situation.now), _NOTHING_USED).seen
        share = ramp.share(seen)
        salt, customer_id = self._policy.arbitration.salt, self._situation.request.customer_id or ""
        if uniforms(1, "reach", salt, action.id, customer_id)[0] < share:
            return None
        return "reach", f"new: reaches {100.0 * share:.0f} % of customers after {seen} impressions"

    def _contact_policy(self, placement: Placement) -> dict[str, Verdict]:
        """By key what contact rules stop; of several reasons the first in this order."""
        stopped: dict[str, Verdict] = {}
        for bound in self._tally.full(placement.caps):
            reason = f"{bound.cap.rule}: {self._tally.usage(bound.cap)} of {bound.cap.limit}"
            stopped |= dict.fromkeys(bound.keys, ("contact_policy", reason))
        for bound in self._history.full(placement.event_caps):
            reason = f"{bound.cap.rule}: {self._history.usage(bound.cap)} of {bound.cap.limit}"
            stopped |= dict.fromkeys(bound.keys - stopped.keys(), ("contact_policy", reason))
        if placement.has_limits:
            for option in (treatment.option for treatment in placement.treatments):
                if option.limits and (spent := self._budgets.full(option.limits)):
                    stopped.setdefault(option.key, ("contact_policy", f"{spent.name}: used up"))
        quiet_now = quiet(placement, self._situation)
        if self._repeated or self._history.suppressed or quiet_now:
            for treatment in placement.treatments:
                is_bound = treatment.action.is_bound
                reason = (
                    ("in an earlier decision already" if treatment.action.id in self._repeated else "")
                    or (self._paused(placement, treatment.action) if is_bound else "")
                    or (quiet_now if is_bound else "")
                )
                if reason:
                    stopped.setdefault(treatment.key, ("contact_policy", reason))
        return stopped

    def _paused(self, placement: Placement, action: Action) -> str:
        """Which suppression binds the action here."""
        members: tuple[Member, ...] = (
            ("action", action.id),
            ("group", action.group),
            ("channel", placement.channel),
            ("all", ""),
        )
        suppressed = self._history.suppressed
        return next((suppressed[member] for member in members if member in suppressed), "")


def _answer(rule: Expression, context: cel.Context) -> str:
    """Empty when the rule holds, else the reason; a rule that fails drops the action rather than let it through."""
    try:
        return "" if rule.holds(context) else f"not so: {rule.source}"
    except ExpressionError as error:
        return f"failed: {rule.source}: {error}"
