"""Model input: what a model takes of the channel and the hour, ahead of what anybody says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.inputs import CHANNELS
from models.inputs import HOUR as TRAINED_HOUR
from nextbest.contributions import contributions
from nextbest.learning import Learned
from nextbest.model_input import CHANNEL, HOUR, is_by_channel, model_input
from nextbest.model_set import FeatureSpec, Model
from nextbest.replay import differences, replay
from tests.contacts import decided, told
from tests.nextbest.conftest import NOW, StandInModels
from tests.nextbest.test_learning import folded, learning_policy

EMAIL, WEB = FeatureSpec("channel_email", "context"), FeatureSpec("channel_web", "context")
HOUR_OF_DAY = FeatureSpec("hour_of_day", "context")


def fed(*features: FeatureSpec) -> Model:
    return Model(name="m", version="1", run_id="r", file="f", sha256="0", features=features, output="probability")


def row(model: Model, action: Any, now: datetime = NOW, **context: Any) -> list[float]:
    matrix = model_input(model, [action], features={}, context=context, channel="email", now=now)
    return [float(number) for number in matrix[0]]


def test_names_are_those_of_training() -> None:
    """What a model was trained with under a name is what it is fed under it."""
    assert all(name == CHANNEL + channel for channel, name in CHANNELS.items())
    assert TRAINED_HOUR == HOUR


def test_the_channel_is_the_placements(policy: Any) -> None:
    """Whatever the request or the action says."""
    apples = policy.actions["apples"]
    assert row(fed(WEB, EMAIL), apples, channel_web=1, channel_email=0) == [0.0, 1.0]
    assert is_by_channel(fed(WEB))
    assert not is_by_channel(fed(FeatureSpec("channel_email", "customer"), HOUR_OF_DAY))


@pytest.mark.parametrize(
    ("context", "hour"),
    [
        ({}, 5.0),
        ({"time_zone": "America/New_York"}, 0.0),
        ({"time_zone": "Asia/Tokyo"}, 14.0),
        ({"time_zone": "Asia/Kathmandu"}, 10.0),
        ({"time_zone": "Atlantis/Capital"}, 5.0),
        ({"time_zone": 3}, 5.0),
        ({"hour_of_day": 23}, 5.0),
    ],
)
def test_the_hour_is_the_customers(policy: Any, context: dict[str, Any], hour: float) -> None:
    """By UTC's clock where nobody says where they are, or says what there is not."""
    assert row(fed(HOUR_OF_DAY), policy.actions["apples"], **context) == [hour]


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns", "?"]))
def test_an_hour_is_one_of_a_day(now: datetime, zone: str) -> None:
    """A whole number from 0 to 23, and an hour later the next."""
    action = learning_policy().actions["apples"]
    now = now.replace(year=min(max(now.year, 1972), 9998))
    (hour,) = row(fed(HOUR_OF_DAY), action, now, time_zone=zone)
    assert hour in range(24)
    if zone in {"UTC", "Asia/Kolkata"}:
        assert row(fed(HOUR_OF_DAY), action, now + timedelta(hours=1), time_zone=zone) == [(hour + 1) % 24]


def test_an_action_is_scored_once_for_each_channel_a_model_asks_for(models: Any, trial: Any) -> None:
    """It may be likelier to be answered in one; priorities follow, and the decision is made again to the bit."""
    policy = trial.policy()
    trial.proposed(policy, placements=("home", "mail"))
    assert len(models.seen) == 1
    models.seen.clear()
    models.feed(EMAIL, HOUR_OF_DAY)
    models.answer = lambda matrix: 0.1 + 0.2 * matrix[:, 0].astype(np.float64) + matrix[:, 1] / 1_000.0
    record = trial.finished(trial.proposed(policy, placements=("home", "mail"), context={"time_zone": "Asia/Tokyo"}))
    assert [matrix.tolist() for matrix in models.seen] == [[[0.0, 14.0]] * 4, [[1.0, 14.0]] * 4]
    assert {each.placement: each.p for each in record.candidates if each.p} == pytest.approx(
        {"home": 0.114, "mail": 0.314}
    )
    assert differences(record, replay(record, policy, models)) == []


def test_placements_of_one_channel_share_their_scores(document: dict[str, Any], models: Any, trial: Any) -> None:
    """A model that asks for the channel is asked as often as there are channels, and of what passed in each."""
    document["placements"]["placements"].append(document["placements"]["placements"][0] | {"id": "top"})
    top = {"id": "apples_top", "placement": "top", "channel": "web", "content": {"headline": "apples"}}
    document["actions"]["actions"][0]["treatments"].append(top)
    models.feed(WEB)
    trial.proposed(trial.policy(), placements=("home", "mail", "top"))
    assert [matrix.tolist() for matrix in models.seen] == [[[1.0]] * 4, [[0.0]] * 4]


def test_a_shadow_is_fed_the_channel_too(models: Any, trial: Any) -> None:
    """It says something of each placement."""
    models.feed(EMAIL)
    models.shadow()
    models.beside = lambda matrix: 0.3 + 0.1 * matrix[:, 0]
    record = trial.finished(trial.proposed(trial.policy(), placements=("home", "mail")))
    assert {each.placement: each.beside for each in record.candidates if each.beside} == pytest.approx(
        {"home": 0.3, "mail": 0.4}
    )


def test_what_moved_a_propensity_is_of_its_placement(document: dict[str, Any], models: Any, trial: Any) -> None:
    """The channel may be among it."""
    document["arbitration"]["exploration"] = {"strategy": "greedy"}
    models.feed(EMAIL)
    models.answer = lambda matrix: 0.1 + 0.2 * matrix[:, 0]
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy, placements=("home", "mail")))
    moves = {
        part.placement: [(each.feature, each.value) for each in part.features]
        for part in contributions(record, policy, models)
    }
    assert moves == {"home": [], "mail": [("channel_email", 1.0)]}


def test_what_is_learned_is_of_the_channel_and_the_hour() -> None:
    """A decision of other models is scored again as it would have been then and there."""
    models = StandInModels()
    models.feed(WEB, HOUR_OF_DAY)
    models.answer = lambda matrix: 0.25 * matrix[:, 0] + matrix[:, 1] / 32.0
    log = [decided("d1", model_set_id="older"), told("impression", "d1", NOW)]
    policy = learning_policy()
    [sums] = Learned.of(folded(log, policy=policy, models=models), policy).tables["apples"].values()
    assert sums.predicted[0] / (1 << 24) == pytest.approx(0.25 + 5.0 / 32.0)
