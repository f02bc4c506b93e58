"""Screening: everything that can stop an action before it is scored, in the order of the design.

Belongs here: whether a treatment may be proposed to this customer now, and why not. Does not belong here: what it is
worth (`nextbest.scoring`), or the binding test of caps and limits (`nextbest.reservations`, in State's atomic step).
"""

from collections.abc import Iterator, Sequence

from nextbest.contact_rules import History, Member, quiet
from nextbest.experiments import CONTROL, OUT, in_control, side_of
from nextbest.expressions import evaluation_context
from nextbest.features import rule_values
from nextbest.hashing import uniform
from nextbest.policy import Action, Placement, Policy
from nextbest.records import Stage, Usage
from nextbest.reservations import Budgets, Tally
from nextbest.signals import by_key
from nextbest.situation import Situation

Verdict = tuple[Stage, str] | None
"""The stage that stopped a treatment and why; none when nothing did."""
Stopped = tuple[Action, tuple[Stage, str]]

_NOTHING_USED = Usage()


class Screening:
    """One customer's screening for one decision; what treatments share is found out once."""

    def __init__(self, situation: Situation) -> None:
        policy, snapshot, request, now = situation.policy, situation.snapshot, situation.request, situation.now
        self._policy = policy
        self._snapshot = snapshot
        self._situation = situation
        self.context = evaluation_context(rule_values(policy.features, situation.features, situation.context))
        """The features as expressions see them."""
        self._tally = Tally(snapshot.contacts, now, request.decision_id)
        self._budgets = Budgets(snapshot.usage, now)
        self._history = History(policy, snapshot, now)
        self._repeated = {c.action for c in snapshot.contacts if c.decision_id in request.options.dedup_with}
        self._stopped: dict[int, Verdict] = {}
        for stage in (
            self._experiments,
            self._pauses,
            self._schedule,
            self._stock,
            self._rules,
            self._sequences,
            self._reach,
        ):
            for action, verdict in stage():
                self._stopped.setdefault(action.number, verdict)

    def verdicts(self, placement: Placement) -> list[Verdict]:
        """By treatment of the placement the first stage that stops it, in the order of the design."""
        refused = {purposes: verdict for purposes in placement.purposes if (verdict := self._consent(purposes))}
        contact = self._contact_policy(placement)
        found = [self._stopped.get(number) for number in placement.rows.tolist()]
        if refused or contact:
            return [
                refused.get(treatment.purposes) or verdict or contact.get(treatment.key)
                for treatment, verdict in zip(placement.treatments, found, strict=True)
            ]
        return found

    def _consent(self, purposes: Sequence[str]) -> Verdict:
        for purpose in purposes:
            said = self._snapshot.consents.get(purpose)
            if not self._policy.allows(purpose, said):
                return "consent", f"{purpose}: {said or 'not granted'}"
        return None

    def _experiments(self) -> Iterator[Stopped]:
        """The universal control gets nothing standard; what is being rolled out is kept from those who are not in."""
        policy, arms = self._policy, self._situation.arms
        if in_control(policy, arms):
            for action in policy.roll:
                if action.action_class == "standard":
                    yield action, ("experiment", f"{policy.experiments.control}: {CONTROL}")
        for rollout in policy.experiments.rollouts:
            if side_of(arms, rollout.id) == OUT:
                for name in rollout.actions:
                    yield policy.actions[name], ("experiment", f"{rollout.id}: not rolled out to this customer")

    def _pauses(self) -> Iterator[Stopped]:
        for name in self._snapshot.pauses:
            if name in self._policy.actions:
                yield self._policy.actions[name], ("pause", "paused")

    def _schedule(self) -> Iterator[Stopped]:
        for action, reason in self._policy.timetable.closed(self._situation.now):
            yield action, ("schedule", reason)

    def _stock(self) -> Iterator[Stopped]:
        """What there is too little of; what is not known stops nothing."""
        if not self._snapshot.signals:
            return
        signals = by_key(self._snapshot.signals)
        for action, stock in self._policy.stocked:
            if said := stock.lacking(signals, self._situation.now):
                reason = f"out of stock: {said.value:g} of at least {stock.at_least:g}"
                yield action, ("stock", f"{reason} since {said.at:%Y-%m-%d %H:%M:%S} UTC")

    def _rules(self) -> Iterator[Stopped]:
        """The first rule that does not hold, for each action that has one."""
        failures = self._policy.rules.failures(self.context)
        for action in {action for source in failures for action in self._policy.users[source]}:
            tier, rule = next((tier, rule) for tier, rule in action.rules if rule.source in failures)
            yield action, (tier, failures[rule.source])

    def _sequences(self) -> Iterator[Stopped]:
        for action in self._policy.followers:
            missing = next((follow for follow in action.follows if not self._history.has(follow)), None)
            if missing:
                hours = missing.window_seconds // 3_600
                yield action, ("contact_policy", f"follows {missing.action}: no {missing.event} in {hours} h")

    def _reach(self) -> Iterator[Stopped]:
        """A new action reaches few customers at first, always the same ones, and more with its impressions."""
        ramp, situation = self._policy.arbitration.ramp, self._situation
        if ramp is None:
            return
        for action in self._policy.startings:
            if action.starting is None or action.action_class != "standard" or action.id in situation.known_actions:
                continue
            seen = self._snapshot.usage.get(action.starting.reach.counter(situation.now), _NOTHING_USED).seen
            share = ramp.share(seen)
            if reach_position(self._policy, action.id, situation.request.customer_id or "") >= share:
                reason = f"new: reaches {100.0 * share:.0f} % of customers after {seen} impressions"
                yield action, ("reach", reason)

    def _contact_policy(self, placement: Placement) -> dict[str, Verdict]:
        """By key what contact rules stop; of several reasons the first in this order."""
        stopped: dict[str, Verdict] = {}
        for bound in self._tally.full(placement.caps):
            reason = f"{bound.cap.rule}: {self._tally.usage(bound.cap)} of {bound.cap.limit}"
            stopped |= dict.fromkeys(bound.keys, ("contact_policy", reason))
        for bound in self._history.full(placement.event_caps):
            reason = f"{bound.cap.rule}: {self._history.usage(bound.cap)} of {bound.cap.limit}"
            stopped |= dict.fromkeys(bound.keys - stopped.keys(), ("contact_policy", reason))
        for option in placement.limited:
            if spent := self._budgets.full(option.limits):
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


def reach_position(policy: Policy, action_id: str, customer_id: str) -> float:
    """Where in [0, 1) a customer is on the ramp of a new action."""
    return uniform("reach", policy.arbitration.salt, action_id, customer_id)
