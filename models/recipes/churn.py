"""A version of churn: what it is trained on, what is measured, and what is asked of it.

Belongs here: the measures, the demands. Does not belong here: the fit (`models.churn`), the split
(`models.recipes.cutoffs`), reading the frame (`models.frames`), or the registry (`models.lifecycle`).
"""

import pandas as pd

from models import churn, frames
from models.baselines import churn_baselines
from models.candidate import Candidate, Champion
from models.cards import Words
from models.frames import TrainingSet
from models.gates import Thresholds
from models.inputs import lifetime_features
from models.lifecycle import Recipe
from models.recipes.cutoffs import HORIZON, split, trained_until
from models.recipes.measures import Measures, Rows, of_probabilities
from models.recipes.trial import Fit, Trial, candidate, spend_segments, trial, trial_of

NAME = "churn"
THRESHOLDS = Thresholds(champion_margin=0.01, calibration={"calibration_error": 0.05})
WORDS = Words(
    title="Churn: no purchase in the next 91 days",
    what="""\
The probability that a customer buys nothing in the next 91 days. A classifier over the customer's features and what
BG/NBD makes of the purchases alone (whose probability of being alive is in it), calibrated together.""",
    rows="""\
Rows are customer x cut-off, one every four weeks, of customers who have ever bought. Features are those known at the
cut-off, labels the 91 days after it. Training windows had closed when the test window began.""",
    labels="Whether the customer bought nothing in the 91 days after the cut-off. Nobody says when he leaves.",
    measured="On the last cut-off.",
    unit="AUC",
    time="cutoff_at",
    limits="""\
- **Not causal.** It says who stays away, not whom a message would bring back.
- Who stays away for 91 days may still come back: it is a horizon, not an end.
- Less than a year of history: the season of the test window was never seen in training.""",
)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on `data` and measure on its last cut-off."""
    train, test = split(data.frame)
    features = lifetime_features(data.frame)
    trained = churn.train(train, churn.Params(features=features, horizon_days=HORIZON.days))
    chosen = dict(trained.chosen) | {"horizon_days": HORIZON.days}
    fit = Fit(fitted=trained, chosen=chosen, features=features, trained_until=trained_until(train))
    tried = trial(NAME, data, (train, test), fit, champion)
    return candidate(tried, fit, _measures(tried), THRESHOLDS, WORDS)


def measure(data: TrainingSet, version: Champion, champion: Champion | None) -> Measures:
    """What is measured of a version of before, on the rows of today."""
    return _measures(trial_of(version, data, split(data.frame), champion))


def _measures(tried: Trial) -> Measures:
    test = tried.test
    subjects = pd.DataFrame(
        {
            "customer_id": test["customer_id"],
            "at": test["cutoff_at"],
            "segment": spend_segments(test),
            "actual": test["is_churned"].astype(float),
            "predicted": tried.scores(),
        }
    )
    rows = Rows(
        subjects=subjects,
        baselines=churn_baselines(tried.train, test),
        rival=tried.rival(test),
        is_unseen=tried.unseen(test["cutoff_at"]),
        unit="P(no purchase in 91 days)",
    )
    return of_probabilities(rows)


RECIPE = Recipe(NAME, frames.clv_set, build, measure, THRESHOLDS)
