"""Policies as strategists write them: the model of `policies/*.yaml`, every field described for editors and docs.

Belongs here: the files' fields, their types and bounds. Does not belong here: what must hold between files
(`nextbest.policy_check`), reading them (`nextbest.adapters.policy_files`), or the form the engine uses
(`nextbest.policy`).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from nextbest.features import Kind

Identity = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=80)]
Expressions = Annotated[
    tuple[str, ...], Field(default=(), description="CEL rules over the features of features.yaml; all must be true.")
]


MOST = 1e9
"""Beyond a billion an amount is a mistake."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, allow_inf_nan=False)


class TreatmentDocument(_Document):
    """How an action looks in one placement."""

    id: Identity = Field(description="Unique among the action's treatments.")
    placement: Identity = Field(description="The placement it can fill.")
    channel: Identity = Field(description="The placement's channel.")
    content: dict[str, str] = Field(description="What the channel shows: title, text, image, link, …")


class ActionDocument(_Document):
    """Something that can be proposed to a customer."""

    id: Identity = Field(description="Unique, and never used again for something else. `do_nothing` is taken.")
    name: str = Field(description="As people call it.")
    group: Identity = Field(description="Actions that contact rules and reports treat as one.")
    objective: Identity = Field(description="The business goal it serves.")
    action_class: Literal["standard", "mandatory", "transactional"] = Field(
        default="standard",
        alias="class",
        description="Contact rules bind standard actions; mandatory and transactional ones are exempt.",
    )
    purpose: Identity = Field(description="The consent it needs, one of the purposes of contact_policy.yaml.")
    value: float = Field(
        ge=-MOST, le=MOST, description="What it is worth when the customer responds, in the policy's currency."
    )
    cost: float = Field(default=0.0, ge=0.0, le=MOST, description="What proposing it costs, in the policy's currency.")
    lever: float = Field(
        default=100.0, ge=0.0, le=10_000.0, description="Weight a person gives it, in per cent; 100 changes nothing."
    )
    eligibility: Expressions
    applicability: Expressions
    suitability: Expressions
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


class ChannelDocument(_Document):
    """A way to reach the customer."""

    id: Identity = Field(description="Unique.")
    cost: float = Field(default=0.0, ge=0.0, le=MOST, description="What one contact costs, in the policy's currency.")
    purpose: Identity | None = Field(default=None, description="A consent it needs beside the action's.")


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
    regime: Literal["opt_in", "opt_out"] = Field(
        description="What silence means: under opt_in no, under opt_out yes. What the customer said always counts."
    )


class ContactRuleDocument(_Document):
    """At most so many contacts with a customer in a sliding window."""

    id: Identity = Field(description="Unique; the reason customers of the API see.")
    scope: Literal["action", "group", "channel", "all"] = Field(description="What is counted together, per customer.")
    only: tuple[Identity, ...] = Field(
        default=(), description="The actions, groups or channels it is about; none named means each of them."
    )
    count: Literal["decision", "impression"] = Field(
        description="Count what was decided, or what was seen (and what is reserved to be seen)."
    )
    limit: int = Field(ge=1, le=1_000_000, description="The most there may be in the window.")
    window_hours: int = Field(ge=1, le=35 * 24, description="The window's length, back from the moment of decision.")


class ContactPolicyFile(_Document):
    """contact_policy.yaml."""

    purposes: tuple[PurposeDocument, ...] = Field(min_length=1, description="Purposes and what silence means.")
    rules: tuple[ContactRuleDocument, ...] = Field(default=(), description="Caps; an action must pass all of them.")
    reservation_minutes: int = Field(
        default=30, ge=1, le=24 * 60, description="How long a decision holds its place under a cap on impressions."
    )


class FormulaDocument(_Document):
    """Priority = propensity x value x lever - cost; each part can be switched off."""

    use_propensity: bool = Field(default=True, description="Multiply by the probability that the customer responds.")
    use_value: bool = Field(default=True, description="Multiply by the action's value; off counts 1 for each.")
    use_lever: bool = Field(default=True, description="Multiply by the action's lever.")
    use_cost: bool = Field(default=True, description="Subtract the costs of action and channel.")


class ExplorationDocument(_Document):
    """How much is tried that does not look best, so that models can learn from the answers."""

    strategy: Literal["greedy", "epsilon"] = Field(
        description="greedy always takes the best; epsilon sometimes takes any, doing nothing included."
    )
    epsilon: float = Field(default=0.0, ge=0.0, le=1.0, description="The share of decisions drawn evenly from all.")


class ArbitrationFile(_Document):
    """arbitration.yaml."""

    formula: FormulaDocument = Field(default=FormulaDocument(), description="How priority is computed.")
    do_nothing_threshold: float = Field(
        default=0.0, description="The priority of doing nothing: what does not beat it is not proposed."
    )
    exploration: ExplorationDocument = Field(description="How chance comes in.")
    salt: str = Field(min_length=1, description="Names this policy's draws; a new salt draws anew.")


class FeatureDocument(_Document):
    """A feature rules may name."""

    name: Identity = Field(description="As the feature store or the request's context calls it.")
    kind: Kind = Field(default="number", description="number, boolean or text.")
    origin: Literal["customer", "context"] = Field(
        default="customer", description="Known of the customer, or sent along."
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
