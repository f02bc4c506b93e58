"""Engagement: how likely a customer is to open what an e-mail brings, or to click what was seen.

Belongs here: what is fitted to which label. Does not belong here: how (`models.response`), the features
(`models.inputs`), or where shown slots come from (`models.frames`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from models import response
from models.response import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Params(response.Params):
    """What is fitted, to which label.

    Attributes:
        label: `is_opened`, of what an e-mail brought, or `is_clicked`, of what was seen.

    """

    label: Literal["is_opened", "is_clicked"]


def train(frame: pd.DataFrame, params: Params) -> Response:
    """The model of rows of shown slots, one for all actions and channels.

    Args:
        frame: A slot that was sent or shown per row: the features (`models.inputs.engagement_features`), among them a
            `channel_<name>` per channel and `hour_of_day` (0 to 23, by the customer's clock), all as of `shown_at`;
            `customer_id`; and the label, 1 or 0. Rows whose label is missing are left out: of what is on a page nobody
            knows whether it was opened.
        params: What is fitted.

    Raises:
        TooLittleDataError: as `models.response.train` says.

    """
    known = frame[frame[params.label].notna()]
    return response.train(known, known[params.label].to_numpy(np.float64), params)
