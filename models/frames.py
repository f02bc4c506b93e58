"""Training sets: labels from the marts, features from the feature store as they were at each label's time.

Belongs here: reading, joining, and the proof that nothing later than its label came in. Does not belong here: what a
label means (`models.labels`) or which features a model takes (`models.inputs`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd

from models.errors import TooLittleDataError, TrainingDataError
from models.inputs import READINGS, with_campaign_type, with_match
from models.labels import action_shares
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.feast_files import repo_config
from nextbest.adapters.feast_import import without_checks
from nextbest.settings import Settings

with without_checks():
    from feast import FeatureStore, RepoConfig

_STATISTICS = ["action", "department_id", "subset_responses_before", "subset_redemptions_before"]
_WITNESS = ("customer_rfm", "spend_91d")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Rows of labels and features, the newest features of each action, and the contracts the data came in under."""

    frame: pd.DataFrame
    action_features: Mapping[str, Mapping[str, float]]
    contracts: Mapping[str, str]

    def fingerprint(self, *parts: str) -> str:
        """Changes with any row, column or action feature, and with `parts`."""
        digest = hashlib.sha256(pd.util.hash_pandas_object(self.frame, index=False).to_numpy().tobytes())
        digest.update(msgspec.json.encode([list(self.frame.columns), self.action_features, *parts], order="sorted"))
        return digest.hexdigest()


def propensity_set(settings: Settings) -> TrainingSet:
    """Contact x offered action of every complete campaign.

    Raises:
        TooLittleDataError: there is no such row.

    """
    reading = READINGS["propensity"]
    labels = read_mart(settings, reading.labels)
    labels = _some(labels[labels["is_complete"]], f"{reading.labels}: no campaign of the policy's actions is complete")
    features = point_in_time(settings, reading.service, labels["customer_id"], labels["contacted_at"])
    [statistics] = [read_mart(settings, name) for name in reading.statistics]
    newest = action_features_at(statistics, statistics["as_of"].max())
    frame = assemble_propensity(labels, features, statistics)
    return TrainingSet(
        frame=frame,
        action_features=_by_action(newest),
        contracts=_contract_versions(settings),
    )


def clv_set(settings: Settings) -> TrainingSet:
    """Customer x cut-off.

    Raises:
        TooLittleDataError: there is no such row.

    """
    reading = READINGS["clv"]
    labels = read_mart(settings, reading.labels)
    labels = _some(labels, f"{reading.labels}: no cut-off has 91 days of history on both sides")
    features = point_in_time(settings, reading.service, labels["customer_id"], labels["cutoff_at"])
    frame = _joined(labels, features, "cutoff_at")
    return TrainingSet(frame=frame, action_features={}, contracts=_contract_versions(settings))


def _some(labels: pd.DataFrame, why_none: str) -> pd.DataFrame:
    if labels.empty:
        raise TooLittleDataError(why_none)
    return labels.reset_index(drop=True)


def assemble_propensity(labels: pd.DataFrame, features: pd.DataFrame, statistics: pd.DataFrame) -> pd.DataFrame:
    """Labels with the features of their customer, their action and the pair, all as of the contact.

    Args:
        labels: The mart `propensity_labels`.
        features: `customer_id`, `at` and customer features, one row per distinct pair.
        statistics: The mart `action_statistics`.

    Returns:
        One row per row of `labels`, in their order.

    """
    moments = labels["contacted_at"].drop_duplicates()
    shares = pd.concat([action_features_at(statistics, at).assign(contacted_at=at) for at in moments])
    known = labels.merge(shares, on=["contacted_at", "action"], how="left", validate="many_to_one")
    return with_campaign_type(with_match(_joined(known, features, "contacted_at")))


def action_features_at(statistics: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """`action` and `share` from what was known of each action at the moment `at`."""
    known = statistics.loc[statistics["as_of"] == at, _STATISTICS]
    return action_shares(known.set_axis(["action", "department", "responses", "redemptions"], axis="columns"))


def _by_action(features: pd.DataFrame) -> dict[str, dict[str, float]]:
    named = features.set_index("action")
    return {str(action): {str(k): float(v) for k, v in row.items()} for action, row in named.iterrows()}


def point_in_time(settings: Settings, service: str, customers: pd.Series, times: pd.Series) -> pd.DataFrame:
    """Features of a feature service for each distinct customer and time, as they were then.

    Returns:
        `customer_id`, `at` and the features, one row per distinct pair.

    Raises:
        TrainingDataError: a row was lost or doubled, has no features, or has one that was not yet known at its time.

    """
    entities = pd.DataFrame({"customer_id": customers, "event_timestamp": times}).drop_duplicates(ignore_index=True)
    store = _feature_store(settings)
    joined = store.get_historical_features(entities, store.get_feature_service(service)).to_df()
    joined = joined.rename(columns={"event_timestamp": "at"})
    joined["at"] = joined["at"].astype(entities["event_timestamp"].dtype)
    if len(joined) != len(entities):
        raise TrainingDataError(f"feature service {service}: {len(entities)} rows went in, {len(joined)} came out")
    mart, feature = _WITNESS
    check_point_in_time(joined, read_mart(settings, mart), feature)
    return joined


def check_point_in_time(joined: pd.DataFrame, mart: pd.DataFrame, feature: str) -> None:
    """Compare the joined feature with the newest row of its mart at or before each row's time, found another way.

    Raises:
        TrainingDataError: they differ, so that the join saw another moment than the label's, or nothing at all.

    """
    expected = pd.merge_asof(
        joined[["customer_id", "at", feature]].sort_values("at"),
        mart[["customer_id", "as_of", feature]].astype({"as_of": joined["at"].dtype}).sort_values("as_of"),
        left_on="at",
        right_on="as_of",
        by="customer_id",
        suffixes=("", "_then"),
    )
    wrong = int((~np.isclose(expected[feature], expected[f"{feature}_then"])).sum())
    if wrong:
        raise TrainingDataError(
            f"feature {feature}: {wrong} of {len(joined)} rows of the training set hold no value, or one that was not "
            "the newest known at the label's time"
        )


def read_mart(settings: Settings, name: str) -> pd.DataFrame:
    """A mart of the current snapshot.

    Raises:
        TrainingDataError: there is none yet.

    """
    path = settings.marts / "current" / f"{name}.parquet"
    if not path.exists():
        raise TrainingDataError(f"no mart {name} at {path}: run `nextbest pipeline` first")
    return pd.read_parquet(path)


def _joined(labels: pd.DataFrame, features: pd.DataFrame, time: str) -> pd.DataFrame:
    left = labels.rename(columns={time: "at"})
    frame = left.merge(
        features, on=["customer_id", "at"], how="left", validate="many_to_one", suffixes=("", "_feature")
    )
    frame = frame.rename(columns={"at": time})
    empty = [str(column) for column in frame.columns[frame.isna().any()]]
    if len(frame) != len(labels) or empty:
        raise TrainingDataError(f"{len(labels)} labels gave {len(frame)} rows; columns with nothing in them: {empty}")
    return frame


def _feature_store(settings: Settings) -> FeatureStore:
    return FeatureStore(config=RepoConfig(**repo_config(settings), repo_path=settings.feature_repo))


def _contract_versions(settings: Settings) -> dict[str, str]:
    return {name: contract.version for name, contract in load_contracts(settings.folder("contracts")).items()}
