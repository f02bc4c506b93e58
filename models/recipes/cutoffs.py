"""Customers at cut-offs: what models of the next 91 days are trained and measured on.

Belongs here: the split by time. Does not belong here: what is predicted (each recipe).
"""

from datetime import datetime, timedelta

import pandas as pd

from models.clv import FOLDS
from models.errors import TooLittleDataError

HORIZON = timedelta(days=91)


def split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows: cut-offs whose window had closed at the last cut-off, and the last cut-off.

    Raises:
        TooLittleDataError: no cut-off lies a whole window before the last one, or there are fewer customers than folds.

    """
    last = frame["cutoff_at"].max()
    train, test = frame[frame["cutoff_at"] + HORIZON <= last], frame[frame["cutoff_at"] == last]
    if train.empty:
        raise TooLittleDataError(
            f"clv_labels: no cut-off lies {HORIZON.days} days before the last, {last}: the history is too short"
        )
    customers = train["customer_id"].nunique()
    if customers < FOLDS:
        raise TooLittleDataError(f"clv_labels: {customers} customers are too few: it takes {FOLDS} to choose a model")
    return train.reset_index(drop=True), test.reset_index(drop=True)


def trained_until(train: pd.DataFrame) -> datetime:
    """The end of the last window that was trained on."""
    end: datetime = (train["cutoff_at"].max() + HORIZON).to_pydatetime()
    return end
