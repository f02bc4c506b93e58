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
        Field(name="best_hour", dtype=Float64, description="Hour at which a send is likeliest to be seen, 0 to 23."),
        Field(
            name="best_hour_gain", dtype=Float64, description="What it adds to that probability over the usual hour."
        ),
        Field(name="best_channel", dtype=String, description="Channel on which a send is likeliest to be seen."),
        Field(name="best_channel_gain", dtype=Float64, description="What it adds over the usual channel."),
        Field(
            name="next_category", dtype=String, description="Category that the customer is likeliest to turn to next."
        ),
        Field(name="next_category_probability", dtype=Float64, description="Probability that it is that one."),
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
