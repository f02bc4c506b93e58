"""What models are fed: where their rows come from, lists of features in order, and the matrix they make of a frame.

Belongs here: the names of what each model reads, the feature lists, and `matrix`, training's twin of
`nextbest.features.design_matrix` (a test keeps them equal). Does not belong here: reading features (`models.frames`).

A frame names a customer's features as the feature store does; `match` features are resolved to the row's own action.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from models.arrays import Array
from nextbest.model_set import FeatureSpec, Origin

PROFILE = (
    "age_band_ordinal",
    "income_band_ordinal",
    "household_size_ordinal",
    "kids_count_ordinal",
    "is_homeowner",
    "is_married",
    "has_demographics",
    "tenure_days",
)
RFM = (
    "recency_days",
    "baskets_28d",
    "baskets_91d",
    "baskets_364d",
    "spend_28d",
    "spend_91d",
    "spend_364d",
    "mean_basket_value_91d",
    "active_days_91d",
    "distinct_products_91d",
    "retail_discount_share_91d",
    "coupon_discount_91d",
    "coupon_baskets_91d",
    "private_label_share_91d",
    "spend_trend",
)
PURCHASES = ("repeat_days", "last_repeat_days", "observed_days", "mean_day_spend")
"""What models of buying take (`models.btyd`)."""
RESPONSE = (
    "contacts_91d",
    "contacts_364d",
    "redemptions_91d",
    "redemptions_364d",
    "response_rate_364d",
    "days_since_contact",
    "days_since_redemption",
    "coupon_campaigns_redeemed_364d",
)
DEPARTMENT_PREFIX = "department_share_91d__"
CATEGORY = "category_spend_182d"
CAMPAIGN_TYPES = {"Type A": "campaign_type_a", "Type B": "campaign_type_b", "Type C": "campaign_type_c"}
CHANNELS = MappingProxyType({name: f"channel_{name}" for name in ("web", "email", "app", "mail")})
"""The feature of each channel that the contracts know, 1 where it is the row's own."""
HOUR = "hour_of_day"
MONOTONE = MappingProxyType({"price": -1, "discount": 1})
"""What a response must not do as a feature rises: -1 rise, 1 fall."""

# What stands in for a customer the feature store has never seen: never is long ago.
_DEFAULTS = {"recency_days": 9999.0, "days_since_contact": 9999.0, "days_since_redemption": 9999.0}


def customer_features(frame: pd.DataFrame) -> tuple[FeatureSpec, ...]:
    """The features of the customer alone; which departments there are depends on the data."""
    departments = sorted(str(column) for column in frame.columns if str(column).startswith(DEPARTMENT_PREFIX))
    names = (*PROFILE, *RFM, *departments, *RESPONSE)
    return tuple(FeatureSpec(name, "customer", _DEFAULTS.get(name, 0.0)) for name in names)


def lifetime_features(frame: pd.DataFrame) -> tuple[FeatureSpec, ...]:
    """The customer's, with what models of buying take, if the frame has it."""
    there = {str(column) for column in frame.columns}
    return (*customer_features(frame), *(FeatureSpec(name, "customer") for name in PURCHASES if name in there))


def propensity_features(frame: pd.DataFrame) -> tuple[FeatureSpec, ...]:
    """The customer, the action, the customer's spend in the action's category, and how it is offered.

    Price, discount and channel are taken where the frame has them.

    Without tenure: in a history of one year it is the calendar by another name.
    """
    return (
        *(feature for feature in customer_features(frame) if feature.name != "tenure_days"),
        FeatureSpec(CATEGORY, "match"),
        FeatureSpec("share", "action"),
        *(FeatureSpec(name, "context") for name in CAMPAIGN_TYPES.values()),
        *_there(frame, "context", *MONOTONE, *CHANNELS.values()),
    )


def engagement_features(frame: pd.DataFrame) -> tuple[FeatureSpec, ...]:
    """The customer, and of the pair, the action, the offer, the channel and the hour what the frame has."""
    return (
        *(feature for feature in customer_features(frame) if feature.name != "tenure_days"),
        *_there(frame, "match", CATEGORY),
        *_there(frame, "action", "share"),
        *_there(frame, "context", *MONOTONE, *CHANNELS.values(), HOUR),
    )


def uplift_features(frame: pd.DataFrame) -> tuple[FeatureSpec, ...]:
    """The customer, each action and the customer's spend in its category, the channel and the hour."""
    return (
        *(feature for feature in customer_features(frame) if feature.name != "tenure_days"),
        FeatureSpec(CATEGORY, "match"),
        FeatureSpec("share", "action"),
        *_there(frame, "context", *CHANNELS.values(), HOUR),
    )


def _nothing(_: pd.DataFrame) -> tuple[FeatureSpec, ...]:
    return ()


def _there(frame: pd.DataFrame, origin: Origin, *names: str) -> tuple[FeatureSpec, ...]:
    return tuple(FeatureSpec(name, origin) for name in names if name in frame.columns)


# High, and low, in plain words.
SEGMENT_WORDS = MappingProxyType(
    {
        "recency_days": ("away for long", "here lately"),
        "baskets_91d": ("frequent", "seldom"),
        "spend_91d": ("big spenders", "small spenders"),
        "mean_basket_value_91d": ("big baskets", "small baskets"),
        "distinct_products_91d": ("wide choice", "narrow choice"),
        "retail_discount_share_91d": ("discounts", "full price"),
        "coupon_baskets_91d": ("coupons", "no coupons"),
        "private_label_share_91d": ("own brand", "name brands"),
    }
)
"""By RFM feature, of which segments take only these: the same behaviour over three windows would count three times."""


def segment_features(frame: pd.DataFrame) -> tuple[FeatureSpec, ...]:
    """What segments are made of: `SEGMENT_WORDS`, and the shares of whichever departments `frame` has."""
    return tuple(
        feature
        for feature in customer_features(frame)
        if feature.name in SEGMENT_WORDS or feature.name.startswith(DEPARTMENT_PREFIX)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a model learns from: a feature service, if any, the mart of its labels, and marts beside it.

    `time` is the column of the mart that has each label's time; without one there are rows, and no labels.
    `scores` are the columns of the feature view `customer_scores` that its predictions become, if they do.
    """

    service: str = ""
    labels: str
    time: str = ""
    statistics: tuple[str, ...] = ()
    features: Callable[[pd.DataFrame], tuple[FeatureSpec, ...]] = _nothing
    scores: tuple[str, ...] = ()

    def columns(self, names: Iterable[str]) -> frozenset[str]:
        """Which of the service's features, by name, the model takes."""
        offered = pd.DataFrame(columns=sorted(names))
        taken = self.features(pd.DataFrame(columns=[*offered, CATEGORY]))  # as `with_match` has it
        plain = {feature.name for feature in taken if feature.origin == "customer"}
        matched = tuple(f"{feature.name}__" for feature in taken if feature.origin == "match")
        return frozenset(str(name) for name in offered if name in plain or str(name).startswith(matched))


READINGS = MappingProxyType(
    {
        "propensity": Reading(
            service="propensity",
            labels="propensity_labels",
            time="contacted_at",
            statistics=("action_statistics",),
            features=propensity_features,
        ),
        "clv": Reading(
            service="clv", labels="clv_labels", time="cutoff_at", features=lifetime_features, scores=("clv_91d",)
        ),
        "churn": Reading(
            service="clv", labels="clv_labels", time="cutoff_at", features=lifetime_features, scores=("churn_91d",)
        ),
        "segments": Reading(service="clv", labels="customer_rfm", features=segment_features, scores=("segment",)),
        **dict.fromkeys(
            ("opens", "clicks"),
            Reading(
                service="propensity",
                labels="decision_labels",
                time="decided_at",
                statistics=("action_statistics",),
                features=engagement_features,
            ),
        ),
        "uplift": Reading(
            service="propensity",
            labels="decision_labels",
            time="decided_at",
            statistics=("action_statistics",),
            features=uplift_features,
        ),
        "preferences": Reading(
            labels="decision_labels",
            time="decided_at",
            scores=("best_hour", "best_hour_gain", "best_channel", "best_channel_gain"),
        ),
        "intent": Reading(
            labels="category_events", time="occurred_at", scores=("next_category", "next_category_probability")
        ),
    }
)
"""By the model's name."""
SCORES_VIEW = "customer_scores"


def with_match(frame: pd.DataFrame, name: str = CATEGORY) -> pd.DataFrame:
    """`frame` with the column `name`: of the columns `name__<action>`, the one of the row's own action.

    Raises:
        KeyError: an action has no such column.

    """
    columns, code = np.unique((f"{name}__" + frame["action"].astype(str)).to_numpy(dtype=str), return_inverse=True)
    wide = frame[list(columns)].to_numpy(dtype=np.float64)
    rest = [column for column in frame.columns if not str(column).startswith(f"{name}__")]
    return frame[rest].assign(**{name: wide[np.arange(len(frame)), code]})


def with_campaign_type(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a column per type of campaign, 1 for the row's own."""
    return frame.assign(
        **{column: (frame["campaign_type"] == kind).astype(float) for kind, column in CAMPAIGN_TYPES.items()}
    )


def with_channel(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a column per channel, 1 for the row's own."""
    return frame.assign(**{column: (frame["channel"] == name).astype(float) for name, column in CHANNELS.items()})


def matrix(frame: pd.DataFrame, features: Sequence[FeatureSpec]) -> Array:
    """One row per row of `frame`, one column per feature; what is missing is the feature's default."""
    columns = {str(column) for column in frame.columns}
    x = np.empty((len(frame), len(features)), dtype=np.float64)
    for position, feature in enumerate(features):
        values = frame[feature.name].to_numpy(np.float64) if feature.name in columns else feature.default
        x[:, position] = values
    with np.errstate(over="ignore"):  # serving computes in float32, and takes what that cannot hold for missing
        x = x.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(x), x, np.array([feature.default for feature in features]))
