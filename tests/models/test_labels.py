"""Shares and soft labels: arithmetic a person can check by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.labels import action_shares, by_contact, soft_labels

counts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100)), min_size=1, max_size=30)


def table(rows: list[tuple[str, int]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"action": f"action_{n}", "department": d, "responses": 100, "redemptions": c}
            for n, (d, c) in enumerate(rows)
        ]
    )


@given(counts)
def test_a_share_is_a_probability_whatever_was_redeemed(rows: list[tuple[str, int]]) -> None:
    """Never 0, so that a new action has a chance, and never more than certain."""
    shares = action_shares(table(rows))["share"]
    assert shares.between(0, 1, inclusive="right").all()


def test_with_much_evidence_shares_are_what_happened() -> None:
    """Of a hundred thousand households that redeem, half redeem both: the labels of all add up to what was redeemed."""
    rows = table([("a", 100_000), ("a", 50_000)]).assign(responses=100_000)
    assert action_shares(rows)["share"].to_numpy() == pytest.approx([1.0, 0.5], abs=0.002)


def test_a_thin_action_borrows_from_its_department() -> None:
    """Of two actions nobody redeemed, the one in the department that is redeemed often is likelier."""
    shares = action_shares(table([("busy", 40), ("busy", 0), ("quiet", 2), ("quiet", 0)]))["share"]
    assert shares[1] > shares[3]
    assert shares[0] > shares[2]


def test_without_any_redemption_every_action_is_as_likely() -> None:
    """Before the first campaign nothing is known, and nothing is pretended."""
    shares = action_shares(table([("a", 0), ("a", 0), ("b", 0), ("b", 0)]))["share"]
    assert np.allclose(shares, shares[0])


def labels() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "contact_id": ["1-9", "1-9", "2-9", "2-9"],
            "customer_id": "9",
            "assignment": ["subset", "subset", "all", "all"],
            "any_redeemed": [True, True, True, True],
            "is_redeemed": [True, False, False, True],
            "share": [0.6, 0.9, 0.6, 0.9],
        }
    )


def test_only_an_unrecorded_assignment_gets_an_estimated_label() -> None:
    """Where everybody got everything, the label is what happened; elsewhere any redemption is shared out."""
    assert soft_labels(labels()).tolist() == [0.6, 0.9, 0.0, 1.0]


def test_contacts_get_back_what_their_labels_were_shared_out_from() -> None:
    """The sum over the sum of shares undoes the sharing out; independent offers combine as such."""
    contacts = by_contact(labels(), np.array([0.3, 0.45, 0.5, 0.5]))
    assert contacts["contact_id"].tolist() == ["1-9", "2-9"]
    assert contacts["probability"].to_numpy() == pytest.approx([0.5, 0.75])
