"""Labels: a row that nothing may learn from is named, before any library stumbles over it."""

import numpy as np
import pandas as pd
import pytest

from models import label_rows
from models.errors import TrainingDataError

NOON = pd.Timestamp(2026, 3, 2, 12, tz="UTC")


def labels(**columns: object) -> pd.DataFrame:
    rows = {
        "customer_id": ["1", "2"],
        "decided_at": [NOON, NOON],
        "hour_of_day": [0, 23],
        "weekday": [1, 7],
        "probability": [0.5, 1.0],
        "spend_next_91d": [0.0, 12.5],
        "is_seen": [True, False],
        "draw": [None, "{}"],
        "is_opened": [None, True],
    }
    return pd.DataFrame(rows | columns)


def test_rows_as_the_warehouse_makes_them_are_taken() -> None:
    """Whole hours and days, amounts of zero and more; and what may be missing is."""
    label_rows.check(labels(), "decision_labels")
    label_rows.check(labels().iloc[:0], "decision_labels")


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("hour_of_day", [24, 3], "1 of 2 rows hold no hour_of_day between 0 and 23"),
        ("weekday", [None, 3], "1 of 2 rows hold no weekday"),
        ("customer_id", ["1", None], "1 of 2 rows hold no customer_id"),
        ("is_seen", [None, None], "2 of 2 rows hold no is_seen"),
        ("spend_next_91d", [-1.0, np.inf], "2 of 2 rows hold no spend_next_91d between 0 and 1e+12"),
        ("spend_next_91d", [np.nan, 1e300], "1 of 2 rows hold no spend_next_91d"),
        ("probability", [2.0, 0.1], "1 of 2 rows hold no probability between 0 and 1"),
        ("decided_at", [NOON.tz_localize(None)] * 2, "decided_at has no time zone"),
    ],
)
def test_a_row_that_nothing_may_learn_from_is_named(column: str, values: list[object], said: str) -> None:
    """The message says which mart, which column, and how many rows of how many."""
    with pytest.raises(TrainingDataError, match=said.replace("+", r"\+")) as raised:
        label_rows.check(labels(**{column: values}), "decision_labels")
    assert str(raised.value).startswith("decision_labels: ")
