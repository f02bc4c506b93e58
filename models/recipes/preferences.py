"""A version of preferences: what is measured of it, and what is asked.

Belongs here: the measures, the demands. Does not belong here: the fit (`models.preferences`), the split
(`models.recipes.decisions`), reading the frame (`models.decision_frames`), or the registry (`models.lifecycle`).
"""

from dataclasses import replace

import pandas as pd

from models import decision_frames, preferences
from models.arrays import Array
from models.baselines import send_baselines
from models.candidate import Candidate, Champion
from models.cards import Words
from models.frames import TrainingSet
from models.gates import Thresholds
from models.lifecycle import Recipe
from models.plots import hours_figure
from models.preferences import Params, Preferences
from models.recipes.decisions import split, trained_until
from models.recipes.measures import Measures, Rows, of_likelihoods
from models.recipes.trial import Fit, Trial, candidate, trial, trial_of

NAME = "preferences"
THRESHOLDS = Thresholds(champion_margin=0.005, calibration={"calibration_error": 0.05})
WORDS = Words(
    title="Preferences: when, and on which channel, a customer sees what is sent",
    what="""\
A logistic regression over the hour of the customer's clock, the channel and the weekend, whose coefficients vary: a
customer's around the segment's, a segment's around everybody's, as far as the data says. The file answers for whoever
nothing is known of; what a customer has seen is counted when they are scored.""",
    rows="Rows are actions that were sent, of decisions older than seven days.",
    labels="Whether it was seen within seven days: an impression, an e-mail opened, or a click.",
    measured="""\
On the decisions of the last 14 days, by what came before. A gain is how much likelier what happened was to the model
than to the rate of the channel, or of the hour in the channel, in nats per send. `hour_gain` and `channel_gain` are
what the model promises to add to the probability of being seen, for the best hour and channel over those at which most
is sent, in mean over customers. Segments are those of the last scoring; before the first there is one, everybody.""",
    unit="nats per send",
    time="decided_at",
    limits="""\
- **Not causal**: who was sent what at which hour is as the policy had it. Hours and channels that were hardly tried
  (fewer than 50 sends) are recommended to nobody.
- What is decided while the customer is there, as on a web page, is seen at any hour: its hours are the customer's.
- An open is what a mail program reports: some never do, some always.
- Fairness is not measured: an hour does nobody good or ill.""",
)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on the decisions of `data` and measure on those of its last two weeks."""
    train, test = _rows(data)
    fitted = preferences.train(train, Params())
    chosen = {"segments": len(fitted.segments), "channels": len(fitted.channels), "harmonics": Params().harmonics}
    fit = Fit(fitted=fitted, chosen=chosen, features=fitted.features, trained_until=trained_until(train))
    tried = trial(NAME, data, (train, fitted.rows(test)), fit, champion)
    measures = _measures(tried)
    customers = train.drop_duplicates("customer_id")
    promised = preferences.preferences(fitted, customers["customer_id"].tolist(), customers["segment"].tolist())
    gains = {name: float(promised[name].mean()) for name in ("hour_gain", "channel_gain")}
    segments = [str(name) for name in fitted.segments]
    by_hour, _ = fitted.curves(["a stranger"] * len(segments), segments)
    figure = hours_figure(dict(zip(segments, by_hour.mean, strict=True)), "P(seen)")
    measures = replace(measures.with_metrics(gains), figures={**measures.figures, "hours": figure})
    return candidate(tried, fit, measures, THRESHOLDS, WORDS)


def measure(data: TrainingSet, version: Champion, champion: Champion | None) -> Measures:
    """What is measured of a version of before, on the sends of today."""
    return _measures(trial_of(version, data, _rows(data), champion))


def _rows(data: TrainingSet) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, test = split(data.frame, "send")
    return train, test[test["channel"].isin(train["channel"])].reset_index(drop=True)


def _measures(tried: Trial) -> Measures:
    test = tried.test
    rival = None if tried.champion is None else _expected(tried.champion.onnx, tried)
    subjects = pd.DataFrame(
        {
            "customer_id": test["customer_id"],
            "at": test["decided_at"],
            "segment": test["segment"],
            "actual": test["is_answered"],
            "predicted": _expected(tried.onnx, tried),
        }
    )
    rows = Rows(
        subjects=subjects,
        baselines=send_baselines(tried.train, test),
        rival=rival,
        is_unseen=tried.unseen(test["decided_at"]),
        unit="P(seen)",
    )
    return of_likelihoods(rows).as_fair_by_nature()


def _expected(content: bytes, tried: Trial) -> Array:
    """What a version says of the test rows, knowing what came before them; of a channel it has never seen, nothing."""
    known: Preferences = preferences.restored(content, tried.train, Params())
    return known.expected(tried.test)


RECIPE = Recipe(NAME, decision_frames.preferences_set, build, measure, THRESHOLDS)
