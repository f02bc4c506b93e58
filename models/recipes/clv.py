"""A version of customer lifetime value: what it is trained on, what is measured, and what is asked of it.

Belongs here: the measures, the demands. Does not belong here: the fit (`models.clv`), the split
(`models.recipes.cutoffs`), reading the frame (`models.frames`), or the registry (`models.lifecycle`).
"""

import pandas as pd

from models import clv, frames
from models.baselines import spend_baselines
from models.candidate import Candidate, Champion
from models.cards import Words
from models.frames import TrainingSet
from models.gates import Thresholds
from models.inputs import lifetime_features
from models.lifecycle import Recipe
from models.recipes.cutoffs import HORIZON, split, trained_until
from models.recipes.measures import Measures, Rows, of_amounts
from models.recipes.trial import Fit, Trial, candidate, spend_segments, trial, trial_of

NAME = "clv"
THRESHOLDS = Thresholds(champion_margin=0.02, calibration={"absolute_bias": 0.15})

WORDS = Words(
    title="Customer lifetime value: spend of the next 91 days, in USD",
    what="""\
The best of three on customers and a window that none had seen: a ridge regression of the square root of spend, a
boosted hurdle model (whether anything is bought, and how much then), and buy till you die (BG/NBD and Gamma-Gamma). The
run's parameters say which it is, and the errors of all. `bias` is how far its sum is from the truth.""",
    rows="""\
Rows are customer x cut-off, one every four weeks. Features are those known at the cut-off, labels the 91 days after
it. Training windows had closed when the test window began.""",
    labels="What the customer spent in the 91 days after the cut-off.",
    measured="""\
On the last cut-off. `..._mae` is the part of the baseline's error that is gone, `..._spearman` the difference of rank
correlations, `champion` the part of the champion's error that is gone.""",
    unit="gain",
    time="cutoff_at",
    limits="""\
- A forecast of spend, not of margin, and **not causal**: no action is credited with it.
- Less than a year of history: the season of the test window was never seen in training.
- Spend includes every product of the retailer, fuel among them.""",
)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on `data` and measure on its last cut-off."""
    train, test = split(data.frame)
    features = lifetime_features(data.frame)
    trained = clv.train(train, clv.Params(features=features))
    chosen = dict(trained.chosen) | {"horizon_days": HORIZON.days, "tested_on": f"{test['cutoff_at'].iloc[0]:%Y-%m-%d}"}
    fit = Fit(fitted=trained.model, chosen=chosen, features=features, trained_until=trained_until(train))
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
            "actual": test["spend_next_91d"].astype(float),
            "predicted": tried.scores(),
        }
    )
    rows = Rows(
        subjects=subjects,
        baselines=spend_baselines(test, HORIZON),
        rival=tried.rival(test),
        is_unseen=tried.unseen(test["cutoff_at"]),
        unit="USD in 91 days",
    )
    return of_amounts(rows)


RECIPE = Recipe(NAME, frames.clv_set, build, measure, THRESHOLDS)
