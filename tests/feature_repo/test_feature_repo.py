import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click import ClickException

from nextbest.adapters.marts import SCORES
from nextbest.live import LIVE_STATE
from nextbest.settings import Settings
from serving.feature_layout import layout_of

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # ibis and sqlglot, on every import and read
]

KEYS = {"customer_id", "as_of"}
FEATURE_VIEWS = ["customer_profile", "customer_rfm", "department_affinity", "category_affinity", "contact_response"]
CUSTOMERS = 62
"""Sixty households, and the accounts that two of them have in the web shop."""


def _entities(home: Settings) -> pd.DataFrame:
    labels: pd.DataFrame = pq.read_table(home.marts / "current" / "propensity_labels.parquet").to_pandas()
    entities = labels[["customer_id", "contacted_at"]].drop_duplicates(ignore_index=True)
    return entities.rename(columns={"contacted_at": "event_timestamp"})


def _training(store: Any, entities: pd.DataFrame) -> pd.DataFrame:
    job = store.get_historical_features(entity_df=entities, features=store.get_feature_service("propensity"))
    frame: pd.DataFrame = job.to_df().sort_values(["customer_id", "event_timestamp"], ignore_index=True)
    return frame


def test_every_customer_arrives_online(materialized: dict[str, int]) -> None:
    """The script counts what it wrote; scores may be missing before the first scoring, features may not."""
    assert materialized == dict.fromkeys(FEATURE_VIEWS, CUSTOMERS) | {"customer_scores": 0}


def test_live_states_are_nobodys_to_materialize(store: Any) -> None:
    """The view that the event processor writes has no source that a batch could copy."""
    live = store.get_feature_view("live")
    assert (live.batch_source, [field.name for field in live.features]) == (None, [LIVE_STATE])


def test_views_have_the_columns_of_their_marts(store: Any, home: Settings) -> None:
    """The schema Feast knows is the schema that was published, name by name and type by type."""
    types = {"Int64": pa.int32(), "Float64": pa.float64(), "String": pa.string()}
    views = {
        view.name: {field.name: types[str(field.dtype)] for field in view.features}
        for view in store.list_feature_views()
        if view.batch_source is not None
    }
    published = {name: pq.read_schema(home.marts / "current" / f"{name}.parquet") for name in FEATURE_VIEWS}
    for name, schema in published.items():
        assert views[name] == {column.name: column.type for column in schema if column.name not in KEYS}
    scored = {name: SCORES.field(name).type for name in SCORES.names if name not in {*KEYS, "model_versions"}}
    assert views["customer_scores"] == scored


def test_services_are_what_consumers_read(store: Any) -> None:
    """Decisions see every view; no model trains on scores, which are a model's own."""
    names = {
        service.name: {projection.name for projection in service.feature_view_projections}
        for service in store.list_feature_services()
    }
    assert names == {
        "propensity": set(FEATURE_VIEWS),
        "clv": set(FEATURE_VIEWS),
        "decisioning": {*FEATURE_VIEWS, "customer_scores", "live"},
    }


def test_a_training_set_keeps_every_row(store: Any, home: Settings) -> None:
    """Rows in are rows out: those of a customer nobody knows, or before all history, too, without features."""
    known = _entities(home)
    strangers = pd.DataFrame(
        {
            "customer_id": ["nobody", known["customer_id"][0]],
            "event_timestamp": pd.to_datetime(["2026-06-01", "2000-01-01"], utc=True).as_unit("us"),
        }
    )
    training = _training(store, pd.concat([known, strangers], ignore_index=True))
    assert len(training) == len(known) + 2
    first_midnight = pc.min(pq.read_table(home.marts / "current" / "customer_rfm.parquet")["as_of"]).as_py()
    has_history = (training["event_timestamp"] >= first_midnight) & (training["customer_id"] != "nobody")
    assert training[has_history].notna().all(axis=None)
    assert training[~has_history].drop(columns=["customer_id", "event_timestamp"]).isna().all(axis=None)


def test_training_takes_the_newest_row_before_the_label(store: Any, home: Settings) -> None:
    """Each label gets the features of the last midnight that is not after it."""
    entities = _entities(home)
    features = pq.read_table(home.marts / "current" / "customer_rfm.parquet").to_pandas()
    expected = pd.merge_asof(
        entities.sort_values("event_timestamp"),
        features.sort_values("as_of"),
        left_on="event_timestamp",
        right_on="as_of",
        by="customer_id",
    ).sort_values(["customer_id", "event_timestamp"], ignore_index=True)
    training = _training(store, entities)
    for feature in ["recency_days", "spend_91d", "spend_trend"]:
        pd.testing.assert_series_equal(training[feature], expected[feature], check_dtype=False)


def test_a_feature_computed_after_the_label_never_enters_training(store: Any, home: Settings) -> None:
    """Rows of a second after each label, with values no customer has, change nothing in the training set."""
    entities = _entities(home)
    before = _training(store, entities)
    current = home.marts / "current"
    kept = current.readlink()
    future = shutil.copytree(current, home.marts / "snapshot=future")
    for name in FEATURE_VIEWS:
        _add_rows_after(entities, future / f"{name}.parquet")
    _point(home, future.name)
    try:
        after = _training(store, entities)
        later = _training(store, entities.assign(event_timestamp=entities["event_timestamp"] + pd.Timedelta(seconds=1)))
    finally:
        _point(home, str(kept))
    pd.testing.assert_frame_equal(after, before)
    assert (later["spend_91d"] == 987_654_321).all(), "the rows must be there to be found, else this proves nothing"


def _add_rows_after(entities: pd.DataFrame, path: Any) -> None:
    table = pq.read_table(path)
    rows: dict[str, list[Any]] = {name: [987_654_321] * len(entities) for name in table.column_names}
    rows["customer_id"] = entities["customer_id"].tolist()
    rows["as_of"] = (entities["event_timestamp"] + pd.Timedelta(seconds=1)).tolist()
    pq.write_table(pa.concat_tables([table, pa.table(rows, schema=table.schema)]), path)


def _point(home: Settings, snapshot: str) -> None:
    link = home.marts / "next"
    link.symlink_to(snapshot)
    link.replace(home.marts / "current")


def test_online_features_are_the_newest_offline_row(store: Any, home: Settings) -> None:
    """What a decision reads is what the last midnight's row says, for every customer and feature."""
    for name in FEATURE_VIEWS:
        table = pq.read_table(home.marts / "current" / f"{name}.parquet")
        newest = table.filter(pc.equal(table["as_of"], pc.max(table["as_of"]))).drop_columns("as_of").to_pylist()
        features = [f"{name}:{feature}" for feature in newest[0] if feature != "customer_id"]
        rows = [{"customer_id": row["customer_id"]} for row in newest]
        online = store.get_online_features(features=features, entity_rows=rows).to_df().to_dict("records")
        assert sorted(online, key=_customer) == sorted(newest, key=_customer)


def _customer(row: dict[str, Any]) -> str:
    return str(row["customer_id"])


def test_what_decisions_read_can_be_read_without_the_sdk(store: Any) -> None:
    """A declaration that the quick reader does not know would make every decision slower, and fail nothing."""
    service = store.get_feature_service("decisioning")
    declared = [feature.name for view in service.feature_view_projections for feature in view.features]
    assert list(layout_of(store, service).nothing) == declared


def test_features_arrive_on_redis_too(
    home: Settings,
    apply: Callable[[Settings], None],
    materialize: Callable[[Settings], dict[str, int]],
    redis_server: Any,
    tmp_path: Path,
) -> None:
    """The same customers, and again when they are copied once more: it is the same midnight."""
    on_redis = Settings(home=tmp_path, state_url=redis_server.url)
    on_redis.state.mkdir()
    on_redis.marts.symlink_to(home.marts)
    apply(on_redis)
    for _ in range(2):
        assert materialize(on_redis) == dict.fromkeys(FEATURE_VIEWS, CUSTOMERS) | {"customer_scores": 0}
    assert len(redis_server.keys()) == CUSTOMERS
    assert not on_redis.feast_online.exists()


def test_features_that_do_not_arrive_are_an_error(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A materialization that writes nothing and says nothing, as Feast's incremental one can, is found out."""
    monkeypatch.syspath_prepend(store.repo_path)
    from materialize import materialize  # type: ignore[import-not-found]  # noqa: PLC0415  Feast's folder

    monkeypatch.setattr(store, "materialize", lambda *_, **__: None)
    now = datetime.now(UTC)
    monkeypatch.setattr(store, "get_online_features", _reads_nothing)
    with pytest.raises(ClickException, match=f"{CUSTOMERS} customers have features"):
        materialize(store, now - timedelta(days=8), now)


def _reads_nothing(features: list[str], entity_rows: list[dict[str, str]]) -> Any:
    class Response:
        def to_dict(self, **_: object) -> dict[str, list[float]]:
            return {f"{features[0].split(':')[1]}__ts": [0.0] * len(entity_rows)}

    return Response()
