"""Versions of engagement: whether an e-mail is opened, and whether what is seen is clicked.

Belongs here: the measures, the demands. Does not belong here: the fit (`models.engagement`), the split
(`models.recipes.decisions`), reading the frame (`models.decision_frames`), or the registry (`models.lifecycle`).
"""

from typing import Literal

import pandas as pd

from models import decision_frames, engagement
from models.baselines import engagement_baselines
from models.candidate import Candidate, Champion
from models.cards import Words
from models.errors import TooLittleDataError
from models.frames import TrainingSet
from models.gates import Thresholds
from models.inputs import engagement_features
from models.lifecycle import Recipe
from models.recipes.decisions import split, trained_until
from models.recipes.measures import Measures, Rows, of_probabilities
from models.recipes.trial import Fit, Trial, candidate, trial, trial_of

Label = Literal["is_opened", "is_clicked"]
LABELS: dict[str, Label] = {"opens": "is_opened", "clicks": "is_clicked"}
THRESHOLDS = Thresholds(champion_margin=0.01, calibration={"calibration_error": 0.05})
_LEAST = 50
_WORDS = {
    "opens": ("Opens: an e-mail is opened", "Whether the e-mail was opened within seven days."),
    "clicks": ("Clicks: what is seen is clicked", "Whether the slot, which was seen, was clicked within seven days."),
}


def words(name: str) -> Words:
    """The card of one of the two."""
    title, labels = _WORDS[name]
    return Words(
        title=title,
        what="""\
One model over the customer, the action, the pair, the channel and the hour: logistic regression or boosted trees,
whichever is better on unseen customers, calibrated on them.""",
        rows="""\
Rows are slots that were sent (opens) or seen (clicks), of decisions older than seven days. Features are those known
when it was decided. Answers to the training rows had come when the test period began.""",
        labels=labels,
        measured="On the decisions of the last 14 days.",
        unit="AUC",
        time="decided_at",
        limits="""\
- **Not causal**, and of what was shown: who was shown what is as the policy had it.
- An open is what a mail program reports: some never do, some always.""",
    )


def _recipe(name: str) -> Recipe:
    label = LABELS[name]

    def rows(data: TrainingSet) -> tuple[pd.DataFrame, pd.DataFrame]:
        train, test = split(data.frame[data.frame[label].notna()], f"slot with {label}")
        for which, part in (("training", train), ("test", test)):
            for answer, count in (("with", part[label].sum()), ("without", (1 - part[label]).sum())):
                if count < _LEAST:
                    raise TooLittleDataError(f"{label}: {count:.0f} {which} rows {answer} it, it takes {_LEAST}")
        return train, test

    def build(data: TrainingSet, champion: Champion | None) -> Candidate:
        train, test = rows(data)
        features = engagement_features(data.frame)
        trained = engagement.train(train, engagement.Params(features=features, label=label))
        fit = Fit(fitted=trained.model, chosen=trained.chosen, features=features, trained_until=trained_until(train))
        tried = trial(name, data, (train, test), fit, champion)
        return candidate(tried, fit, _measures(tried, label), THRESHOLDS, words(name))

    def measure(data: TrainingSet, version: Champion, champion: Champion | None) -> Measures:
        return _measures(trial_of(version, data, rows(data), champion), label)

    return Recipe(name, decision_frames.engagement_set, build, measure, THRESHOLDS)


def _measures(tried: Trial, label: Label) -> Measures:
    test = tried.test
    subjects = pd.DataFrame(
        {
            "customer_id": test["customer_id"],
            "at": test["decided_at"],
            "segment": test["channel"],
            "actual": test[label].astype(float),
            "predicted": tried.scores(),
        }
    )
    rows = Rows(
        subjects=subjects,
        baselines=engagement_baselines(tried.train, test, label),
        rival=tried.rival(test),
        is_unseen=tried.unseen(test["decided_at"]),
        unit=f"P({label.removeprefix('is_')})",
    )
    return of_probabilities(rows)


RECIPES = {name: _recipe(name) for name in LABELS}
