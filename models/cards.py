"""Model cards: what a person should know before trusting a model, as Markdown beside each version.

Belongs here: words. Does not belong here: computing the numbers in them.
"""

from collections.abc import Mapping
from typing import TypedDict, Unpack

import pandas as pd

from models.evaluation import CONFIDENCE, RESAMPLES, Interval
from models.gates import Thresholds
from models.labels import PRIOR_RESPONSES

_PROPENSITY = """\
# Propensity to redeem

The probability that a customer redeems the coupon of an action when it is offered. One logistic regression over
features of the customer, the action and the pair; calibrated by Platt scaling on campaigns left out of the fit.

## Data

{data}

Rows are household x campaign x offered action, of campaigns that began after the history begins and ended before it
ends. Features are those known when the campaign began. Training campaigns had ended before the first test campaign
began.

## Labels

- Campaigns of type B and C sent every coupon to every household: the label is the category's redemption, as it is.
- Campaigns of type A (most redemptions) gave each household 16 coupons and did not record which. The label is an
  estimate: *any coupon of the campaign redeemed* x *share of the category*, the part of the redeeming type A contacts
  known before it that redeemed the category. Shares sum to more than 1, since a household may redeem several. An
  action's share shrinks towards its department's, and that towards the share of all, each with the weight of
  {prior_responses:g} redeeming contacts, so that thin categories borrow from their department. A row counts as a
  success with the label's weight and as a failure with the rest.

## Measured

Per household x campaign, *any coupon redeemed*, which needs no assumption. The score is 1 - prod(1 - p) over the
offered actions, for type A the sum over the sum of shares, which undoes the sharing out of the label. {intervals}

{metrics}

{gains}

`row_...` compares each row with the category's redemption as recorded; in type A it depends on who got which coupon.
`row_calibration_error_share` is the error as a part of the rate of redemption.

## Asked of it

{thresholds}

## Limits

- **Not causal.** It says who redeems, not whom the coupon changes: nobody was left out at random. No lift is claimed.
- Households of the campaigns were chosen by the retailer. For households never contacted it extrapolates.
- One year of one retailer in one region. No clicks, no digital channels; redemption at the till is the only response.
- The type of campaign is a feature, and decides the level of the probabilities.
"""

_CLV = """\
# Customer lifetime value: spend of the next 91 days, in USD

Ridge regression of the square root of spend on square roots of the customer's features: closer to the median than a
regression of spend, since large spenders pull it less. `bias` is how far its sum is from the truth.

## Data

{data}

Rows are customer x cut-off, one every four weeks. Features are those known at the cut-off, labels the 91 days after
it. Training windows had closed when the test window began.

## Measured

On the last cut-off. `..._mae` is the part of the baseline's error that is gone, `..._spearman` the difference of rank
correlations. {intervals}

{metrics}

{gains}

## Asked of it

{thresholds}

## Limits

- A forecast of spend, not of margin, and **not causal**: no action is credited with it.
- Less than a year of history: the season of the test window was never seen in training.
- Spend includes every product of the retailer, fuel among them.
"""


class Measured(TypedDict):
    """What both cards are filled with."""

    train: pd.DataFrame
    test: pd.DataFrame
    contracts: Mapping[str, str]
    gains: Mapping[str, Interval]
    metrics: Mapping[str, float]
    thresholds: Thresholds


def propensity_card(**measured: Unpack[Measured]) -> str:
    """The card of a propensity version."""
    return _PROPENSITY.format(
        prior_responses=PRIOR_RESPONSES,
        **_parts("contacted_at", "AUC", **measured),
    )


def clv_card(**measured: Unpack[Measured]) -> str:
    """The card of a CLV version."""
    return _CLV.format(**_parts("cutoff_at", "gain", **measured))


def _parts(time: str, unit: str, **measured: Unpack[Measured]) -> dict[str, str]:
    thresholds = measured["thresholds"]
    spans = [
        f"- {name}: {len(rows):,} rows, {rows['customer_id'].nunique():,} customers, "
        f"{rows[time].min():%Y-%m-%d} to {rows[time].max():%Y-%m-%d}"
        for name, rows in (("training", measured["train"]), ("test", measured["test"]))
    ]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(measured["contracts"].items()))
    metrics = [(name, f"{value:.6g}") for name, value in measured["metrics"].items()]
    return {
        "data": "\n".join([*spans, f"- contracts: {versions}"]),
        "intervals": f"Intervals: {CONFIDENCE:.0%}, {RESAMPLES:,} bootstrap resamples of households.",
        "metrics": _table(("metric", "value"), metrics),
        "gains": _table(("gain over", unit), [(name, str(gain)) for name, gain in measured["gains"].items()]),
        "thresholds": (
            "- better than each baseline: lower bound of the gain above 0\n"
            f"- not worse than the champion: lower bound of the gain at least -{thresholds.champion_margin:g}\n"
            + "".join(f"- {name} at most {limit:g}\n" for name, limit in thresholds.calibration.items())
            + f"- ONNX file and model differ by at most {thresholds.parity:g}"
        ),
    }


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"| {a} | {b} |" for a, b in [head, ("---", "---"), *rows])
