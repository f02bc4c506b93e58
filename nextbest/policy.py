"""The policy as the engine uses it: compiled once from its document, immutable, and named by a hash of its content.

Belongs here: the compiled form. Does not belong here: the compiling (`nextbest.policy_compiler`), the files' fields
(`nextbest.policy_document`), finding mistakes in them (`nextbest.policy_check`), or deciding (`nextbest.decision`).
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nextbest.arbitration import Exploration
from nextbest.expressions import Expression, RuleBook
from nextbest.features import RuleFeature
from nextbest.messages import Caps, Limit, Option, Scope
from nextbest.policy_document import ActionClass, Regime
from nextbest.records import Attribute, Signal
from nextbest.signals import Key, SignalFeature, Stock, decision_context
from nextbest.state import SnapshotScope
from nextbest.templates import Template

EngagementTier = Literal["eligibility", "applicability", "suitability"]
Amount = float | Expression
"""Money in the policy's currency, or what it comes to for a customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """What is believed of a new action: a propensity, worth `evidence` answers; `reach` counts its impressions."""

    propensity: float
    evidence: float
    reach: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """What must have happened with the customer before: `event` of `action` inside the window."""

    action: str
    event: str
    window_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Action:
    """What can be proposed; money in the policy's currency, lever in per cent."""

    id: str
    number: int
    """Its place in the policy: the row of its numbers in arrays."""
    name: str
    group: str
    objective: str
    action_class: ActionClass
    is_bound: bool
    """Whether contact rules, suppressions, quiet hours and channel purposes bind it."""
    value: Amount
    cost: Amount
    lever: float
    rules: tuple[tuple[EngagementTier, Expression], ...]
    opens: datetime | None
    closes: datetime | None
    follows: tuple[Follow, ...]
    stock: Stock | None
    starting: Starting | None
    context: Mapping[str, float]
    """The action's attributes as numbers, for models: a text one is 1 under `attribute_value`."""
    words: Mapping[str, str | float]
    """What content may say of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """One action in one placement, with everything that binds it there."""

    id: str
    action: Action
    purposes: tuple[str, ...]
    option: Option
    """What a proposal says of it: its key, and the limits that State tests. A budget's amount is set for each decision
    where the cost is an expression."""
    content: Mapping[str, Template]

    @property
    def key(self) -> str:
        return self.option.key


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From one time of day to another, which may be on the next day."""

    start: time
    end: time

    def __contains__(self, local: time) -> bool:
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A place to fill, with every treatment that could, in the order of the policy; by treatment, its columns."""

    id: str
    channel: str
    channel_cost: float
    quiet_hours: QuietHours | None
    slots: int
    treatments: tuple[Treatment, ...]
    caps: Caps
    """On contacts: State tests them."""
    event_caps: Caps
    """On what only the past tells: clicks and other events."""
    fallback: str
    fallback_content: Mapping[str, Template]

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """The numbers of the treatments' actions, shape (treatments,)."""
        return np.array([treatment.action.number for treatment in self.treatments], dtype=np.intp)

    @cached_property
    def by_key(self) -> Mapping[str, Treatment]:
        return {treatment.key: treatment for treatment in self.treatments}

    @cached_property
    def options(self) -> tuple[Option, ...]:
        return tuple(treatment.option for treatment in self.treatments)

    @cached_property
    def limited(self) -> tuple[Option, ...]:
        """Those that volumes or budgets bind."""
        return tuple(option for option in self.options if option.limits)

    @cached_property
    def purposes(self) -> frozenset[tuple[str, ...]]:
        """Every combination of consents that some treatment needs."""
        return frozenset(treatment.purposes for treatment in self.treatments)

    @cached_property
    def has_mandatory(self) -> bool:
        return any(treatment.action.action_class == "mandatory" for treatment in self.treatments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """`count` interactions of a kind in a window pause their member of `scope`, from the last of them."""

    id: str
    scope: Scope
    only: frozenset[str]
    kind: str
    count: int
    window: timedelta
    pause: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """The share of customers a new action can reach grows evenly from `initial` to 1 with its impressions."""

    initial: float
    impressions: float

    def share(self, seen: int) -> float:
        return min(1.0, self.initial + (1.0 - self.initial) * seen / self.impressions)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningFeature:
    """A number that the online correction depends on, divided by `scale`."""

    name: str
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """What answers are worth by kind, and a contact without any; when one counts, and for which contact."""

    worth: Mapping[str, float]
    default: float
    delay: timedelta
    last_touch: timedelta


_RESPONSES = frozenset({"propensity", "uplift"})
"""What a formula may count of responses: the second is the first, where nothing else is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbitration:
    """How priority is computed and how chance comes in."""

    use_propensity: bool
    use_uplift: bool
    use_value: bool
    use_lever: bool
    use_cost: bool
    formula: Expression | None
    """Priority by an expression instead of the switches."""
    do_nothing_threshold: float
    exploration: Exploration
    unscored_propensity: float
    learning: tuple[LearningFeature, ...]
    prior_sd: float
    rewards: Rewards
    ramp: Ramp | None
    salt: str

    @property
    def uses_propensity(self) -> bool:
        """Whether it counts how likely a response is, whatever it is caused by."""
        return not self.formula.variables.isdisjoint(_RESPONSES) if self.formula else self.use_propensity

    @property
    def uses_uplift(self) -> bool:
        """Whether it counts what an action causes, where that is known."""
        return "uplift" in self.formula.variables if self.formula else self.use_propensity and self.use_uplift


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Another policy for a share of the customers."""

    id: str
    share: float
    policy: "Policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Actions that only a share of the customers can get."""

    id: str
    share: float
    actions: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiments:
    """Who is treated how; shares from 0 to 1. Challengers are tried on disjoint customers."""

    salt: str
    control: str
    """The name of the universal control; empty where there is none."""
    control_share: float
    challengers: tuple[Variant, ...]
    rollouts: tuple[Rollout, ...]
    shadows: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeZone:
    """Where the customer's time zone is found, and the one where it is not."""

    feature: str | None
    default: str


class Timetable:
    """Which actions are out of their time: between two moments at which one opens or closes, always the same."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self._timed = [action for action in actions if action.opens or action.closes]
        self._turns = sorted({turn for action in self._timed for turn in (action.opens, action.closes) if turn})
        self._closed: dict[int, tuple[tuple[Action, str], ...]] = {}

    def closed(self, now: datetime) -> tuple[tuple[Action, str], ...]:
        """The actions that are out of their time, and why."""
        between = bisect_right(self._turns, now)
        if between not in self._closed:
            found = ((action, _out_of_time(action, now)) for action in self._timed)
            self._closed[between] = tuple((action, reason) for action, reason in found if reason)
        return self._closed[between]


def _out_of_time(action: Action, now: datetime) -> str:
    if action.opens and now < action.opens:
        return f"starts {action.opens:%Y-%m-%d %H:%M} UTC"
    return f"ended {action.closes:%Y-%m-%d %H:%M} UTC" if action.closes and now >= action.closes else ""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Everything a decision follows that people wrote."""

    hash: str
    catalogue_version: str
    """Changes with what can be proposed, and not with the rules of contact or arbitration."""
    currency: str
    actions: Mapping[str, Action]
    placements: Mapping[str, Placement]
    regimes: Mapping[str, Regime]
    suppressions: tuple[Suppression, ...]
    time_zone: TimeZone
    arbitration: Arbitration
    experiments: Experiments
    features: tuple[RuleFeature, ...]
    """What expressions name, and no more: a context for CEL costs by the value."""
    catalogue: Mapping[str, RuleFeature]
    """Every feature that expressions and content may name."""
    signals: tuple[SignalFeature, ...]
    """Those of them that external signals give."""
    reservation_seconds: int

    def allows(self, purpose: str, said: str | None) -> bool:
        """Whether decisions may rest on a purpose, by what the customer has said of it."""
        return said == "granted" or (said is None and self.regimes[purpose] == "opt_out")

    @cached_property
    def lookback(self) -> tuple[timedelta, timedelta]:
        """How far back State must remember contacts, and interactions.

        Contacts no less than a reservation lasts: what a page took already (`dedup_with`) is seen while it is filled.
        """
        placements = self.placements.values()
        follows = [follow.window_seconds for action in self.actions.values() for follow in action.follows]
        caps = [each.cap.window_seconds for p in placements for bounds in p.caps.values() for each in bounds]
        events = [each.cap.window_seconds for p in placements for bounds in p.event_caps.values() for each in bounds]
        pauses = [suppression.window + suppression.pause for suppression in self.suppressions]
        contacts = timedelta(seconds=max((*caps, *follows, self.reservation_seconds)))
        return contacts, max((timedelta(seconds=max((*events, *follows), default=0)), *pauses))

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """Every counter over all customers, each once."""
        treatments = (treatment for placement in self.placements.values() for treatment in placement.treatments)
        return tuple({limit.name: limit for t in treatments for limit in t.option.limits}.values())

    def scope(self, now: datetime, context: Mapping[str, Attribute] = MappingProxyType({})) -> SnapshotScope:
        """What a decision at `now` must know of the customer, and of the world outside for a request's context."""
        contacts, interactions = self.lookback
        counters = tuple(limit.counter(now) for limit in self.limits)
        keys = [key for each in self.signals if (key := each.asked(context))]
        signals = tuple(dict.fromkeys((*keys, *self.stocks))) if keys else self.stocks
        return SnapshotScope(now - contacts, now - interactions, counters, now, signals)

    def reads(self, signal: str, key: str) -> bool:
        """Whether any decision may ask for a signal of this key, be it the context's."""
        of_context = {each.signal for each in self.signals if not isinstance(each.key, str)}
        return signal in of_context or (signal, key) in {*self.stocks, *((s.signal, s.key) for s in self.signals)}

    def context(
        self, context: Mapping[str, Attribute], signals: Sequence[Signal], now: datetime
    ) -> Mapping[str, Attribute]:
        """The context of a decision, from that of its request and from what is known of the world outside."""
        return decision_context(self.signals, context, signals, now)

    @cached_property
    def stocked(self) -> tuple[tuple[Action, Stock], ...]:
        """The actions of which there must be something, and what."""
        return tuple((action, action.stock) for action in self.actions.values() if action.stock)

    @cached_property
    def stocks(self) -> tuple[Key, ...]:
        """The signals that say what there is of actions, each once."""
        return tuple(dict.fromkeys((stock.signal, stock.key) for _, stock in self.stocked))

    @cached_property
    def rules(self) -> RuleBook:
        """Every rule of the engagement policy."""
        return RuleBook(rule for action in self.actions.values() for _, rule in action.rules)

    @cached_property
    def users(self) -> Mapping[str, tuple[Action, ...]]:
        """By the source of a rule the actions that have it."""
        found: defaultdict[str, list[Action]] = defaultdict(list)
        for action in self.actions.values():
            for source in {rule.source for _, rule in action.rules}:
                found[source].append(action)
        return {source: tuple(actions) for source, actions in found.items()}

    @cached_property
    def timetable(self) -> "Timetable":
        """When actions may be proposed."""
        return Timetable(self.actions.values())

    @cached_property
    def followers(self) -> tuple[Action, ...]:
        return tuple(action for action in self.actions.values() if action.follows)

    @cached_property
    def roll(self) -> tuple[Action, ...]:
        """The actions by number."""
        return tuple(self.actions.values())

    @cached_property
    def written(self) -> tuple[Action, ...]:
        """The actions whose value or cost is an expression."""
        return tuple(
            a for a in self.actions.values() if isinstance(a.value, Expression) or isinstance(a.cost, Expression)
        )

    @cached_property
    def startings(self) -> tuple[Action, ...]:
        """The actions that start from what the policy says, as long as no model knows them."""
        return tuple(action for action in self.actions.values() if action.starting)

    @cached_property
    def unscored(self) -> NDArray[np.float64]:
        """The propensity of each action that no model is asked about. Shape (actions,), and so below."""
        otherwise = self.arbitration.unscored_propensity
        return _numbers(a.starting.propensity if a.starting else otherwise for a in self.actions.values())

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """NaN where it is an expression."""
        return _numbers(action.value for action in self.actions.values())

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        return _numbers(action.cost for action in self.actions.values())

    @cached_property
    def levers(self) -> NDArray[np.float64]:
        return _numbers(action.lever for action in self.actions.values())


def _numbers(amounts: Iterable[Amount]) -> NDArray[np.float64]:
    return np.array([amount if isinstance(amount, float) else np.nan for amount in amounts])
