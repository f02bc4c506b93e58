"""Policies as strategists write them: the model of `policies/*.yaml`, every field described for editors and docs.

Belongs here: the files' fields, their types and bounds. Does not belong here: what must hold between files
(`nextbest.policy_check`), reading them (`nextbest.adapters.policy_files`), or the form the engine uses
(`nextbest.policy`).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from nextbest.arbitration import Strategy
from nextbest.features import Kind
from nextbest.messages import Period, Scope
from nextbest.policy_times import Day, TimeOfDay

Identity = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=80)]
SignalKey = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Expressions = Annotated[
    tuple[str, ...], Field(default=(), description="CEL rules over the features of features.yaml; all must be true.")
]
ActionClass = Literal["standard", "mandatory", "transactional"]
Regime = Literal["opt_in", "opt_out"]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Worth = Annotated[float, Field(ge=0.0, le=1.0)]
Penalty = Annotated[float, Field(ge=-1.0, le=0.0)]


MOST = 1e9
"""Beyond a billion an amount is a mistake."""
LONGEST_HOURS = 35 * 24
"""How far back contacts count: what happened is told apart by its id for 35 days."""
LONGEST_DAYS = 365

Amount = Annotated[float, Field(ge=-MOST, le=MOST)] | Annotated[str, StringConstraints(min_length=1)]
"""A number, or CEL over the features that gives one."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, allow_inf_nan=False)


class TreatmentDocument(_Document):
    """How an action looks in one placement."""

    id: Identity = Field(description="Unique among the action's treatments.")
    placement: Identity = Field(description="The placement it can fill.")
    channel: Identity = Field(description="The placement's channel.")
    content: dict[str, str] = Field(
        description="What the channel shows: title, text, image, link, … in Liquid, with {{ customer.FEATURE }}, "
        "{{ context.FEATURE }}, {{ action.name }} and {{ action.ATTRIBUTE }}."
    )


class StartingDocument(_Document):
    """What is believed of a new action until the models know it."""

    propensity: float = Field(gt=0.0, lt=1.0, description="The share of customers who are expected to respond.")
    evidence: float = Field(
        default=100.0, ge=1.0, le=1e6, description="How many answers that belief is worth when real ones come in."
    )


class VolumeDocument(_Document):
    """How often an action may be taken, over all customers."""

    limit: int = Field(ge=1, le=1_000_000_000, description="The most contacts in a period.")
    per: Period = Field(description="Calendar day, week from Monday, or month in UTC; or total, for good.")


class BudgetDocument(_Document):
    """What an action may cost, over all customers."""

    amount: float = Field(gt=0.0, le=MOST, description="The most to spend in a period, in the policy's currency.")
    per: Period = Field(description="Calendar day, week from Monday, or month in UTC; or total, for good.")


class StockDocument(_Document):
    """What there must be of an action, by an external signal."""

    signal: Identity = Field(default="stock", description="The signal's name in the signals contract.")
    key: SignalKey | None = Field(default=None, description="The signal's key; without it the action's id.")
    at_least: float = Field(
        default=1.0,
        gt=0.0,
        le=MOST,
        description="Below this the action is not proposed. A signal that nobody has sent, or that has expired, stops "
        "nothing.",
    )


class SequenceDocument(_Document):
    """What was done with the customer before, on whatever channel."""

    action: Identity = Field(description="The other action.")
    event: Identity = Field(
        default="impression",
        description="What must have happened to it: decision, impression, click, or another event.",
    )
    within_hours: int = Field(ge=1, le=LONGEST_HOURS, description="How far back it counts.")


class ActionDocument(_Document):
    """Something that can be proposed to a customer."""

    id: Identity = Field(description="Unique, and never used again for something else. `do_nothing` is taken.")
    name: str = Field(description="As people call it.")
    group: Identity = Field(description="Actions that contact rules and reports treat as one.")
    objective: Identity = Field(description="The business goal it serves.")
    action_class: ActionClass = Field(
        default="standard",
        alias="class",
        description="standard competes by priority; mandatory comes before all others where it is eligible; "
        "transactional belongs to something the customer did. Contact rules bind the classes that contact_policy.yaml "
        "names.",
    )
    purpose: Identity | None = Field(
        default=None,
        description="The consent it needs, one of the purposes of contact_policy.yaml. A standard action has one.",
    )
    start: Day | None = Field(
        default=None, description="The first day (in the policy's time zone) or moment it can be proposed."
    )
    end: Day | None = Field(
        default=None, description="The last day it can be proposed, or the moment from which it no longer can."
    )
    value: Amount = Field(
        description="What it is worth when the customer responds, in the policy's currency: a number, or CEL over the "
        "features."
    )
    cost: Amount = Field(
        default=0.0,
        description="What proposing it costs, in the policy's currency: a number, or CEL over the features. Never "
        "below 0.",
    )
    lever: float = Field(
        default=100.0, ge=0.0, le=10_000.0, description="Weight a person gives it, in per cent; 100 changes nothing."
    )
    starting: StartingDocument | None = Field(
        default=None, description="For an action no model knows yet: it is scored by this until one does."
    )
    volume: VolumeDocument | None = Field(default=None, description="How often it may be taken, over all customers.")
    budget: BudgetDocument | None = Field(default=None, description="What it may cost, over all customers.")
    stock: StockDocument | None = Field(default=None, description="What there must be of it, by an external signal.")
    eligibility: Expressions
    applicability: Expressions
    suitability: Expressions
    follows: tuple[SequenceDocument, ...] = Field(
        default=(), description="All of these must have happened with the customer before."
    )
    excluded_by: tuple[SequenceDocument, ...] = Field(
        default=(), description="None of these may have happened with the customer before."
    )
    treatments: tuple[TreatmentDocument, ...] = Field(min_length=1, description="One per placement and creative.")
    attributes: dict[Identity, str | float] = Field(
        default_factory=dict, description="Facts about the action that models and reports use."
    )


class ActionsFile(_Document):
    """actions.yaml."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        description="ISO 4217 code of every amount in the policy."
    )
    actions: tuple[ActionDocument, ...] = Field(min_length=1, description="Everything that can be proposed.")


class QuietHoursDocument(_Document):
    """When a channel leaves the customer alone, by the customer's clock."""

    start: TimeOfDay = Field(description="From this time of day on, as 21:00.")
    end: TimeOfDay = Field(description="Until this time of day; one before the start is on the next day.")


class ChannelDocument(_Document):
    """A way to reach the customer."""

    id: Identity = Field(description="Unique.")
    cost: float = Field(default=0.0, ge=0.0, le=MOST, description="What one contact costs, in the policy's currency.")
    purpose: Identity | None = Field(
        default=None, description="A consent it needs beside the action's, for the classes contact rules bind."
    )
    quiet_hours: QuietHoursDocument | None = Field(
        default=None, description="When nothing is sent, for the classes contact rules bind."
    )


class FallbackDocument(_Document):
    """What a placement shows when no action fills it."""

    treatment: Identity = Field(description="Its name in answers and logs.")
    content: dict[str, str] = Field(description="Safe for everybody: it needs no consent and names no customer.")


class PlacementDocument(_Document):
    """A place in a channel that a decision fills."""

    id: Identity = Field(description="Unique.")
    channel: Identity = Field(description="The channel it is in.")
    slots: int = Field(default=1, ge=1, le=50, description="How many actions it shows at most.")
    fallback: FallbackDocument = Field(description="Shown when no action fills the placement, for whatever reason.")


class PlacementsFile(_Document):
    """placements.yaml."""

    channels: tuple[ChannelDocument, ...] = Field(min_length=1, description="Ways to reach the customer.")
    placements: tuple[PlacementDocument, ...] = Field(min_length=1, description="Places a decision can fill.")


class PurposeDocument(_Document):
    """A purpose a customer may consent to."""

    id: Identity = Field(description="As in the consents contract.")
    regime: Regime = Field(
        description="What silence means: under opt_in no, under opt_out yes. What the customer said always counts."
    )


class ContactRuleDocument(_Document):
    """At most so many contacts with a customer in a sliding window."""

    id: Identity = Field(description="Unique; the reason customers of the API see.")
    scope: Scope = Field(description="What is counted together, per customer.")
    only: tuple[Identity, ...] = Field(
        default=(), description="The actions, groups or channels it is about; none named means each of them."
    )
    count: Identity = Field(
        description="What is counted: decision; impression (what was seen, and what is reserved to be seen); click; or "
        "the type of any other event of the events contract."
    )
    limit: int = Field(ge=1, le=1_000_000, description="The most there may be in the window.")
    window_hours: int = Field(
        ge=1, le=LONGEST_HOURS, description="The window's length, back from the moment of decision."
    )


class SuppressionDocument(_Document):
    """A pause after the customer has answered in some way."""

    id: Identity = Field(description="Unique among rules and suppressions; the reason customers of the API see.")
    scope: Scope = Field(description="What is counted together and then paused, per customer.")
    only: tuple[Identity, ...] = Field(
        default=(), description="The actions, groups or channels it is about; none named means each of them."
    )
    outcome: Identity = Field(
        description="The answer that counts: the type of an event (click, dismissal, …) or the kind of an outcome "
        "(redemption, complaint, …)."
    )
    count: int = Field(default=1, ge=1, le=1_000, description="How many of them…")
    within_days: int = Field(default=1, ge=1, le=LONGEST_DAYS, description="… in how many days …")
    pause_days: int = Field(ge=1, le=LONGEST_DAYS, description="… cause a pause of how many days, from the last one.")


class TimeZoneDocument(_Document):
    """Whose clock quiet hours go by."""

    feature: Identity | None = Field(
        default=None, description="A text feature with the customer's zone, such as America/New_York."
    )
    default: str = Field(
        default="UTC", description="The zone where that is not known, and the zone in which days start and end."
    )


class ContactPolicyFile(_Document):
    """contact_policy.yaml."""

    purposes: tuple[PurposeDocument, ...] = Field(min_length=1, description="Purposes and what silence means.")
    binds: tuple[ActionClass, ...] = Field(
        default=("standard",), description="The classes of actions that rules, suppressions and quiet hours bind."
    )
    rules: tuple[ContactRuleDocument, ...] = Field(default=(), description="Caps; an action must pass all of them.")
    suppressions: tuple[SuppressionDocument, ...] = Field(default=(), description="Pauses after answers.")
    time_zone: TimeZoneDocument = Field(default=TimeZoneDocument(), description="Whose clock is meant.")
    reservation_minutes: int = Field(
        default=30, ge=1, le=24 * 60, description="How long a decision holds its place under a cap on impressions."
    )


class FormulaDocument(_Document):
    """Priority = propensity or uplift x value x lever - cost; each part can be switched off."""

    use_propensity: bool = Field(default=True, description="Multiply by the probability that the customer responds.")
    use_uplift: bool = Field(
        default=False,
        description="Count of that probability only the part that the action causes, where a model knows it: who would "
        "respond anyway counts for nothing, and who is put off for less.",
    )
    use_value: bool = Field(default=True, description="Multiply by the action's value; off counts 1 for each.")
    use_lever: bool = Field(default=True, description="Multiply by the action's lever.")
    use_cost: bool = Field(default=True, description="Subtract the costs of action and channel.")


class ExplorationDocument(_Document):
    """How much is tried that does not look best, so that models can learn from the answers."""

    strategy: Strategy = Field(
        description="greedy always takes the best; epsilon sometimes takes any; inverse_gap takes others the more "
        "often the closer they are to the best; thompson takes each as often as, for all that is known, it may be the "
        "best. Doing nothing is one of them."
    )
    epsilon: float = Field(
        default=0.0, ge=0.0, le=1.0, description="Of epsilon: the share of decisions drawn evenly from all."
    )
    gamma: float = Field(
        default=100.0,
        gt=0.0,
        le=MOST,
        description="Of inverse_gap: how strongly a gap counts, per unit of priority; large explores little.",
    )
    floor: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        description="The least probability of every candidate; where there are so many that it cannot be had, all have "
        "the same.",
    )


class LearningFeatureDocument(_Document):
    """A number the correction depends on."""

    name: Identity = Field(description="A number among the features of features.yaml.")
    scale: float = Field(
        default=1.0, gt=0.0, le=MOST, description="It is divided by this, and counts up to three of it either way."
    )


class RewardsDocument(_Document):
    """What an answer is worth, as part of a full response: each kind once, of several the best and the worst."""

    redemption: Worth = Field(default=1.0, description="The offer was used.")
    conversion: Worth = Field(default=1.0, description="The goal behind the action was reached.")
    click: Worth = Field(default=0.0, description="The customer looked closer.")
    dismissal: Penalty = Field(default=-0.5, description="The customer waved it away.")
    unsubscribe: Penalty = Field(default=-1.0, description="The customer wants no more of the channel.")


class LearningDocument(_Document):
    """How answers correct a model's propensity before its next training, and what of the customer that depends on."""

    features: tuple[LearningFeatureDocument, ...] = Field(
        default=(), max_length=7, description="Beside the constant that every action has."
    )
    prior_sd: float = Field(
        default=0.5, gt=0.0, le=10.0, description="How far off a model is expected to be, in log odds, each way."
    )
    rewards: RewardsDocument = Field(
        default=RewardsDocument(), description="What an answer is worth, by its kind; 1 is a full response."
    )
    default: float = Field(
        default=0.0, ge=-1.0, le=1.0, description="What a contact is worth that was seen and never answered."
    )
    delay_days: float = Field(
        default=14.0, ge=0.01, le=90.0, description="How long after the impression an answer still counts."
    )
    last_touch_hours: int = Field(
        default=72,
        ge=1,
        le=LONGEST_HOURS,
        description="An answer that names no decision counts for the last contact with its action that the customer "
        "has seen so many hours before, if there is one.",
    )


class RampDocument(_Document):
    """How a new action finds its way: to few customers first, and to more with every answer."""

    initial_percent: float = Field(gt=0.0, le=100.0, description="The share of customers who can get it at first.")
    evidence: float = Field(
        ge=1.0, le=1e6, description="The impressions after which everybody can; between the two the share grows evenly."
    )


class ArbitrationFile(_Document):
    """arbitration.yaml."""

    formula: FormulaDocument | Annotated[str, StringConstraints(min_length=1)] = Field(
        default=FormulaDocument(),
        description="How priority is computed: switches, or CEL over propensity, uplift, value, lever (1.0 for 100 per "
        "cent), cost and the features.",
    )
    do_nothing_threshold: float = Field(
        default=0.0,
        ge=-MOST,
        le=MOST,
        description="The priority of doing nothing: what does not beat it is proposed by exploration alone.",
    )
    exploration: ExplorationDocument = Field(description="How chance comes in.")
    unscored_propensity: float = Field(
        default=0.01,
        gt=0.0,
        lt=1.0,
        description="Stands in for a model that cannot be asked in time, for actions without `starting`.",
    )
    learning: LearningDocument = Field(default=LearningDocument(), description="How models are corrected online.")
    ramp: RampDocument | None = Field(
        default=None,
        description="For standard actions with `starting`; without it they can go to everybody at once.",
    )
    salt: str = Field(min_length=1, description="Names this policy's draws; a new salt draws anew.")


class ControlDocument(_Document):
    """The universal control: customers for whom nothing is chosen, to measure what choosing is worth."""

    id: Identity = Field(default="universal_control", description="Its name in records.")
    percent: Percent = Field(description="The share of customers.")


class ChangesDocument(_Document):
    """What another policy does otherwise."""

    formula: FormulaDocument | Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="Another formula of priority."
    )
    do_nothing_threshold: float | None = Field(default=None, description="Another priority of doing nothing.")
    exploration: ExplorationDocument | None = Field(default=None, description="Another way to explore.")
    levers: dict[Identity, Annotated[float, Field(ge=0.0, le=10_000.0)]] = Field(
        default={}, description="Other levers, by action, in per cent; 0 leaves only the cost."
    )


class ChallengerDocument(_Document):
    """A policy that decides for a share of the customers, instead of the champion, which is this policy itself."""

    id: Identity = Field(description="Unique among experiments.")
    percent: Percent = Field(description="The share of customers; nobody has two challengers.")
    changes: ChangesDocument = Field(description="What it does otherwise.")


class RolloutDocument(_Document):
    """Actions that only a share of the customers can get."""

    id: Identity = Field(description="Unique among experiments.")
    percent: Percent = Field(description="The share of customers; raising it keeps those who are in.")
    actions: tuple[Identity, ...] = Field(min_length=1, description="The actions.")


class ShadowDocument(_Document):
    """A policy that decides beside the one in force, and never acts."""

    id: Identity = Field(description="Unique among experiments.")
    percent: Percent = Field(default=100.0, description="The share of customers for whom it decides.")
    changes: ChangesDocument = Field(description="What it does otherwise.")


class ExperimentsFile(_Document):
    """experiments.yaml; may be left out. A customer stays on the side an experiment first put them on."""

    salt: str = Field(default="experiments", min_length=1, description="Names the draws; a new salt draws anew.")
    control: ControlDocument | None = Field(default=None, description="The universal control.")
    challengers: tuple[ChallengerDocument, ...] = Field(default=(), description="Together at most 100 per cent.")
    rollouts: tuple[RolloutDocument, ...] = Field(default=(), description="Actions on their way to everybody.")
    shadows: tuple[ShadowDocument, ...] = Field(default=(), description="Policies on trial.")


class FeatureDocument(_Document):
    """A feature rules may name."""

    name: Identity = Field(description="As the feature store or the request's context calls it.")
    kind: Kind = Field(default="number", description="number, boolean or text.")
    origin: Literal["customer", "context", "signal"] = Field(
        default="customer",
        description="Known of the customer; sent along with the request; or an external signal, which joins what is "
        "sent along. What is sent along under its name comes first.",
    )
    signal: Identity | None = Field(default=None, description="Of a signal: its name in the signals contract.")
    key: SignalKey | None = Field(default=None, description="Of a signal: its key, the same for every decision; …")
    key_from: Identity | None = Field(
        default=None, description="… or the text feature of origin context that names the key, such as the store."
    )
    default: bool | float | str | None = Field(
        default=None, description="Stands in for a missing one; without it 0, false or the empty text."
    )
    per_action: bool = Field(default=False, description="There is one per action: rules write name__action.")
    description: str = Field(description="What it says, with its unit.")


class FeaturesFile(_Document):
    """features.yaml."""

    features: tuple[FeatureDocument, ...] = Field(description="Every feature rules may name.")


class PolicyDocument(_Document):
    """The whole policy, one field per file."""

    actions: ActionsFile = Field(description="actions.yaml")
    placements: PlacementsFile = Field(description="placements.yaml")
    contact_policy: ContactPolicyFile = Field(description="contact_policy.yaml")
    arbitration: ArbitrationFile = Field(description="arbitration.yaml")
    features: FeaturesFile = Field(description="features.yaml")
    experiments: ExperimentsFile = Field(default=ExperimentsFile(), description="experiments.yaml")
