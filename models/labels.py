"""Propensity labels: what is known of who redeemed what, and the share of an action where the offer is not recorded.

Belongs here: pure arithmetic on frames of labels. Does not belong here: reading them (`models.frames`).

Campaigns of assignment `all` sent every offer to everybody, so a category's redemption is its own label. In those of
assignment `subset` each household got some offers and nobody recorded which. Their label is an estimate,

    P(category redeemed) = P(any offer redeemed) x share of the category among such redemptions known before,

and says how likely a redemption of the category is, not what the offer causes.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

DEPARTMENT_PRIOR = 20.0
ACTION_PRIOR = 10.0


def action_shares(statistics: pd.DataFrame) -> pd.DataFrame:
    """The share of each action in redemptions, thin actions borrowing from their department.

    A department's share shrinks towards its part of the actions, with the weight of `DEPARTMENT_PRIOR` redemptions; an
    action's share of its department shrinks towards an equal one, with the weight of `ACTION_PRIOR`.

    Args:
        statistics: One row per action: `action`, `department`, `redemptions` (a count, of one moment).

    Returns:
        `action`, `share` and `department_share`, in the rows' order; shares sum to 1.

    """
    counts = statistics["redemptions"].to_numpy(dtype=np.float64)
    _, department = np.unique(statistics["department"].to_numpy(dtype=str), return_inverse=True)
    size = np.bincount(department).astype(np.float64)
    redeemed = np.bincount(department, weights=counts)
    of_all = (redeemed + DEPARTMENT_PRIOR * size / size.sum()) / (redeemed.sum() + DEPARTMENT_PRIOR)
    of_department = (counts + ACTION_PRIOR / size[department]) / (redeemed[department] + ACTION_PRIOR)
    return pd.DataFrame(
        {
            "action": statistics["action"].to_numpy(),
            "share": of_all[department] * of_department,
            "department_share": of_all[department],
        }
    )


def soft_labels(frame: pd.DataFrame) -> Array:
    """P(redeemed) of each row of household x campaign x action, as far as it is known (module docstring)."""
    estimate = frame["any_redeemed"].to_numpy(np.float64) * frame["share"].to_numpy(np.float64)
    known = frame["is_redeemed"].to_numpy(np.float64)
    return np.where(frame["assignment"].to_numpy() == "subset", estimate, known)


def by_contact(frame: pd.DataFrame, probability: Array) -> pd.DataFrame:
    """P(any offer of the contact is redeemed), the one label of every campaign that needs no estimate.

    Offers everybody got are taken as independent, 1 - prod(1 - p). Where one label was shared out, the sum undoes it.

    Returns:
        One row per contact: `customer_id`, `campaign_type`, `any_redeemed`, `probability`, and features of the contact.

    """
    contacts, first, code = np.unique(frame["contact_id"].to_numpy(dtype=str), return_index=True, return_inverse=True)
    total = np.bincount(code, weights=probability, minlength=len(contacts))
    none = np.bincount(code, weights=np.log1p(-np.minimum(probability, 1 - 1e-12)), minlength=len(contacts))
    rows = frame.iloc[first].reset_index(drop=True)
    is_shared = rows["assignment"].to_numpy() == "subset"
    return rows.assign(probability=np.where(is_shared, np.minimum(total, 1.0), -np.expm1(none)))
