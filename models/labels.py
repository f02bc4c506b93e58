"""Propensity labels: what is known of who redeemed what, and the share of an action where the offer is not recorded.

Belongs here: pure arithmetic on frames of labels. Does not belong here: reading them (`models.frames`).

Campaigns of assignment `all` sent every offer to everybody, so a category's redemption is its own label. In those of
assignment `subset` each household got some offers and nobody recorded which. Their label is an estimate,

    P(category redeemed) = P(any offer redeemed) x share of the category,

where the share is P(category redeemed | any offer redeemed), known from before. A household may redeem several, so
shares sum to more than 1. It says how likely a redemption of the category is, not what the offer causes.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.arrays import Array

PRIOR_RESPONSES = 100.0


def action_shares(statistics: pd.DataFrame) -> pd.DataFrame:
    """The share of each action among contacts that redeem anything, thin actions borrowing from their department.

    The share of a department's mean action shrinks towards that of all, the share of an action towards its
    department's, each with the weight of `PRIOR_RESPONSES` contacts that redeemed something.

    Args:
        statistics: One row per action: `action`, `department`, and the counts of one moment: `responses` (contacts that
            offered the action and redeemed anything) and `redemptions` (those of them that redeemed it).

    Returns:
        `action` and `share`, in the rows' order; each is above 0 and at most 1.

    """
    responses, redemptions = (statistics[name].to_numpy(dtype=np.float64) for name in ("responses", "redemptions"))
    _, department = np.unique(statistics["department"].to_numpy(dtype=str), return_inverse=True)
    # One success in the prior: without any history every share is the same, and none is zero.
    overall = (redemptions.sum() + 1.0) / (responses.sum() + PRIOR_RESPONSES)
    of_department = _shrunk(_sums(department, redemptions), _sums(department, responses), overall)
    share = _shrunk(redemptions, responses, of_department[department])
    return pd.DataFrame({"action": statistics["action"].to_numpy(), "share": share})


def _sums(group: NDArray[np.intp], counts: Array) -> Array:
    return np.bincount(group, counts).astype(np.float64)


def _shrunk(redemptions: Array, responses: Array, prior_share: Array | float) -> Array:
    return np.asarray((redemptions + PRIOR_RESPONSES * prior_share) / (responses + PRIOR_RESPONSES))


def soft_labels(frame: pd.DataFrame) -> Array:
    """P(redeemed) of each row of household x campaign x action, as far as it is known (module docstring)."""
    estimate = frame["any_redeemed"].to_numpy(np.float64) * frame["share"].to_numpy(np.float64)
    known = frame["is_redeemed"].to_numpy(np.float64)
    return np.where(frame["assignment"].to_numpy() == "subset", estimate, known)


def by_contact(frame: pd.DataFrame, probability: Array) -> pd.DataFrame:
    """P(any offer of the contact is redeemed), the one label of every campaign that needs no estimate.

    Offers everybody got are taken as independent, 1 - prod(1 - p). Where one label was shared out among the actions,
    the sum over the sum of their shares undoes it.

    Returns:
        One row per contact: `customer_id`, `campaign_type`, `any_redeemed`, `probability`, and features of the contact.

    """
    contacts, first, code = np.unique(frame["contact_id"].to_numpy(dtype=str), return_index=True, return_inverse=True)
    total, shares = (
        np.bincount(code, weights=values, minlength=len(contacts))
        for values in (probability, frame["share"].to_numpy(np.float64))
    )
    none = np.bincount(code, weights=np.log1p(-np.minimum(probability, 1 - 1e-12)), minlength=len(contacts))
    rows = frame.iloc[first].reset_index(drop=True)
    is_shared = rows["assignment"].to_numpy() == "subset"
    return rows.assign(probability=np.where(is_shared, np.minimum(total / shares, 1.0), -np.expm1(none)))
