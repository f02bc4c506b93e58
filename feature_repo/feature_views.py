"""The feature views: one per feature mart, under the mart's name."""

from datetime import timedelta

from entities import customer
from feast import FeatureView, Field
from feast.types import Float64
from sources import fields, published

# Rows come every Monday: within eight days there is always one, and a join looks at no more than two.
_TTL = timedelta(days=8)


def _view(mart: str) -> FeatureView:
    return FeatureView(name=mart, entities=[customer], ttl=_TTL, schema=fields(mart), source=published(mart))


customer_profile = _view("customer_profile")
customer_rfm = _view("customer_rfm")
department_affinity = _view("department_affinity")
category_affinity = _view("category_affinity")
contact_response = _view("contact_response")

# Written by models, not by dbt: what a model said of the customer. No history is kept, so no model trains on it.
customer_scores = FeatureView(
    name="customer_scores",
    entities=[customer],
    ttl=_TTL,
    schema=[Field(name="clv_91d", dtype=Float64, description="Spend expected in the next 91 days (USD).")],
    source=published("customer_scores", folder="scores"),
)
