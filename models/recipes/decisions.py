"""Decisions as rows to learn from: what was decided early is trained on, what was decided last is measured on.

Belongs here: the split by time. Does not belong here: what is predicted (each recipe).
"""

from datetime import datetime, timedelta

import pandas as pd

from models.errors import TooLittleDataError

TEST_PERIOD = timedelta(days=14)
ANSWERED_WITHIN = timedelta(days=7)
"""How long after a decision its answers count (`decision_labels`)."""


def split(frame: pd.DataFrame, what: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows: decisions whose answers were in when the test period began, and those of that period.

    Raises:
        TooLittleDataError: one of the two has no row.

    """
    begins = frame["decided_at"].max() - TEST_PERIOD
    train, test = frame[frame["decided_at"] + ANSWERED_WITHIN <= begins], frame[frame["decided_at"] > begins]
    if train.empty:
        raise TooLittleDataError(
            f"decision_labels: no {what} is {(TEST_PERIOD + ANSWERED_WITHIN).days} days older than the last one: "
            "it takes some weeks of decisions"
        )
    return train.reset_index(drop=True), test.reset_index(drop=True)


def trained_until(train: pd.DataFrame) -> datetime:
    """When the last answer that was trained on had time to come."""
    end: datetime = (train["decided_at"].max() + ANSWERED_WITHIN).ceil("us").to_pydatetime()
    return end
