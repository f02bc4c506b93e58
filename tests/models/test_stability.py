"""Stability: a population that has moved is told from one that has not, and answers from chance."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from models.stability import KS_LIMIT, PSI_LIMIT, Reference, answers, gone, label_times, population, reference, shifts
from nextbest.model_set import FeatureSpec, Model
from nextbest.residual import Statistics
from nextbest.settings import Settings

AS_OF = datetime(2026, 3, 2, tzinfo=UTC)


def customers(seed: int, scale: float = 20.0, rows: int = 2_000) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {"spend_91d": random.gamma(1.0, scale, rows), "visits": random.poisson(3.0, rows).astype(float)}
    )


def test_a_population_that_has_not_moved_is_the_same() -> None:
    """Another two thousand of the same kind: chance alone moves neither measure near its limit."""
    found = shifts(reference(customers(1), AS_OF), customers(2))
    assert {shift.feature for shift in found} == {"spend_91d", "visits"}
    assert not any(shift.is_another_population for shift in found)
    assert all(shift.psi < PSI_LIMIT / 5 and shift.ks < KS_LIMIT / 3 for shift in found)


def test_a_feature_that_has_moved_is_found_and_comes_first() -> None:
    """Twice the spend, the same visits."""
    first, second = shifts(reference(customers(1), AS_OF), customers(2, scale=40.0))
    assert (first.feature, first.is_another_population, second.is_another_population) == ("spend_91d", True, False)
    assert sum(first.before) == sum(first.now) == 2_000


def test_a_shift_inside_a_bin_is_seen_by_the_other_measure() -> None:
    """Five became three for everybody who had that: the same bin, another distribution."""
    before = pd.DataFrame({"visits": np.repeat([0.0, 5.0], [600, 1_400])})
    now = pd.DataFrame({"visits": np.repeat([0.0, 3.0], [600, 1_400])})
    [shift] = shifts(reference(before, AS_OF), now)
    assert shift.psi == pytest.approx(0.0)
    assert shift.ks == pytest.approx(0.7, abs=0.02)
    assert shift.is_another_population


def test_what_is_missing_counts_as_moved() -> None:
    """A feature that nobody has any more is another one."""
    now = customers(2).assign(visits=np.nan)
    assert {s.feature for s in shifts(reference(customers(1), AS_OF), now) if s.is_another_population} == {"visits"}


def test_a_feature_that_the_marts_have_no_more_is_named() -> None:
    """Of those that the model takes: what it does not ask for is not looked for."""
    features = tuple(FeatureSpec(name, "customer") for name in ("spend_91d", "visits"))
    model = Model(
        name="clv", version="1", run_id="", file="", sha256="", features=features, output="value"
    )  # fmt: skip
    before = reference(customers(1).assign(other=1.0), AS_OF)
    assert gone(before, customers(2).drop(columns="visits"), model) == ["visits"]
    assert gone(before, customers(2), model) == []
    assert gone(before, pd.DataFrame(), model) == ["spend_91d", "visits"]


def test_few_customers_tell_nothing() -> None:
    """With a hundred, the index moves by itself."""
    assert shifts(reference(customers(1), AS_OF), customers(2, scale=40.0, rows=100)) == []


def test_a_reference_survives_the_registry() -> None:
    """It is kept as a file beside the model."""
    known = reference(customers(1), AS_OF)
    assert msgspec.json.decode(msgspec.json.encode(known), type=Reference) == known


def test_the_population_is_everybodys_newest_features(tmp_path: Path) -> None:
    """Of the features that the model takes, those of actions by action; live features are of a moment."""
    settings = Settings(home=tmp_path)
    current = settings.marts / "current"
    current.mkdir(parents=True)
    moments = pd.to_datetime(["2026-03-02", "2026-03-09", "2026-03-09"], utc=True)
    keys = {"customer_id": ["1", "1", "2"], "as_of": moments}
    pd.DataFrame(keys | {"spend_91d": [1, 2, 3], "unused": 0}).to_parquet(current / "customer_rfm.parquet")
    pd.DataFrame(keys | {"spend__beef": [4.0, 5.0, 6.0]}).to_parquet(current / "category_affinity.parquet")
    pd.DataFrame({"action": ["beef"]}).to_parquet(current / "action_statistics.parquet")
    model = Model(
        name="m", version="1", run_id="", file="m.onnx", sha256="", output="value",
        features=(
            FeatureSpec("spend_91d", "customer"),
            FeatureSpec("live_session_events", "customer"),
            FeatureSpec("spend", "match"),
        ),
        action_features={"beef": {}},
    )  # fmt: skip
    rows = population(settings, model)
    assert rows.loc[["1", "2"]].to_dict("list") == {"spend__beef": [5.0, 6.0], "spend_91d": [2.0, 3.0]}


def test_labels_are_of_moments_and_some_models_have_none(tmp_path: Path) -> None:
    """What can still change is none yet; nothing labels a segment; where there is no mart there is no label."""
    settings = Settings(home=tmp_path)
    assert label_times(settings, "propensity").empty
    current = settings.marts / "current"
    current.mkdir(parents=True)
    moments = pd.to_datetime(["2026-03-02", "2026-03-09", "2026-03-16"], utc=True)
    rows = pd.DataFrame({"customer_id": ["1", "1", "2"], "contacted_at": moments, "is_complete": [True, True, False]})
    rows.to_parquet(current / "propensity_labels.parquet")
    rows.rename(columns={"contacted_at": "cutoff_at"}).drop(columns="is_complete").to_parquet(
        current / "clv_labels.parquet"
    )
    rows.rename(columns={"contacted_at": "as_of"}).to_parquet(current / "customer_rfm.parquet")
    assert label_times(settings, "propensity").to_dict() == {"1": moments[1]}
    assert label_times(settings, "churn").max() == moments[2]
    assert label_times(settings, "segments").empty


def told(contacts: int, rate: float, expected: float = 0.1) -> Statistics:
    return Statistics(
        seen=contacts,
        answered=int(contacts * rate),
        observed=np.array([contacts * rate]),
        expected=np.array([contacts * expected]),
        information=np.array([[contacts * expected * (1 - expected)]]),
        x=np.array([float(contacts)]),
    )


def test_answers_that_come_as_expected_are_no_drift() -> None:
    """A tenth more in a thousand contacts is chance; so is twice as much in ten."""
    assert not any(each.is_off for each in answers({"beef": told(1_000, 0.11), "cheese": told(10, 0.2)}))


def test_an_action_that_nobody_answers_any_more_is_found_first() -> None:
    """The others make up for it in sum, and it is named all the same."""
    everything, first, *_ = answers({"beef": told(1_000, 0.02), "cheese": told(9_000, 0.109)})
    assert (everything.action, everything.is_off) == ("", False)
    assert (first.action, first.is_off) == ("beef", True)
    assert first.deviations < -8


def test_without_contacts_there_is_nothing_to_say() -> None:
    """A champion of a minute ago."""
    assert answers({}) == []
    assert answers({"beef": told(0, 0.0)}) == []
