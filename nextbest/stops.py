"""Stops: for each way in which screening stops an action, the change that lifts it.

Belongs here: one function per stop, which names the change and makes it in a copy of the situation. Does not belong
here: what screening tests (`nextbest.screening`), the copies (`nextbest.counterfactual`), or whether the change was
enough (`nextbest.why_not`, which decides again).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import cel
import msgspec

from nextbest.contact_rules import History, Member, quiet
from nextbest.counterfactual import (
    Change,
    with_action,
    with_cap_limit,
    with_experiments,
    with_feature,
    with_limit,
    with_policy,
    with_snapshot,
    without_cap,
    without_quiet_hours,
)
from nextbest.experiments import CONTROL, OUT, TREATED, in_control, position, side_of
from nextbest.expressions import Expression, ExpressionError, evaluation_context
from nextbest.features import rule_values
from nextbest.messages import Cap
from nextbest.policy import Action, Placement, Rollout, Treatment
from nextbest.policy_compiler import millionths
from nextbest.records import Usage
from nextbest.reservations import Budgets, Tally
from nextbest.rule_changes import smallest_change
from nextbest.screening import reach_position
from nextbest.signals import by_key
from nextbest.situation import Situation

Lifted = tuple[Change, Situation]
"""A change, and the situation with it."""

_HOUR_S = 3_600
_MINUTES_OF_DAY = 24 * 60
_DAYS_OF_MONTH = 31
_SHARES = 1_000
"""Shares are named in tenths of a per cent."""


def lifted(situation: Situation, origin: Situation, placement: str, key: str) -> Lifted | None:
    """The change that lifts the first thing that stops a treatment; none where there is none to name.

    Args:
        situation: It is left as it is.
        origin: The situation that the changes so far were made in: a feature changes from what it is there.
        placement: Where the treatment is to be shown.
        key: Of the treatment.

    """
    place = situation.policy.placements[placement]
    stopped = _Stopped(situation, origin, place, next(each for each in place.treatments if each.key == key))
    return next(filter(None, stopped.lifts()), None)


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A treatment in a situation; each method lifts what it is named after, if that stops it."""

    situation: Situation
    origin: Situation
    placement: Placement
    treatment: Treatment

    def lifts(self) -> Iterator[Lifted | None]:
        """In the order of screening."""
        yield self._consent()
        yield self._experiment()
        yield self._pause()
        yield self._schedule()
        yield self._stock()
        yield self._rule()
        yield self._sequence()
        yield self._reach()
        yield self._cap()
        yield self._event_cap()
        yield self._limit()
        yield self._dedup()
        yield self._suppression()
        yield self._quiet_hours()

    @property
    def action(self) -> Action:
        return self.treatment.action

    @property
    def history(self) -> History:
        situation = self.situation
        return History(situation.policy, situation.snapshot, situation.now)

    def _consent(self) -> Lifted | None:
        consents, policy = self.situation.snapshot.consents, self.situation.policy
        for purpose in self.treatment.purposes:
            said = consents.get(purpose)
            if not policy.allows(purpose, said):
                change = Change(
                    "consent", purpose, said, "granted", f"the customer grants {purpose} ({said or 'not granted'})"
                )
                return change, with_snapshot(self.situation, consents={**consents, purpose: "granted"})
        return None

    def _experiment(self) -> Lifted | None:
        policy, arms = self.situation.policy, self.situation.arms
        if in_control(policy, arms) and self.action.action_class == "standard":
            control = policy.experiments.control
            text = f"the customer is not in the control of {control}, for whom nothing is chosen"
            return Change("experiment", control, CONTROL, TREATED, text), with_experiments(self.situation, control="")
        for rollout in policy.experiments.rollouts:
            if self.action.id in rollout.actions and side_of(arms, rollout.id) == OUT:
                return self._rollout(rollout)
        return None

    def _rollout(self, rollout: Rollout) -> Lifted:
        """The share of a rollout that reaches the customer's place in it."""
        experiments = self.situation.policy.experiments
        place = position(experiments.salt, rollout.id, self.situation.request.customer_id or "")
        share = math.ceil(place * _SHARES) / _SHARES
        before, after = rollout.share * 100.0, share * 100.0
        grown = tuple(replace(each, share=share) if each is rollout else each for each in experiments.rollouts)
        text = f"rollout {rollout.id} reaches this customer: {before:g} % → {after:.1f} %"
        return (
            Change("rollout", rollout.id, before, round(after, 1), text),
            with_experiments(self.situation, rollouts=grown),
        )

    def _pause(self) -> Lifted | None:
        name, pauses = self.action.id, self.situation.snapshot.pauses
        if name not in pauses:
            return None
        change = Change("pause", name, "paused", "resumed", f"{name} is resumed: it was paused by hand")
        return change, with_snapshot(self.situation, pauses=tuple(each for each in pauses if each != name))

    def _schedule(self) -> Lifted | None:
        now, name = self.situation.now, self.action.id
        if self.action.opens and now < self.action.opens:
            text = f"{name} starts by {_moment(now)}, or the decision is made from {_moment(self.action.opens)} on"
            change = Change("start", name, self.action.opens.isoformat(), now.isoformat(), text)
            return change, with_action(self.situation, name, opens=now)
        if self.action.closes and now >= self.action.closes:
            after = now + timedelta(minutes=1)
            text = f"{name} ends after {_moment(now)}, not at {_moment(self.action.closes)}"
            change = Change("end", name, self.action.closes.isoformat(), after.isoformat(), text)
            return change, with_action(self.situation, name, closes=after)
        return None

    def _stock(self) -> Lifted | None:
        """Enough of it is said to be there."""
        stock, signals = self.action.stock, by_key(self.situation.snapshot.signals)
        said = stock.lacking(signals, self.situation.now) if stock else None
        if stock is None or said is None:
            return None
        text = f"{stock.signal} of {stock.key} {said.value:g} → {stock.at_least:g}"
        change = Change("stock", self.action.id, said.value, stock.at_least, text)
        signals[stock.signal, stock.key] = msgspec.structs.replace(said, value=stock.at_least)
        return change, with_snapshot(self.situation, signals=tuple(signals.values()))

    def _rule(self) -> Lifted | None:
        policy, rules = self.situation.policy, [rule for _, rule in self.action.rules]
        values = rule_values(policy.features, self.situation.features, self.situation.context)
        context = evaluation_context(values)
        broken = next((rule for rule in rules if not _holds(rule, context)), None)
        if broken is None:
            return None
        found = smallest_change(broken, rules, policy.catalogue, values)
        if found is None:
            text = f"the rule must be changed, for no value of one feature makes it hold: {broken.source}"
            kept = tuple([(tier, rule) for tier, rule in self.action.rules if rule is not broken])
            change = Change("rule", broken.source, "not so", "changed", text)
            return change, with_action(self.situation, self.action.id, rules=kept)
        origin = self.origin
        before = rule_values(policy.features, origin.features, origin.context)[found.name]
        text = f"{found.name} {_shown(before)} → {found.words}, for the rule {broken.source}"
        return (
            Change("feature", found.name, before, found.value, text),
            with_feature(self.situation, found.name, found.value),
        )

    def _reach(self) -> Lifted | None:
        """The impressions after which the ramp reaches the customer's place."""
        arbitration, starting = self.situation.policy.arbitration, self.action.starting
        is_new = self.action.action_class == "standard" and self.action.id not in self.situation.known_actions
        if arbitration.ramp is None or starting is None or not is_new:
            return None
        counter = starting.reach.counter(self.situation.now)
        usage = self.situation.snapshot.usage
        used, ramp = usage.get(counter, Usage()), arbitration.ramp
        place = reach_position(self.situation.policy, self.action.id, self.situation.request.customer_id or "")
        if place < ramp.share(used.seen):
            return None
        seen = max(used.seen, math.floor((place - ramp.initial) / (1.0 - ramp.initial) * ramp.impressions))
        while not place < ramp.share(seen):
            seen += 1
        text = (
            f"{self.action.id} has reached enough customers: {used.seen} impressions → {seen}, or its ramp begins "
            f"with more than {100.0 * place:.1f} % of customers"
        )
        change = Change("reach", self.action.id, used.seen, seen, text)
        return change, with_snapshot(self.situation, usage={**usage, counter: Usage(seen, used.held)})

    def _sequence(self) -> Lifted | None:
        history = self.history
        for follow in self.action.follows:
            if not history.has(follow):
                hours = follow.window_seconds // _HOUR_S
                text = f"{follow.event} of {follow.action} in the {hours} h before, which it follows"
                kept = tuple([each for each in self.action.follows if each != follow])
                change = Change("sequence", follow.action, f"no {follow.event}", follow.event, text)
                return change, with_action(self.situation, self.action.id, follows=kept)
        return None

    def _cap(self) -> Lifted | None:
        snapshot, decision_id = self.situation.snapshot, self.situation.request.decision_id

        def usage(cap: Cap, now: datetime) -> int:
            return Tally(snapshot.contacts, now, decision_id).usage(cap)

        tally = Tally(snapshot.contacts, self.situation.now, decision_id)
        cap = next((each.cap for each in tally.full(self.placement.caps) if self.treatment.key in each.keys), None)
        return self._raised(cap, usage) if cap else None

    def _event_cap(self) -> Lifted | None:
        policy, snapshot = self.situation.policy, self.situation.snapshot

        def usage(cap: Cap, now: datetime) -> int:
            return History(policy, snapshot, now).usage(cap)

        full = self.history.full(self.placement.event_caps)
        cap = next((each.cap for each in full if self.treatment.key in each.keys), None)
        return self._raised(cap, usage) if cap else None

    def _raised(self, cap: Cap, usage: Callable[[Cap, datetime], int]) -> Lifted:
        used, hours = usage(cap, self.situation.now), cap.window_seconds // _HOUR_S
        window = timedelta(seconds=cap.window_seconds)
        room = self._earliest(
            (moment + each for moment in self._moments() for each in (window, timedelta(0))),
            lambda now: usage(cap, now) < cap.limit,
        )
        again = f"; there is room again at {_moment(room)}" if room else ""
        if cap.rule == f"excluded_by {cap.member}":
            text = f"there is no {cap.count} of {cap.member} in the {hours} h before, which excludes it{again}"
            change = Change("exclusion", cap.member, cap.count, f"no {cap.count}", text)
            keys = frozenset(each.key for each in self.placement.treatments if each.action.id == self.action.id)
            return change, without_cap(self.situation, cap, keys)
        fewer = used - cap.limit + 1
        what = f"{cap.count}{'' if fewer == 1 else 's'} fewer"
        text = f"{cap.rule}: limit {cap.limit} → {used + 1}, or {fewer} {what} in the {hours} h before{again}"
        return Change("cap", cap.rule, cap.limit, used + 1, text), with_cap_limit(self.situation, cap.rule, used + 1)

    def _moments(self) -> Iterator[datetime]:
        """Everything caps count by."""
        for contact in self.situation.snapshot.contacts:
            yield contact.decided_at
            yield contact.impressed_at or contact.expires_at
        for interaction in self.situation.snapshot.interactions:
            yield interaction.at

    def _earliest(self, moments: Iterable[datetime], is_free: Callable[[datetime], bool]) -> datetime | None:
        """The first of `moments` still to come at which something no longer stops the treatment."""
        coming = sorted({moment for moment in moments if moment > self.situation.now})
        return next(filter(is_free, coming), None)

    def _limit(self) -> Lifted | None:
        snapshot, now = self.situation.snapshot, self.situation.now
        limit = Budgets(snapshot.usage, now).full(self.treatment.option.limits)
        if limit is None or limit.most is None:
            return None
        used = snapshot.usage.get(limit.counter(now), Usage())
        most = used.seen + used.held + limit.amount
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        days = (midnight + timedelta(days=number) for number in range(1, _DAYS_OF_MONTH + 1))
        anew = next((day for day in days if limit.counter(day) != limit.counter(now)), None)
        before, after = (each / millionths(1.0) if limit.is_money else each for each in (limit.most, most))
        again = f", or it is {_moment(anew)}, when the next {limit.per} begins" if anew else ""
        text = f"{limit.name}: {before:.12g} → {after:.12g} per {limit.per}{again}"
        return Change("limit", limit.name, before, after, text), with_limit(self.situation, limit.name, most)

    def _dedup(self) -> Lifted | None:
        request, name = self.situation.request, self.action.id
        if name not in {
            c.action for c in self.situation.snapshot.contacts if c.decision_id in request.options.dedup_with
        }:
            return None
        text = f"{name} is asked for without regard to what earlier decisions took (dedup_with)"
        change = Change("dedup", name, "in an earlier decision already", "asked for again", text)
        options = msgspec.structs.replace(request.options, dedup_with=())
        return change, replace(self.situation, request=msgspec.structs.replace(request, options=options))

    def _suppression(self) -> Lifted | None:
        if not self.action.is_bound:
            return None
        policy, suppressed = self.situation.policy, self.history.suppressed
        members: tuple[Member, ...] = (
            ("action", self.action.id),
            ("group", self.action.group),
            ("channel", self.placement.channel),
        )
        member = next((each for each in (*members, ("all", "")) if each in suppressed), None)
        if member is None:
            return None
        reason = suppressed[member]
        stopping = next(each for each in policy.suppressions if reason.startswith(f"{each.id}: "))
        only = replace(policy, suppressions=(stopping,))
        over = self._earliest(
            (moment + stopping.pause for moment in self._moments()),
            lambda now: member not in History(only, self.situation.snapshot, now).suppressed,
        )
        what = " ".join(filter(None, member))
        until = _moment(over) if over else ""
        change = Change(
            "suppression",
            stopping.id,
            f"until {until}",
            "over",
            f"{stopping.id} no longer pauses {what}: until {until}",
        )
        kept = tuple([each for each in policy.suppressions if each is not stopping])
        return change, with_policy(self.situation, suppressions=kept)

    def _quiet_hours(self) -> Lifted | None:
        if not self.action.is_bound or not (reason := quiet(self.placement, self.situation)):
            return None
        minute = self.situation.now.replace(second=0, microsecond=0)
        over = self._earliest(
            (minute + timedelta(minutes=number) for number in range(1, _MINUTES_OF_DAY + 1)),
            lambda now: not quiet(self.placement, replace(self.situation, now=now)),
        )
        until = _moment(over) if over else ""
        channel = self.placement.channel
        change = Change("quiet_hours", channel, f"until {until}", "over", f"it is {until} or later: {reason}")
        return change, without_quiet_hours(self.situation, channel)


def _holds(rule: Expression, context: cel.Context) -> bool:
    try:
        return rule.holds(context)
    except ExpressionError:
        return False


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _shown(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) and value != round(value) else repr(value)
