"""Intent: the order of events says what comes next, as far as it does."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.errors import TooLittleDataError, TrainingDataError
from models.export import parity, score
from models.intent import Intent, Params, next_categories, restored, train
from models.sequences import NAMES, Moments, before, events
from nextbest.model_set import Model

START = datetime(2026, 1, 1, tzinfo=UTC)
FOLLOWS = np.array([[0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.1, 0.1, 0.1, 0.7], [0.7, 0.1, 0.1, 0.1]])
CATEGORIES = np.array(list("abcd"))


def visits(customers: int = 150, each: int = 25, seed: int = 1) -> pd.DataFrame:
    """What comes next: in one case of two what lies in the cart, if something does, and else as `FOLLOWS` says."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for customer in range(customers):
        last, cart = int(random.integers(4)), -1
        for number in range(each):
            if cart >= 0 and random.random() < 0.5:
                last, kind, cart = cart, "purchase", -1
            else:
                last = int(random.choice(4, p=FOLLOWS[last]))
                kind = "add_to_cart" if random.random() < 0.15 and cart < 0 else "page_view"
                cart = last if kind == "add_to_cart" else cart
            rows.append(
                {
                    "customer_id": f"c{customer:03d}",
                    "session_id": None,
                    "category": CATEGORIES[last],
                    "type": kind,
                    "occurred_at": START + timedelta(minutes=number),
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def fitted() -> Intent:
    return train(visits(), Params())


def log_loss(fitted: Intent, seed: int) -> float:
    known = events(visits(seed=seed), fitted.categories)
    rows = np.arange(len(known.when))
    probability = fitted.probabilities(known, before(known, rows))
    return -float(np.log(probability[rows, known.category]).mean())


def test_it_comes_nearer_to_the_truth_than_the_transitions_alone(fitted: Intent) -> None:
    """On customers it has not seen; the chain alone knows nothing of carts."""
    known = events(visits(seed=2), fitted.categories)
    rows = np.flatnonzero(np.arange(len(known.when)) > known.start[known.customer])
    probability = fitted.probabilities(known, before(known, rows))
    chain = fitted.counted.first[known.category[rows - 1]]
    chosen = known.category[rows]
    ours, theirs = (-np.log(each[np.arange(len(rows)), chosen]).mean() for each in (probability, chain))
    assert ours < theirs - 0.08
    assert (probability.argmax(axis=1) == chosen).mean() > 0.62
    for category in range(4):
        assert probability[:, category].mean() == pytest.approx((chosen == category).mean(), abs=0.03)


def test_the_weights_know_that_a_cart_is_bought(fitted: Intent) -> None:
    """Of what the features say, the cart and the transition count."""
    weights = dict(zip(NAMES, fitted.weights, strict=True))
    assert weights["in_cart"] > 0.5
    assert weights["log_transition"] + weights["log_transition_of_two"] > 0.5


def test_some_of_many_candidates_are_enough_to_learn_from(fitted: Intent) -> None:
    """Fitted among two of the four, it predicts nearly as well."""
    assert log_loss(train(visits(), Params(candidates=2)), 3) == pytest.approx(log_loss(fitted, 3), abs=0.02)


def test_the_table_says_for_each_customer_what_is_next_at_that_moment(fitted: Intent) -> None:
    """The likeliest category; what happens later or in no known category is not looked at."""
    frame = visits(customers=5, seed=4)
    now = START + timedelta(minutes=10)
    found = next_categories(fitted, frame, now)
    assert list(found.columns) == ["customer_id", "category", "probability"]
    assert found["customer_id"].tolist() == [f"c{number:03d}" for number in range(5)]
    known = events(frame, fitted.categories)
    moments = before(known, known.start[:-1] + 11)  # eleven events have happened by then
    of_all = fitted.probabilities(
        known, Moments(customer=moments.customer, end=moments.end, now=np.full(5, now.timestamp()))
    )
    assert found["probability"].to_numpy() == pytest.approx(of_all.max(axis=1))
    assert found["category"].tolist() == fitted.categories[of_all.argmax(axis=1)].tolist()
    strange = frame[:1].assign(category="unheard of", occurred_at=now)
    earlier = pd.concat([frame[frame["occurred_at"] <= now], strange])
    pd.testing.assert_frame_equal(found, next_categories(fitted, earlier, now))


def test_nobody_who_did_anything_means_no_rows(fitted: Intent) -> None:
    """Before the first event there is nobody to say something of."""
    assert next_categories(fitted, visits(customers=2), START - timedelta(days=1)).empty


def test_a_version_goes_on_from_what_is_counted_now(fitted: Intent) -> None:
    """Its weights are in the file; categories and what follows what are those of the events it is given."""
    content = fitted.to_onnx().SerializeToString()
    again = restored(content, visits())
    assert again.weights == pytest.approx(fitted.weights, rel=1e-6)
    assert again.counted.first == pytest.approx(fitted.counted.first)
    more = pd.concat([visits(), visits(customers=1).assign(customer_id="new", category="e")])
    assert list(restored(content, more).categories) == list("abcde")


def test_a_version_of_other_features_is_not_read_as_if_it_were_of_these(fitted: Intent) -> None:
    """Weights are told apart by their place alone."""
    other = dataclasses.replace(fitted, weights=fitted.weights[:-1])
    with pytest.raises(TrainingDataError, match="weighs 11 features, there are 12: train another"):
        restored(other.to_onnx().SerializeToString(), visits())


def test_the_file_gives_the_utility_of_a_row(fitted: Intent) -> None:
    """Its softmax over the candidates is the caller's."""
    x = np.random.default_rng(5).normal(0.0, 2.0, (500, len(NAMES))).astype(np.float32).astype(np.float64)
    model = Model(
        name="intent", version="1", run_id="", file="i.onnx", sha256="", features=fitted.features, output=fitted.output
    )
    scores = score(model, fitted.to_onnx().SerializeToString(), pd.DataFrame(x, columns=list(NAMES)))
    assert parity(scores, fitted, x) < 1e-5


@pytest.mark.parametrize("rows", [slice(0, 100), slice(0, 0)])
def test_too_few_events_are_not_learned_from(rows: slice) -> None:
    """The message says how many it takes."""
    with pytest.raises(TooLittleDataError, match="takes 200"):
        train(visits()[rows], Params())


def test_one_category_is_no_choice() -> None:
    """There is nothing to predict."""
    with pytest.raises(TooLittleDataError, match="of 1 categories"):
        train(visits().assign(category="a"), Params())
