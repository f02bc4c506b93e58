"""The interface of this folder: one feature service per consumer, by name."""

from typing import Any

from feast import FeatureService
from feature_views import (
    category_affinity,
    contact_response,
    customer_profile,
    customer_rfm,
    customer_scores,
    department_affinity,
    live,
)

_HISTORY: list[Any] = [customer_profile, customer_rfm, department_affinity, category_affinity, contact_response]

propensity = FeatureService(
    name="propensity",
    features=_HISTORY,
    description="Training and scoring of the propensity to redeem.",
)
clv = FeatureService(
    name="clv",
    features=_HISTORY,
    description="Training and scoring of customer lifetime value; without scores, which it would learn from itself.",
)
decisioning = FeatureService(
    name="decisioning",
    features=[*_HISTORY, customer_scores, live],
    description="All that serving reads for a decision.",
)
