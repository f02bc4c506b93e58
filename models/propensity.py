"""Propensity: how likely a customer is to respond to an action when it is offered; one model for all actions.

Belongs here: what is fitted to which label. Does not belong here: how (`models.response`), labels (`models.labels`),
the features (`models.inputs`), or which rows it is trained and measured on (`models.recipes.propensity`).
"""

import pandas as pd

from models import response
from models.labels import soft_labels
from models.response import Params, Response

__all__ = ["Params", "Response", "train"]


def train(frame: pd.DataFrame, params: Params) -> Response:
    """The model of rows of contact x offered action (`models.frames.assemble_propensity`).

    Args:
        frame: A contact and an action it offered per row: the features, `customer_id`, and what `models.labels` makes
            labels of: `is_redeemed`, `any_redeemed`, `share` and `assignment`. Contacts of no campaign have no
            `campaign_id`, and an `assignment` other than `subset`.
        params: What is fitted.

    Raises:
        TooLittleDataError: as `models.response.train` says.

    """
    return response.train(frame, soft_labels(frame), params)
