"""What a model must beat to be worth running: predictions anybody could make without one.

Belongs here: baselines, fitted on the same training rows as the model. Does not belong here: the comparison
(`models.evaluation`) or what must be shown (`models.gates`).
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from models.arrays import Array
from models.inputs import CAMPAIGN_TYPES
from models.linear import fit_logistic

_YEAR_DAYS = 364
_DRAWN_BY = 20.0


def redemption_baselines(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Array]:
    """P(any offer redeemed) of the contacts of `test`: by campaign type; and by type and the household's past rate.

    Both are fitted to contacts, not to single offers: that is where the label is known for every campaign.
    """
    return {
        "campaign_type": _rate_by_type(train, test),
        "type_and_past_rate": _logistic(train, test, [*CAMPAIGN_TYPES.values(), "response_rate_364d"]),
    }


def _rate_by_type(train: pd.DataFrame, test: pd.DataFrame) -> Array:
    rates = train.groupby("campaign_type")["any_redeemed"].mean()
    return test["campaign_type"].map(rates).fillna(train["any_redeemed"].mean()).to_numpy(np.float64)


def _logistic(train: pd.DataFrame, test: pd.DataFrame, columns: list[str]) -> Array:
    model = fit_logistic(
        train[columns].to_numpy(np.float64), train["any_redeemed"].to_numpy(np.float64), inverse_penalty=1e3
    )
    return model.predict(test[columns].to_numpy(np.float64))


def spend_baselines(test: pd.DataFrame, horizon: timedelta) -> dict[str, Array]:
    """Spend within the horizon (USD): as in the last 91 days; at the mean daily rate of the year or since the start."""
    days = test["tenure_days"].clip(1, _YEAR_DAYS).to_numpy(np.float64)
    return {
        "last_91_days": test["spend_prior_91d"].to_numpy(np.float64),
        "mean_of_the_year": test["spend_364d"].to_numpy(np.float64) / days * horizon.days,
    }


def churn_baselines(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Array]:
    """P(no purchase): by how long ago the last one was; by a logistic model of that and of how often there was one."""
    columns = ["recency_days", "baskets_91d"]
    x, churned = train[columns].to_numpy(np.float64), train["is_churned"].to_numpy(np.float64)
    model = fit_logistic(x, churned, inverse_penalty=1e3)
    return {
        "recency": test["recency_days"].to_numpy(np.float64),
        "recency_and_frequency": model.predict(test[columns].to_numpy(np.float64)),
    }


def send_baselines(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Array]:
    """P(seen): the rate of the channel; of the hour in the channel, drawn to the channel's by twenty sends."""
    channel, hour = _rates(train, test, "is_answered", "hour")
    return {"rate_of_channel": channel, "rate_of_hour_and_channel": hour}


def engagement_baselines(train: pd.DataFrame, test: pd.DataFrame, label: str) -> dict[str, Array]:
    """P(answer): the rate of the channel; of the action in the channel, drawn to the channel's by twenty slots."""
    channel, action = _rates(train, test, label, "action")
    return {"rate_of_channel": channel, "rate_of_action_and_channel": action}


def _rates(train: pd.DataFrame, test: pd.DataFrame, label: str, by: str) -> tuple[Array, Array]:
    """The rate of a row's channel; and by another column too, drawn to the channel's."""
    overall = float(train[label].mean())
    by_channel = train.groupby("channel")[label].mean()
    channel = test["channel"].map(by_channel).fillna(overall).to_numpy(np.float64)
    grouped = train.groupby(["channel", by])[label].agg(["sum", "size"])
    counts = grouped.reindex(pd.MultiIndex.from_frame(test[["channel", by]])).fillna(0.0)
    return channel, (counts["sum"].to_numpy() + _DRAWN_BY * channel) / (counts["size"].to_numpy() + _DRAWN_BY)
