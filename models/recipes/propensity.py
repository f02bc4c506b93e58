"""A version of propensity: which campaigns it is trained and measured on, what is measured, and what is asked of it.

Belongs here: the split by time, the measures, the demands. Does not belong here: the fit (`models.propensity`), reading
the frame (`models.frames`), or the registry (`models.lifecycle`).
"""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd

from models import evaluation, frames, propensity
from models.arrays import Array
from models.baselines import redemption_baselines
from models.calibration import Expectation
from models.candidate import Candidate, Champion
from models.cards import Words
from models.errors import TooLittleDataError
from models.frames import TrainingSet
from models.gates import Thresholds
from models.inputs import propensity_features
from models.labels import PRIOR_RESPONSES, by_contact, soft_labels
from models.lifecycle import Recipe
from models.recipes.measures import Measures, Rows, of_probabilities
from models.recipes.trial import Fit, Trial, candidate, spend_segments, trial, trial_of

NAME = "propensity"
TEST_PERIOD = timedelta(days=56)
THRESHOLDS = Thresholds(
    champion_margin=0.01, calibration={"calibration_error": 0.05, "row_calibration_error_share": 0.4}
)

WORDS = Words(
    title="Propensity to redeem",
    what="""\
The probability that a customer redeems the coupon of an action when it is offered. One model over
features of the customer, the action and the pair: logistic regression or boosted trees, whichever is better on
campaigns left out of the fit (the run's parameter `family`), calibrated on them by Platt scaling.""",
    rows="""\
Rows are household x campaign x offered action, of campaigns that began after the history begins and ended before it
ends. Features are those known when the campaign began. Training campaigns had ended before the first test campaign
began.""",
    labels=f"""\
- Campaigns of type B and C sent every coupon to every household: the label is the category's redemption, as it is.
- Campaigns of type A (most redemptions) gave each household 16 coupons and did not record which. The label is an
  estimate: *any coupon of the campaign redeemed* x *share of the category*, the part of the redeeming type A contacts
  known before it that redeemed the category. Shares sum to more than 1, since a household may redeem several. An
  action's share shrinks towards its department's, and that towards the share of all, each with the weight of
  {PRIOR_RESPONSES:g} redeeming contacts, so that thin categories borrow from their department. A row counts as a
  success with the label's weight and as a failure with the rest.""",
    measured="""\
Per household x campaign, *any coupon redeemed*, which needs no assumption. The score is 1 - prod(1 - p) over the
offered actions, for type A the sum over the sum of shares, which undoes the sharing out of the label. `row_...`
compares each row with the category's redemption as recorded; in type A it depends on who got which coupon.
`row_calibration_error_share` is the error as a part of the rate of redemption.""",
    unit="AUC",
    time="contacted_at",
    limits="""\
- **Not causal.** It says who redeems, not whom the coupon changes: nobody was left out at random. No lift is claimed.
- Households of the campaigns were chosen by the retailer. For households never contacted it extrapolates.
- One year of one retailer in one region. No clicks, no digital channels; redemption at the till is the only response.
- The type of campaign is a feature, and decides the level of the probabilities.""",
)


def split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows: campaigns that had ended when the first test campaign began, and the latest campaigns.

    Campaigns still running at that moment are in neither: their labels were not known then.

    Raises:
        TooLittleDataError: one of the two would have no redemption to learn from or to be measured by, or there would
            be one campaign to learn from, and none to choose a model by.

    """
    begins = frame["contacted_at"].max() - TEST_PERIOD
    test = frame[frame["contacted_at"] > begins]
    train = frame[frame["ended_at"] <= test["contacted_at"].min()]
    for name, rows in (("before", train), ("in", test)):
        if not 0 < rows["any_redeemed"].mean() < 1:
            raise TooLittleDataError(
                f"propensity_labels: {len(rows)} rows of campaigns {name} the test period from {begins:%Y-%m-%d} on, "
                "and not both redeemed and unredeemed ones: take more households or a longer history"
            )
    if len(train["campaign_id"].unique()) == 1:
        raise TooLittleDataError(
            f"propensity_labels: one campaign had ended when the test period from {begins:%Y-%m-%d} on began: it takes "
            "two to choose a model"
        )
    return train.reset_index(drop=True), test.reset_index(drop=True)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on `data` and measure on its latest campaigns."""
    train, test = split(data.frame)
    features = propensity_features(data.frame)
    trained = propensity.train(train, propensity.Params(features=features))
    chosen = dict(trained.chosen) | {"campaigns_trained_on": _campaigns(train), "campaigns_tested_on": _campaigns(test)}
    until = train["ended_at"].max().to_pydatetime()
    fit = Fit(fitted=trained.model, chosen=chosen, features=features, trained_until=until)
    tried = trial(NAME, data, (train, test), fit, champion)
    return candidate(tried, fit, _measures(tried), THRESHOLDS, WORDS)


def measure(data: TrainingSet, version: Champion, champion: Champion | None) -> Measures:
    """What is measured of a version of before, on the rows of today."""
    return _measures(trial_of(version, data, split(data.frame), champion))


def _measures(tried: Trial) -> Measures:
    """Per contact, any offer redeemed; and per row."""
    test, probability, rival = tried.test, tried.scores(), tried.rival(tried.test)
    contacts = by_contact(test, probability)
    kinds = zip(spend_segments(contacts), contacts["campaign_type"], strict=True)
    subjects = pd.DataFrame(
        {
            "customer_id": contacts["customer_id"],
            "at": contacts["contacted_at"],
            "segment": [f"{kind}, {spend}" for spend, kind in kinds],
            "actual": contacts["any_redeemed"].astype(float),
            "predicted": contacts["probability"],
        }
    )
    rows = Rows(
        subjects=subjects,
        baselines=redemption_baselines(by_contact(tried.train, soft_labels(tried.train)), contacts),
        rival=None if rival is None else by_contact(test, rival)["probability"].to_numpy(np.float64),
        is_unseen=tried.unseen(contacts["contacted_at"]),
        unit="P(any coupon of the campaign redeemed)",
    )
    by_row = _measure_rows(test, probability) | {"test_contacts": len(contacts)}
    share = "row_calibration_error_share"
    measures = of_probabilities(rows).with_metrics(by_row, {share: by_row[share]})
    return replace(measures, expectations={**measures.expectations, share: _expected_of_rows(test, probability)})


def _expected_of_rows(test: pd.DataFrame, probability: Array) -> Expectation:
    rows = test[["customer_id", "contacted_at"]].set_axis(["customer_id", "at"], axis="columns")
    return Expectation(rows.assign(predicted=probability, actual=test["is_redeemed"].astype(float)), is_share=True)


def _measure_rows(test: pd.DataFrame, probability: Array) -> dict[str, float]:
    """Against the category's redemption as recorded, in every campaign: in type A it depends on who got which offer.

    Decisions weigh each action's own probability against its cost: no sum over actions may hide that it is off.
    """
    redeemed = test["is_redeemed"].to_numpy(bool)
    error = evaluation.calibration_error(redeemed.astype(np.float64), probability)
    return {
        "row_auc": float(evaluation.auc(redeemed, probability)(np.ones((1, len(test))))[0]),
        "row_log_loss": evaluation.log_loss(redeemed.astype(np.float64), probability),
        "row_redemption_rate": float(redeemed.mean()),
        "row_calibration_error": error,
        "row_calibration_error_share": error / max(float(redeemed.mean()), 1e-12),
    }


def _campaigns(rows: pd.DataFrame) -> str:
    return " ".join(rows.sort_values("contacted_at")["campaign_id"].astype(str).unique())


RECIPE = Recipe(NAME, frames.propensity_set, build, measure, THRESHOLDS)
