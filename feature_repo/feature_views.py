"""The feature views: one per feature mart, under the mart's name."""

from entities import customer
from feast import FeatureView, Field
from feast.types import Float64, String
from sources import fields, published

# No view has a time to live: there is a row for every Monday, so the newest one is never old. With one, ibis 12 cannot
# join on DuckDB: the compiled sqlglot refuses the unit of its intervals.


def _view(mart: str) -> FeatureView:
    return FeatureView(name=mart, entities=[customer], schema=fields(mart), source=published(mart))


customer_profile = _view("customer_profile")
customer_rfm = _view("customer_rfm")
department_affinity = _view("department_affinity")
category_affinity = _view("category_affinity")
contact_response = _view("contact_response")

# Written by models, not by dbt: what a model said of the customer. No history is kept, so no model trains on it.
customer_scores = FeatureView(
    name="customer_scores",
    entities=[customer],
    schema=[
        Field(name="clv_91d", dtype=Float64, description="Spend expected in the next 91 days (USD)."),
        Field(name="churn_91d", dtype=Float64, description="Probability of no purchase in the next 91 days."),
        Field(name="segment", dtype=String, description="The segment of the customer, by name."),
    ],
    source=published("customer_scores", folder="scores"),
)

# Written by the event processor with every event, and by nobody else: it has no source to be materialized from. What it
# says at a moment is worked out then (`nextbest.live_features`), in training from the events themselves.
live = FeatureView(
    name="live",
    entities=[customer],
    schema=[Field(name="live_state", dtype=String, description="What the customer did lately, as counts and moments.")],
)
