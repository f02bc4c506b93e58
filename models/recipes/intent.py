"""A version of intent: what is measured of it, and what is asked.

Belongs here: the split by time, the measures, the demands. Does not belong here: the fit (`models.intent`), reading the
frame (`models.decision_frames`), or the registry (`models.lifecycle`).
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from models import decision_frames, intent, sequences
from models.arrays import Array
from models.candidate import Candidate, Champion
from models.cards import Words
from models.errors import TooLittleDataError
from models.frames import TrainingSet
from models.gates import Thresholds
from models.lifecycle import Recipe
from models.recipes.measures import Measures, Rows, of_likelihoods
from models.recipes.trial import Fit, Trial, candidate, trial, trial_of

NAME = "intent"
TEST_PERIOD = timedelta(days=7)
THRESHOLDS = Thresholds(champion_margin=0.01, calibration={"calibration_error": 0.05}, parity=1e-3)
WORDS = Words(
    title="Intent: the category that a customer turns to next",
    what="""\
A conditional logit over categories, of features of the order of recent events: what was viewed, put into the cart and
bought lately, what is usual for the customer, and what follows what over all customers. The version is the weights;
what follows what is counted anew when customers are scored.""",
    rows="""\
Training rows are events with a category, each a choice among all categories with what its customer did before. A test
row is one category at such a moment, so that there are as many rows to an event as categories; features count what all
customers did before the test period.""",
    labels="The category of the customer's next event.",
    measured="""\
On events of the last 7 days (a sample, where there are more than the features of a million categories at a moment). A
gain is how much likelier the category that came was to the model than to its popularity, or to what usually follows the
last one, in nats per event. `hit_rate` is how often the likeliest category was it, `unknown` the part of events in a
category that training had never seen, which is left out. Calibration is of the likeliest category.""",
    unit="nats per event",
    time="occurred_at",
    limits="""\
- What comes next, not what should: no effect of anything shown.
- A customer without events is not scored, a category without events not named.
- Fairness is not measured: a category is a topic, and withholds nothing from anybody.""",
)
_CELLS = 1_000_000  # moments x categories to measure by


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on the events of `data` but for the last week, and measure on those."""
    train, test = _split(data.frame)
    fitted = intent.train(train, intent.Params())
    chosen = {"categories": len(fitted.categories), **dict(zip(sequences.NAMES, fitted.weights.tolist(), strict=True))}
    until = _begins(data.frame).ceil("us").to_pydatetime()
    fit = Fit(fitted=fitted, chosen=chosen, features=fitted.features, trained_until=until)
    tried = trial(NAME, data, (train, _moments(train, test)), fit, champion)
    unknown = 1.0 - float(test["category"].isin(fitted.categories).mean())
    return candidate(tried, fit, _measures(tried).with_metrics({"unknown": unknown}), THRESHOLDS, WORDS)


def measure(data: TrainingSet, version: Champion, champion: Champion | None) -> Measures:
    """What is measured of a version of before, on the events of today."""
    train, test = _split(data.frame)
    return _measures(trial_of(version, data, (train, _moments(train, test)), champion))


def _begins(frame: pd.DataFrame) -> pd.Timestamp:
    begins: pd.Timestamp = frame["occurred_at"].max() - TEST_PERIOD
    return begins


def _split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events of the test period, and those before it.

    Raises:
        TooLittleDataError: there is none before it, or none in it of a category that was there before.

    """
    is_past = frame["occurred_at"] < _begins(frame)
    train, test = frame[is_past], frame[~is_past]
    if not test["category"].isin(train["category"]).any():
        raise TooLittleDataError(
            f"category_events: all events lie within {TEST_PERIOD.days} days, or are in other categories than before: "
            "there is nothing to measure by"
        )
    return train, test


def _moments(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """A row per test event and category: features, and whether that category came; events one after the other."""
    categories = pd.Index(np.sort(train["category"].unique()))
    known = sequences.events(pd.concat([train, test]), categories)
    past = sequences.events(train, categories)
    counted = sequences.tables(past, len(categories), np.ones(len(past.customers), dtype=np.bool_))
    rows = np.flatnonzero(known.when >= test["occurred_at"].min().timestamp())
    most = max(1, _CELLS // len(categories))
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:most])
    x = sequences.features(known, sequences.before(known, rows), counted)
    moment = np.repeat(np.arange(len(rows)), len(categories))
    category = np.tile(np.arange(len(categories)), len(rows))
    frame = pd.DataFrame(x.reshape(-1, len(sequences.NAMES)), columns=list(sequences.NAMES))
    return frame.assign(
        customer_id=known.customers.to_numpy()[known.customer[rows]][moment],
        occurred_at=pd.to_datetime(known.when[rows], unit="s", utc=True)[moment],
        moment=moment,
        events_before=(rows - known.start[known.customer[rows]])[moment],
        is_next=(category == known.category[rows][moment]).astype(np.float64),
    )


@dataclass(frozen=True, slots=True)
class _Choices:
    """The test rows as a row per moment and a column per category."""

    frame: pd.DataFrame
    count: int

    def column(self, name: str) -> Array:
        return self.wide(self.frame[name].to_numpy(np.float64))

    def wide(self, values: Array) -> Array:
        return values.reshape(self.count, -1)

    def probabilities(self, utility: Array) -> Array:
        """The softmax over categories."""
        wide = self.wide(utility)
        shares = np.exp(wide - wide.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def of_next(self, probability: Array) -> Array:
        """The probability of the category that came."""
        return np.asarray((probability * self.column("is_next")).sum(axis=1))


def _measures(tried: Trial) -> Measures:
    choices = _Choices(tried.test, int(tried.test["moment"].max()) + 1)
    first = tried.test.drop_duplicates("moment")
    probability = choices.probabilities(tried.scores())
    champion = tried.rival(tried.test)
    seen = pd.cut(first["events_before"], [-1, 0, 3, np.inf], labels=["first event", "1 to 3 before", "4 and more"])
    customers = first["customer_id"].to_numpy()
    likely = probability.argmax(axis=1)
    hits = np.take_along_axis(choices.column("is_next"), likely[:, None], axis=1)[:, 0]
    shown = pd.DataFrame(
        {
            "customer_id": customers,
            "at": first["occurred_at"].reset_index(drop=True),
            "segment": seen.astype(str).to_numpy(),
            "actual": hits,
            "predicted": probability.max(axis=1),
        }
    )
    rows = Rows(
        subjects=pd.DataFrame({"customer_id": customers, "actual": 1.0, "predicted": choices.of_next(probability)}),
        baselines={
            "popularity": choices.of_next(np.exp(choices.column("log_popularity"))),
            "what_follows_the_last": choices.of_next(np.exp(choices.column("log_transition"))),
        },
        rival=None if champion is None else choices.of_next(choices.probabilities(champion)),
        is_unseen=tried.unseen(first["occurred_at"]),
        unit="P(the likeliest category comes)",
    )
    return of_likelihoods(rows, shown).with_metrics({"hit_rate": float(hits.mean())}).as_fair_by_nature()


RECIPE = Recipe(NAME, decision_frames.intent_set, build, measure, THRESHOLDS)
