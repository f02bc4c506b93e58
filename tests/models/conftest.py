"""Training sets with a known truth, small enough for a second, and a registry with two versions."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from models.frames import TrainingSet, assemble_propensity
from models.inputs import CATEGORY, DEPARTMENT_PREFIX, PROFILE, RESPONSE, RFM
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.settings import Settings
from tests.feature_marts import apply, write_marts

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from models.candidate import Registered

START = pd.Timestamp(2026, 1, 5, tz="UTC")
ACTIONS = {"beef": "meat", "cheese": "grocery", "yogurt": "grocery", "processed": "produce"}
MONDAY = pd.Timestamp(2026, 3, 2, tz="UTC").as_unit("us")
CONTRACTS = {"contacts": "1.0.0", "transactions": "1.0.0"}


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors; Splink parses SQL with a package that recommends its successor."""
    config.addinivalue_line("filterwarnings", "ignore:sqlglotrs is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in training: tests run beside each other, and more BLAS threads only get in each other's way."""
    with threadpool_limits(1):
        yield


@dataclass(frozen=True, slots=True)
class Trained:
    """A home in which two versions were trained, and a copy of it as it was then."""

    settings: Settings
    versions: "tuple[Registered, Registered]"
    kept: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, clv_data: TrainingSet, now: datetime) -> Trained:
    from models import lifecycle  # noqa: PLC0415  MLflow takes seconds to import, for whom it concerns
    from models.recipes import clv  # noqa: PLC0415

    settings = Settings(home=tmp_path_factory.mktemp("home"))
    first = lifecycle.run(settings, clv.RECIPE, clv_data, now)
    fewer = TrainingSet(frame=clv_data.frame.iloc[::-1], action_features={}, contracts=clv_data.contracts)
    second = lifecycle.run(settings, clv.RECIPE, fewer, now)
    kept = tmp_path_factory.mktemp("kept")
    shutil.copytree(settings.home, kept, dirs_exist_ok=True)
    return Trained(settings, (first, second), kept)


@pytest.fixture
def state(settings: Settings) -> Iterator[SqliteState]:
    state = SqliteState(settings.online_state)
    yield state
    state.close()


@pytest.fixture
def client(settings: Settings) -> "MlflowClient":
    from mlflow import MlflowClient  # noqa: PLC0415

    from models.registry import Registry  # noqa: PLC0415

    Registry(settings)
    return MlflowClient(settings.mlflow_uri, settings.mlflow_uri)


@pytest.fixture
def two_versions(trained: Trained) -> "tuple[Registered, Registered]":
    return trained.versions


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """An empty home; for a test of the two versions theirs, as it was, and where it was: MLflow writes whole paths."""
    if "two_versions" not in request.fixturenames:
        return Settings(home=tmp_path)
    trained: Trained = request.getfixturevalue("trained")
    shutil.rmtree(trained.settings.home)
    shutil.copytree(trained.kept, trained.settings.home)
    return trained.settings


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def feature_store(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with marts of two Mondays, every feature 1 on the first and 2 on the second, known to Feast."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    write_marts(settings, ("1", "2"), (MONDAY, MONDAY + timedelta(days=7)))
    apply(settings)
    return settings


def customer_columns(random: np.random.Generator, rows: int) -> dict[str, object]:
    """A number for every feature of a customer."""
    names = [*PROFILE, *RFM, *RESPONSE, f"{DEPARTMENT_PREFIX}meat", f"{DEPARTMENT_PREFIX}grocery"]
    columns: dict[str, object] = {name: random.gamma(1.0, 20.0, rows) for name in names}
    return columns | {f"{CATEGORY}__{action}": random.gamma(1.0, 10.0, rows) for action in ACTIONS}


def statistics(moments: list[pd.Timestamp]) -> pd.DataFrame:
    rows = [
        {
            "action": action,
            "department_id": department,
            "as_of": moment,
            "subset_responses_before": 1000,
            "subset_redemptions_before": 350 + 10 * n,
        }
        for moment in moments
        for n, (action, department) in enumerate(ACTIONS.items())
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def propensity_data() -> TrainingSet:
    """Nine campaigns a fortnight apart; redemption depends on spend, not on the past rate."""
    return TrainingSet(frame=propensity_frame(seed=1), action_features={}, contracts=CONTRACTS)


def propensity_frame(seed: int, households: int = 400, campaigns: int = 9) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    moments = [START + timedelta(days=14 * n) for n in range(campaigns)]
    contacts = pd.MultiIndex.from_product([range(households), range(campaigns)]).to_frame(index=False)
    contacts.columns = pd.Index(["household", "campaign"])
    features = pd.DataFrame(customer_columns(random, len(contacts)))
    wants = 1 / (1 + np.exp(4.5 - 1.2 * np.log1p(features["spend_91d"].to_numpy())))
    labels = pd.DataFrame(
        {
            "contact_id": contacts["campaign"].astype(str) + "-" + contacts["household"].astype(str),
            "customer_id": contacts["household"].astype(str),
            "campaign_id": contacts["campaign"].astype(str),
            "campaign_type": np.where(contacts["campaign"] % 3 == 0, "Type A", "Type B"),
            "assignment": np.where(contacts["campaign"] % 3 == 0, "subset", "all"),
            "contacted_at": [moments[n] for n in contacts["campaign"]],
            "ended_at": [moments[n] + timedelta(days=13) for n in contacts["campaign"]],
            "is_complete": True,
        }
    )
    offered = labels.merge(pd.DataFrame({"action": list(ACTIONS)}), how="cross")
    redeemed = random.random(len(offered)) < np.repeat(wants, len(ACTIONS)) / 2
    offered["is_redeemed"] = redeemed
    offered["any_redeemed"] = offered.groupby("contact_id")["is_redeemed"].transform("any")
    features = features.assign(customer_id=labels["customer_id"], at=labels["contacted_at"])
    return assemble_propensity(offered, features, statistics(moments))


@pytest.fixture(scope="session")
def clv_data() -> TrainingSet:
    """As `clv_frame` has it."""
    return TrainingSet(frame=clv_frame(), action_features={}, contracts=CONTRACTS)


def clv_frame(seed: int = 2) -> pd.DataFrame:
    """Five cut-offs a month apart; spend goes on as in the year, the last quarter being noisier than that."""
    random = np.random.default_rng(seed)
    customers, cutoffs = 300, [START + timedelta(days=28 * n) for n in range(6)]
    rows = customers * len(cutoffs)
    columns = customer_columns(random, rows)
    usual = np.tile(random.gamma(1.0, 300.0, customers), len(cutoffs))
    frame = pd.DataFrame(columns).assign(
        customer_id=np.tile(np.arange(customers).astype(str), len(cutoffs)),
        cutoff_at=np.repeat(np.array(cutoffs, dtype=object), customers),
        spend_364d=usual * 4 * random.lognormal(0, 0.2, rows),
        tenure_days=np.tile(random.integers(30, 364, customers), len(cutoffs)),
        spend_91d=usual * random.lognormal(0, 0.5, rows),
        spend_next_91d=usual * random.lognormal(0, 0.1, rows),
    )
    frame["spend_prior_91d"] = frame["spend_91d"]
    frame["cutoff_at"] = pd.to_datetime(frame["cutoff_at"], utc=True)
    return frame
