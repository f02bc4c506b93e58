"""Training sets: nothing is lost, and nothing later than its label comes in."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from models import frames
from models.errors import TrainingDataError
from models.frames import TrainingSet, newer_than_known
from nextbest.settings import Settings

MONDAY = pd.Timestamp(2026, 3, 2, tz="UTC").as_unit("us")


def mart() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": ["1", "1", "2"],
            "as_of": [MONDAY, MONDAY + timedelta(days=7), MONDAY],
            "spend_91d": [10.0, 99.0, 20.0],
        }
    )


def joined(spend: list[float]) -> pd.DataFrame:
    at = MONDAY + timedelta(days=2)
    return pd.DataFrame({"customer_id": ["1", "2"], "at": [at, at], "spend_91d": spend})


def test_the_newest_feature_before_the_label_is_no_leak() -> None:
    """Monday's features at Wednesday's label."""
    assert newer_than_known(joined([10.0, 20.0]), mart(), ["spend_91d"]) == {}


@pytest.mark.parametrize("spend", [99.0, float("nan")])
def test_a_feature_of_after_the_label_or_none_at_all_is_found(spend: float) -> None:
    """The week after is the future of the label; a gap would silently become a default."""
    assert newer_than_known(joined([spend, 20.0]), mart(), ["spend_91d"]) == {"spend_91d": 1}


def test_every_label_becomes_one_row_with_what_was_known_then(propensity_data: TrainingSet) -> None:
    """Rows in are rows out, and each action's share is the one of the campaign's own beginning."""
    frame = propensity_data.frame
    assert len(frame) == frame["contact_id"].nunique() * 4
    assert not frame.isna().to_numpy().any()
    assert len(frame[["action", "share"]].drop_duplicates()) == frame["share"].nunique() == 4


def test_the_fingerprint_changes_with_the_data_and_only_with_it(propensity_data: TrainingSet) -> None:
    """Training is skipped when, and only when, there is nothing new to learn."""
    frame = propensity_data.frame
    same = TrainingSet(frame=frame.copy(), action_features={}, contracts={})
    other = TrainingSet(frame=frame.assign(share=frame["share"] * 2), action_features={}, contracts={})
    assert propensity_data.fingerprint("code") == same.fingerprint("code")
    assert len({same.fingerprint("code"), other.fingerprint("code"), same.fingerprint("new code")}) == 3


def test_missing_marts_are_named(settings: Settings) -> None:
    """The message says which, and what to run."""
    with pytest.raises(TrainingDataError, match=r"no mart clv_labels .*nextbest pipeline"):
        frames.clv_set(settings)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:sqlglotrs is deprecated:DeprecationWarning")  # sqlglot's, which Feast brings
@pytest.mark.filterwarnings(r"ignore:fetch_arrow_table\(\) is deprecated:DeprecationWarning")  # ibis', likewise
def test_the_feature_store_never_hands_out_the_future(feature_store: Settings) -> None:
    """On the real store: marts of the Monday before and the one after the label; only the former is seen."""
    at = pd.Series([datetime(2026, 3, 4, tzinfo=UTC)] * 3)
    known = frames.point_in_time(feature_store, "propensity", pd.Series(["1", "2", "2"]), at)
    assert known.leaks == {}
    features = known.features
    assert sorted(features["customer_id"]) == ["1", "2"]
    values = features.drop(columns=["customer_id", "at"])
    assert len(values.columns) > 60
    assert (values == 1).to_numpy().all()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:sqlglotrs is deprecated:DeprecationWarning")  # sqlglot's, which Feast brings
@pytest.mark.filterwarnings(r"ignore:fetch_arrow_table\(\) is deprecated:DeprecationWarning")  # ibis', likewise
def test_the_same_rows_come_in_the_same_order(feature_store: Settings) -> None:
    """Whatever order a join returns them in: else what has not changed would be trained on again, to other segments."""
    days = [pd.Timestamp(2026, 3, 4, tz="UTC") + timedelta(days=day) for day in range(200)]
    moments = pd.concat([pd.DataFrame({"customer_id": each, "at": days}) for each in ("2", "1")]).sample(
        frac=1.0, random_state=1
    )
    features = frames.point_in_time(feature_store, "clv", moments["customer_id"], moments["at"]).features
    expected = moments.sort_values(["customer_id", "at"])
    assert features["customer_id"].tolist() == expected["customer_id"].tolist()
    assert features["at"].tolist() == expected["at"].tolist()
