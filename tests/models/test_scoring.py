"""What champions say flows back as features."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from models import lifecycle
from models.frames import TrainingSet
from models.recipes import clv, intent, preferences
from models.scoring import Scored, score_customers
from models.versions import CHAMPION, GATE
from nextbest.adapters.marts import SCORES, scores_file
from nextbest.settings import Settings
from nextbest.situation import ScoringError

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:sqlglotrs is deprecated:DeprecationWarning"),  # sqlglot's, which Feast brings
    pytest.mark.filterwarnings(r"ignore:fetch_arrow_table\(\) is deprecated:DeprecationWarning"),  # ibis', likewise
]
TIME = "datetime64[us, UTC]"
AS_OF = datetime(2026, 3, 10, tzinfo=UTC)
BEFORE = AS_OF - timedelta(days=3_650)


def test_every_customer_is_scored_by_the_champion(
    feature_store: Settings, clv_data: TrainingSet, now: datetime
) -> None:
    """A row each, with the version; nothing where there is no champion; the former file stays until then."""
    assert score_customers(feature_store, AS_OF).customers == 0
    lifecycle.run(feature_store, clv.RECIPE, clv_data, now)
    assert score_customers(feature_store, AS_OF) == Scored(2)
    scores = pq.read_table(scores_file(feature_store.marts))
    assert scores.schema.equals(SCORES)
    assert scores["customer_id"].to_pylist() == ["1", "2"]
    assert set(scores["as_of"].to_pylist()) == {AS_OF}
    assert set(scores["model_versions"].to_pylist()) == {"clv 1"}
    assert min(scores["clv_91d"].to_pylist()) >= 0
    assert set(scores["segment"].to_pylist()) == {None}
    assert score_customers(feature_store, BEFORE).customers == 0
    assert pq.read_table(scores_file(feature_store.marts)).equals(scores)


def test_a_version_that_must_not_serve_scores_nobody(
    feature_store: Settings, clv_data: TrainingSet, now: datetime
) -> None:
    """Whoever set the alias: the former scores stay, and the message says which version and what to do."""
    registered = lifecycle.run(feature_store, clv.RECIPE, clv_data, now)
    client = MlflowClient(feature_store.mlflow_uri, feature_store.mlflow_uri)
    client.set_registered_model_alias(clv.NAME, CHAMPION, registered.version)
    client.set_model_version_tag(clv.NAME, registered.version, GATE, "failed")
    before = scores_file(feature_store.marts).read_bytes()
    scored = score_customers(feature_store, AS_OF)
    assert scored.customers == 0
    assert re.search(r"clv 1 is called champion and must not serve.*models promote clv", scored.unasked["clv"])
    assert scores_file(feature_store.marts).read_bytes() == before
    client.set_model_version_tag(clv.NAME, registered.version, GATE, "passed")


def test_scores_that_cannot_be_written_leave_the_former_ones(
    feature_store: Settings, clv_data: TrainingSet, now: datetime
) -> None:
    """As on a disk that is full: said in words."""
    lifecycle.run(feature_store, clv.RECIPE, clv_data, now)
    path = scores_file(feature_store.marts)
    before = path.read_bytes()
    path.with_suffix(".draft").mkdir()
    with pytest.raises(ScoringError, match=r"scores cannot be written to .*; the former ones stay"):
        score_customers(feature_store, AS_OF)
    assert path.read_bytes() == before
    path.with_suffix(".draft").rmdir()
    assert score_customers(feature_store, AS_OF) == Scored(2)


@pytest.mark.usefixtures("events_and_sends")
def test_what_customers_did_says_when_they_look_and_what_comes_next(feature_store: Settings, now: datetime) -> None:
    """Best hour and channel of everybody, also of whom nothing was sent to; a next category of whoever did anything."""
    for recipe in (preferences.RECIPE, intent.RECIPE):
        found = lifecycle.run(feature_store, recipe, recipe.read(feature_store), now)
        assert found.gate.passed, found.gate.reason
    assert score_customers(feature_store, AS_OF) == Scored(2)
    known, other = pq.read_table(scores_file(feature_store.marts)).to_pylist()
    assert 18.0 <= known["best_hour"] <= 22.0
    assert known["best_channel"] == "web"
    assert known["best_hour_gain"] > 0.1
    assert known["best_channel_gain"] == 0.0  # it is the usual one
    assert other["best_hour"] is not None
    assert (known["next_category"], other["next_category"]) == ("cheese", None)
    assert known["next_category_probability"] > 0.5
    assert known["model_versions"].endswith("intent 1, preferences 1")
    MlflowClient(feature_store.mlflow_uri, feature_store.mlflow_uri).set_model_version_tag(
        "intent", "1", GATE, "failed"
    )
    scored = score_customers(feature_store, AS_OF)
    assert (scored.customers, set(scored.unasked)) == (2, {"intent"})
    assert pq.read_table(scores_file(feature_store.marts)).to_pylist() == [known, other]  # what it said before stays


@pytest.fixture
def events_and_sends(feature_store: Settings) -> None:
    """Eight weeks: some look in the morning and turn from beef to yogurt, others look late and turn to cheese."""
    random, rows, customers = np.random.default_rng(3), 6_000, 300
    at = (pd.Timestamp(2026, 1, 5, tz="UTC") + pd.to_timedelta(np.sort(random.random(rows)) * 56, unit="D")).astype(
        TIME
    )
    number, turn = np.arange(rows) % customers + 1, np.arange(rows) // customers
    hour, channel = random.integers(6, 24, rows), random.choice(["web", "web", "email"], rows)
    nearness = np.abs(hour - np.where(number % 2 == 1, 20, 8)) <= 2
    labels = {
        "customer_id": number.astype(str),
        "decided_at": at,
        "channel": channel,
        "action": "beef",
        "hour_of_day": hour,
        "weekday": random.integers(1, 8, rows),
        "is_seen": random.random(rows) < 0.1 + 0.5 * nearness + 0.2 * (channel == "web"),
        "is_complete": True,
    }
    is_sent = number != 2  # the second customer was sent nothing, and did nothing
    folder = feature_store.marts / "current"
    pd.DataFrame(labels)[is_sent].to_parquet(folder / "decision_labels.parquet")
    events = {
        "customer_id": number.astype(str),
        "session_id": None,
        "category": np.where(turn % 2 == 0, "beef", np.where(number % 2 == 1, "cheese", "yogurt")),
        "type": "product_view",
        "occurred_at": at,
    }
    pd.DataFrame(events)[is_sent & (turn < 19)].to_parquet(folder / "category_events.parquet")
