"""Send time and channel: the customer's own where it is known, the segment's where it is not."""

import numpy as np
import pandas as pd
import pytest

from models.errors import TooLittleDataError
from models.export import parity, score
from models.inputs import matrix
from models.preferences import Params, Preferences, preferences, restored, train
from nextbest.model_set import Model

FEW = Params(rounds=15)


def sends(each: int = 30, seed: int = 1) -> tuple[pd.DataFrame, pd.Series]:
    """400 customers: early ones answer around 8, late ones around 20, some of each are the other way round."""
    random = np.random.default_rng(seed)
    count = 400
    segment = np.where(np.arange(count) < count // 2, "early", "late")
    is_late = (segment == "late") ^ (np.arange(count) % 5 == 0)
    best = np.where(is_late, 20, 8)
    who = np.repeat(np.arange(count), each)
    hour = random.integers(7, 23, len(who))
    distance = np.abs(hour - best[who])
    channel = np.where(random.random(len(who)) < 0.7, "email", "push")
    probability = np.where(distance <= 2, 0.6, 0.05) + 0.2 * (channel == "push")
    names = np.array([f"c{number}" for number in range(count)])
    frame = pd.DataFrame(
        {
            "customer_id": names[who],
            "segment": segment[who],
            "channel": channel,
            "hour": hour,
            "weekday": random.integers(1, 8, len(who)),
            "is_answered": (random.random(len(who)) < probability).astype(int),
        }
    )
    return frame, pd.Series(best, index=names)


@pytest.fixture(scope="module")
def fitted() -> Preferences:
    return train(sends()[0], FEW)


def table(fitted: Preferences) -> pd.DataFrame:
    known = sends()[0].drop_duplicates("customer_id")
    return preferences(fitted, known["customer_id"].tolist(), known["segment"].tolist())


def test_a_customer_who_differs_from_the_segment_is_recognized(fitted: Preferences) -> None:
    """One of five is; thirty sends tell nearly all of them from the rest."""
    best = table(fitted).set_index("customer_id")["best_hour"]
    assert (np.abs(best - sends()[1][best.index]) <= 2).mean() > 0.97


def test_what_is_known_is_the_posterior_and_what_it_gains(fitted: Preferences) -> None:
    """Probabilities near the truth, gains never negative, deviations that have seen thirty sends."""
    found = table(fitted)
    assert found["hour_probability"].mean() == pytest.approx(0.66, abs=0.06)
    assert (found["best_channel"] == "push").mean() > 0.95
    assert found["channel_gain"].mean() == pytest.approx(0.2, abs=0.05)
    assert (found[["hour_gain", "channel_gain"]] >= 0.0).to_numpy().all()
    assert found["hour_deviation"].between(0.01, 0.25).all()


def test_a_customer_never_seen_gets_the_segments_best_hour_and_a_stranger_everybodys(fitted: Preferences) -> None:
    """And the deviation says that less is known of them."""
    found = preferences(fitted, ["new", "newer", "stranger"], ["early", "late", "unheard of"])
    assert found["best_hour"][:2].between([6, 18], [10, 22]).all()
    assert (found["hour_deviation"] > table(fitted)["hour_deviation"].median()).all()
    assert found["hour_probability"][2] < found["hour_probability"][:2].min()


def test_an_hour_at_which_nothing_was_sent_is_not_recommended(fitted: Preferences) -> None:
    """Whatever the curve says of four in the morning."""
    assert table(fitted)["best_hour"].between(7, 22).all()


def test_a_channel_that_is_used_at_a_bad_hour_is_not_taken_for_a_bad_channel() -> None:
    """Push goes out at 15, email at 9; answers depend on the hour, and on push at the few other times."""
    random = np.random.default_rng(3)
    who = np.repeat(np.arange(300), 40)
    channel = np.where(random.random(len(who)) < 0.5, "email", "push")
    usual = np.where(channel == "email", 9, 15)
    hour = np.where(random.random(len(who)) < 0.7, usual, 24 - usual)
    probability = np.where(hour == 9, 0.4, 0.1) + 0.1 * (channel == "push")
    frame = pd.DataFrame(
        {
            "customer_id": who.astype(str),
            "segment": "all",
            "channel": channel,
            "hour": hour,
            "weekday": 1,
            "is_answered": random.random(len(who)) < probability,
        }
    )
    rate = frame.groupby("channel")["is_answered"].mean()
    assert rate["email"] > rate["push"]
    best = preferences(train(frame, FEW), [str(number) for number in range(300)], ["all"] * 300)["best_channel"]
    assert (best == "push").mean() > 0.9


def test_the_order_of_rows_and_of_customers_changes_nothing(fitted: Preferences) -> None:
    """Counts are counts."""
    again = train(sends()[0].sample(frac=1.0, random_state=0), FEW)
    pd.testing.assert_frame_equal(table(fitted), table(again))
    backwards = preferences(fitted, ["c399", "c0"], ["late", "early"]).iloc[::-1]
    expected = table(fitted).iloc[[0, 399]]
    pd.testing.assert_frame_equal(backwards.reset_index(drop=True), expected.reset_index(drop=True))


def test_the_file_answers_for_whoever_nothing_is_known_of(fitted: Preferences) -> None:
    """As the segment does, or as everybody does: what the model says of a customer it has never seen."""
    strangers = sends()[0].iloc[::7].assign(customer_id="new")
    frame = pd.concat([strangers, strangers.assign(segment="unheard of")])
    rows = fitted.rows(frame)
    model = Model(
        name="preferences",
        version="1",
        run_id="",
        file="p.onnx",
        sha256="",
        features=fitted.features,
        output=fitted.output,
    )
    said = score(model, fitted.to_onnx().SerializeToString(), rows)
    assert parity(said, fitted, matrix(rows, fitted.features)) < 1e-6
    assert said == pytest.approx(fitted.expected(frame), abs=1e-6)


def test_a_version_goes_on_from_the_sends_it_is_given(fitted: Preferences) -> None:
    """With those it was trained on it says the same; a channel it has never seen tells it nothing."""
    frame = sends()[0]
    again = restored(fitted.to_onnx().SerializeToString(), pd.concat([frame, frame[:50].assign(channel="fax")]), FEW)
    pd.testing.assert_frame_equal(table(fitted), table(again), rtol=1e-4)


@pytest.mark.parametrize("answered", [0, 1])
def test_sends_that_all_end_alike_are_too_little(answered: int) -> None:
    """There is nothing to prefer."""
    with pytest.raises(TooLittleDataError, match="nothing to prefer"):
        train(sends()[0].assign(is_answered=answered), FEW)


def test_a_few_customers_are_too_few_to_tell_how_far_they_vary() -> None:
    """Of five the fit ran away, and ended in the words of linear algebra."""
    sends = pd.DataFrame(
        {
            "customer_id": list("12345") * 4,
            "segment": "all",
            "channel": "email",
            "hour": 9,
            "weekday": 1,
            "is_answered": [1.0, 0.0] * 10,
        }
    )
    with pytest.raises(TooLittleDataError, match="sends to 5 customers: it takes 30"):
        train(sends, Params())
