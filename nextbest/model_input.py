"""Model input: what a model is fed to score actions for one customer, at one moment, in one channel.

Belongs here: the numbers a model takes that are no feature of the customer: of the channel, the moment, the action and
the request. Does not belong here: how rows are laid out (`nextbest.features`), or running a model (an adapter). A
decision, the learning from it and its explanation all feed models by this, so that none of them sees another row.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import numpy as np

from nextbest.features import Column, Matrix, design_matrix
from nextbest.live_features import customers_clock
from nextbest.model_set import FeatureSpec, Model
from nextbest.policy import Action
from nextbest.records import Attribute

CHANNEL: Final = "channel_"
"""How the name of a feature begins that is 1 in the channel it names, and 0 in any other."""
HOUR: Final = "hour_of_day"
"""The feature that is the hour by the customer's clock, from 0 to 23; by UTC's where theirs is not known."""


def model_input(
    model: Model,
    actions: Sequence[Action],
    *,
    features: Mapping[str, Attribute | None],
    context: Mapping[str, Attribute],
    channel: str,
    now: datetime,
) -> Matrix:
    """A row per action, as `nextbest.features.design_matrix` lays it out.

    Args:
        model: To be fed.
        actions: To be scored, one row each.
        features: The customer's.
        context: What is known of the moment, by the request and of the world outside.
        channel: In which the actions would be proposed; a model that takes none gives the same for any.
        now: The moment of the decision.

    """
    columns: dict[str, Column] = {}
    for feature in model.features:
        if feature.origin != "context":
            continue
        if feature.name == HOUR:
            columns[HOUR] = float(customers_clock(context, now).hour)
        elif feature.name.startswith(CHANNEL):
            columns[feature.name] = float(feature.name == CHANNEL + channel)
        else:
            columns[feature.name] = _own_or_sent(feature, actions, context)
    return design_matrix(model, features, [action.id for action in actions], columns)


@lru_cache(maxsize=64)
def is_by_channel(model: Model) -> bool:
    """Whether a model may say something else of the same action in another channel."""
    return any(each.origin == "context" and each.name.startswith(CHANNEL) for each in model.features)


def _own_or_sent(feature: FeatureSpec, actions: Sequence[Action], context: Mapping[str, Attribute]) -> Column:
    """A number for each action: its own attribute, or else the decision's."""
    sent = context.get(feature.name)
    otherwise = feature.default if sent is None or isinstance(sent, str) else float(sent)
    return np.array([action.context.get(feature.name, otherwise) for action in actions], dtype=np.float32)
