"""Training sets: labels from the marts, features from the feature store as they were at each label's time.

Belongs here: reading, joining, and the proof that nothing later than its label came in. Does not belong here: what a
label means (`models.labels`) or which features a model takes (`models.inputs`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pandas as pd

from models import label_rows
from models.errors import TooLittleDataError, TrainingDataError
from models.inputs import READINGS, with_campaign_type, with_match
from models.labels import action_shares
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.feast_files import repo_config
from nextbest.adapters.feast_import import without_checks
from nextbest.adapters.landing import Door
from nextbest.contracts import Fairness
from nextbest.settings import Settings

with without_checks():
    from feast import FeatureStore, RepoConfig

_STATISTICS = ["action", "department_id", "subset_responses_before", "subset_redemptions_before"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Rows of labels and features, the newest features of each action, and the contracts the data came in under.

    `leaks` are the rows, by feature, in which it is not what was known at the label's time. `protected` has a row per
    customer, and the fields whose groups must be treated alike as `fairness` says.
    """

    frame: pd.DataFrame
    action_features: Mapping[str, Mapping[str, float]]
    contracts: Mapping[str, str]
    leaks: Mapping[str, int] = field(default_factory=dict)
    protected: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"customer_id": []}))
    fairness: Fairness | None = None

    def fingerprint(self, *parts: str) -> str:
        """Changes with any row, column or action feature, with what the gate looks at, and with `parts`."""
        digest = hashlib.sha256()
        for frame in (self.frame, self.protected):
            digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        beside = [list(self.frame.columns), self.action_features, self.leaks, self.fairness, *parts]
        digest.update(msgspec.json.encode(beside, order="sorted"))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Known:
    """Features of customers as they were at moments: `customer_id`, `at` and the features, one row per distinct pair.

    `leaks` are the rows, by feature, of which something else was found in the marts (`newer_than_known`).
    """

    features: pd.DataFrame
    leaks: Mapping[str, int]


def propensity_set(settings: Settings) -> TrainingSet:
    """Contact x offered action of every complete campaign.

    Raises:
        TooLittleDataError: there is no such row.

    """
    reading = READINGS["propensity"]
    labels = read_labels(settings, reading.labels)
    labels = rows_or_error(
        labels[labels["is_complete"]], f"{reading.labels}: no campaign of the policy's actions is complete"
    )
    known = point_in_time(settings, reading.service, labels["customer_id"], labels["contacted_at"])
    [statistics] = [read_mart(settings, name) for name in reading.statistics]
    newest = action_features_at(statistics, statistics["as_of"].max())
    frame = assemble_propensity(labels, known.features, statistics)
    return training_set(settings, frame, known, by_action(newest))


def clv_set(settings: Settings) -> TrainingSet:
    """Customer x cut-off, with `is_churned` where nothing was bought in the window.

    Raises:
        TooLittleDataError: there is no such row.

    """
    reading = READINGS["clv"]
    labels = read_labels(settings, reading.labels)
    labels = rows_or_error(labels, f"{reading.labels}: no cut-off has 91 days of history on both sides")
    known = point_in_time(settings, reading.service, labels["customer_id"], labels["cutoff_at"])
    frame = with_features(labels, known.features, "cutoff_at")
    bought = frame["spend_next_91d"] > 0
    return training_set(settings, frame.assign(is_churned=(~bought).astype(float)), known, {})


def segments_set(settings: Settings) -> TrainingSet:
    """Every customer who has ever bought, with the newest features: `customer_id`, `at` and these.

    Raises:
        TooLittleDataError: nobody has.

    """
    reading = READINGS["segments"]
    newest = read_mart(settings, reading.labels)
    buyers = newest[(newest["as_of"] == newest["as_of"].max()) & (newest["observed_days"] > 0)]
    buyers = rows_or_error(buyers, f"{reading.labels}: no customer has bought anything")
    known = point_in_time(settings, reading.service, buyers["customer_id"], buyers["as_of"])
    return training_set(settings, known.features.dropna().reset_index(drop=True), known, {})


def training_set(
    settings: Settings, frame: pd.DataFrame, known: Known, action_features: Mapping[str, Mapping[str, float]]
) -> TrainingSet:
    """The rows with what goes with every training set of a home."""
    protected, fairness = _protected(settings)
    return TrainingSet(
        frame=frame,
        action_features=action_features,
        contracts=_contract_versions(settings),
        leaks=known.leaks,
        protected=protected,
        fairness=fairness,
    )


def rows_or_error(labels: pd.DataFrame, why_none: str) -> pd.DataFrame:
    """The labels, numbered anew.

    Raises:
        TooLittleDataError: there are none; the message is `why_none`.

    """
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
    return with_campaign_type(with_match(with_features(known, features, "contacted_at")))


def action_features_at(statistics: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """`action` and `share` from what was known of each action at the moment `at`."""
    known = statistics.loc[statistics["as_of"] == at, _STATISTICS]
    return action_shares(known.set_axis(["action", "department", "responses", "redemptions"], axis="columns"))


def by_action(features: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What `action_features_at` gives, as a model set has it."""
    named = features.set_index("action")
    return {str(action): {str(k): float(v) for k, v in row.items()} for action, row in named.iterrows()}


def point_in_time(settings: Settings, service: str, customers: pd.Series, times: pd.Series) -> Known:
    """Features of a feature service for each distinct customer and time, as they were then.

    Raises:
        TrainingDataError: a row was lost or doubled.

    """
    entities = pd.DataFrame({"customer_id": customers, "event_timestamp": times}).drop_duplicates(ignore_index=True)
    store = _feature_store(settings)
    asked = store.get_feature_service(service)
    joined = store.get_historical_features(entities, asked).to_df().rename(columns={"event_timestamp": "at"})
    joined["at"] = joined["at"].astype(entities["event_timestamp"].dtype)
    # A join returns its rows in any order: the same data in another is another fingerprint, and another division.
    joined = joined.sort_values(["customer_id", "at"], ignore_index=True)
    if len(joined) != len(entities):
        raise TrainingDataError(f"feature service {service}: {len(entities)} rows went in, {len(joined)} came out")
    leaks: dict[str, int] = {}
    for view in asked.feature_view_projections:
        leaks |= newer_than_known(joined, read_mart(settings, view.name), [each.name for each in view.features])
    return Known(joined, leaks)


def newer_than_known(joined: pd.DataFrame, mart: pd.DataFrame, features: Sequence[str]) -> dict[str, int]:
    """In how many rows a feature is not that of the mart's newest row at or before the row's time, found another way.

    A row that saw a later moment than its label's is one, and so is one that holds nothing: it would become a default.
    Features without such a row are left out.
    """
    known = pd.merge_asof(
        joined[["customer_id", "at", *features]].sort_values("at"),
        mart[["customer_id", "as_of", *features]].astype({"as_of": joined["at"].dtype}).sort_values("as_of"),
        left_on="at",
        right_on="as_of",
        by="customer_id",
        suffixes=("", "_then"),
    )
    wrong = {
        name: int((~np.isclose(known[name].astype(float), known[f"{name}_then"].astype(float))).sum())
        for name in features
    }
    return {name: rows for name, rows in wrong.items() if rows}


def _protected(settings: Settings) -> tuple[pd.DataFrame, Fairness | None]:
    """What has landed of customers' protected fields, a row each, and how alike their groups must be treated."""
    contract = load_contracts(settings.folder("contracts"))["customers"]
    rows = Door.of(settings).read(contract.name, ["customer_id", *contract.protected]).to_pandas()
    return rows.drop_duplicates("customer_id", keep="last", ignore_index=True), contract.fairness


def read_mart(settings: Settings, name: str) -> pd.DataFrame:
    """A mart of the current snapshot.

    Raises:
        TrainingDataError: there is none yet.

    """
    path = settings.marts / "current" / f"{name}.parquet"
    if not path.exists():
        raise TrainingDataError(f"no mart {name} at {path}: run `nextbest pipeline` first")
    return pd.read_parquet(path)


def read_labels(settings: Settings, name: str) -> pd.DataFrame:
    """A mart of labels of the current snapshot.

    Raises:
        TrainingDataError: there is none yet, or it holds rows that nothing may learn from.

    """
    labels = read_mart(settings, name)
    label_rows.check(labels, name)
    return labels


def with_features(labels: pd.DataFrame, features: pd.DataFrame, time: str) -> pd.DataFrame:
    """Labels with what was known of the customer at `time`, one row per label, in their order.

    Raises:
        TrainingDataError: something is not known of one of them.

    """
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
