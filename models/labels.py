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

from models.arrays import Array

PRIOR_OFFERS = 500.0


def action_shares(statistics: pd.DataFrame) -> pd.DataFrame:
    """The share of each action among redemptions, thin actions borrowing from their department.

    The redemption rate of a department shrinks towards that of all, the rate of an action towards its department's,
    each with the weight of `PRIOR_OFFERS` offers. Shares are these rates in proportion, as if all were offered alike.

    Args:
        statistics: One row per action: `action`, `department`, and the counts `offers` and `redemptions` of one moment.

    Returns:
        `action` and `share`, in the rows' order; shares sum to 1.

    """
    offers, redemptions = (statistics[name].to_numpy(dtype=np.float64) for name in ("offers", "redemptions"))
    _, department = np.unique(statistics["department"].to_numpy(dtype=str), return_inverse=True)
    # One success in the prior: without any history every rate is the same, and none is zero.
    overall = (redemptions.sum() + 1.0) / (offers.sum() + PRIOR_OFFERS)
    of_department = _shrunk(_sums(department, redemptions), _sums(department, offers), overall)
    rate = _shrunk(redemptions, offers, of_department[department])
    return pd.DataFrame({"action": statistics["action"].to_numpy(), "share": rate / rate.sum()})


def _sums(group: NDArray[np.intp], counts: Array) -> Array:
    return np.bincount(group, counts).astype(np.float64)


def _shrunk(redemptions: Array, offers: Array, prior_rate: Array | float) -> Array:
    return np.asarray((redemptions + PRIOR_OFFERS * prior_rate) / (offers + PRIOR_OFFERS))


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
