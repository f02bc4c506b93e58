from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextbest.adapters.marts import SCORES, publish, scores_file


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.spend as select 'ann' as customer_id, 1.5 as spend_91d")
        connection.execute(
            "create table marts.visits as select 'ann' as customer_id, timestamptz '2026-01-01' as as_of"
        )
    return path


def _snapshots(marts: Path) -> set[str]:
    return {folder.name for folder in marts.glob("snapshot=*")}


def test_publishes_each_mart_and_makes_them_current(warehouse: Path, tmp_path: Path) -> None:
    """Readers find every mart below `current`, with UTC timestamps in microseconds."""
    marts = tmp_path / "marts"
    snapshot = publish(warehouse, marts, ["spend", "visits"], "one")
    assert (marts / "current").resolve() == snapshot == marts / "snapshot=one"
    assert pq.read_table(marts / "current" / "spend.parquet").to_pylist()[0]["customer_id"] == "ann"
    assert str(pq.read_schema(marts / "current" / "visits.parquet").field("as_of").type) == "timestamp[us, tz=UTC]"


def test_keeps_the_newest_snapshots(warehouse: Path, tmp_path: Path) -> None:
    """Readers of a former snapshot have time to finish; older ones do not fill the disk."""
    marts = tmp_path / "marts"
    for name in ["a", "b", "c", "a", "d"]:
        publish(warehouse, marts, ["spend"], name)
    assert _snapshots(marts) == {"snapshot=a", "snapshot=c", "snapshot=d"}
    assert (marts / "current").readlink() == Path("snapshot=d")


def test_a_failed_publish_changes_nothing(warehouse: Path, tmp_path: Path) -> None:
    """A mart that is missing leaves readers where they were, no draft behind and the warehouse free for a writer."""
    marts = tmp_path / "marts"
    publish(warehouse, marts, ["spend"], "one")
    before = {path.name for path in marts.iterdir()}
    with pytest.raises(duckdb.Error, match="absent"):
        publish(warehouse, marts, ["spend", "absent"], "two")
    assert {path.name for path in marts.iterdir()} == before
    assert (marts / "current").readlink() == Path("snapshot=one")
    duckdb.connect(warehouse).close()


def test_a_snapshot_is_immutable(warehouse: Path, tmp_path: Path) -> None:
    """Publishing an id again makes it current and leaves its files as they are."""
    marts = tmp_path / "marts"
    first = publish(warehouse, marts, ["spend"], "one") / "spend.parquet"
    content = first.read_bytes()
    with duckdb.connect(warehouse) as connection:
        connection.execute("update marts.spend set spend_91d = 9")
    publish(warehouse, marts, ["spend"], "one")
    assert first.read_bytes() == content


def test_scores_are_there_before_the_first_scoring_and_kept_after_it(warehouse: Path, tmp_path: Path) -> None:
    """Feast always finds the file of scores; publishing never takes them away."""
    marts = tmp_path / "marts"
    publish(warehouse, marts, ["spend"], "one")
    assert pq.read_table(scores_file(marts)).num_rows == 0
    assert pq.read_schema(scores_file(marts)).equals(SCORES)
    scored = [
        {"customer_id": "1", "as_of": datetime(2026, 3, 2, tzinfo=UTC), "clv_91d": 3.0, "model_versions": "clv 1"}
    ]
    pq.write_table(pa.Table.from_pylist(scored, schema=SCORES), scores_file(marts))
    before = scores_file(marts).read_bytes()
    publish(warehouse, marts, ["spend"], "two")
    assert scores_file(marts).read_bytes() == before


def test_scores_of_a_release_that_knew_fewer_get_the_columns_of_this_one(warehouse: Path, tmp_path: Path) -> None:
    """What was said stays; what nobody said yet is null, and a column that is no more is gone."""
    marts = tmp_path / "marts"
    publish(warehouse, marts, ["spend"], "one")
    scored = {"customer_id": ["1"], "as_of": [datetime(2026, 3, 2, tzinfo=UTC)], "clv_91d": [3.0], "former": ["x"]}
    pq.write_table(pa.table(scored | {"model_versions": ["clv 1"]}), scores_file(marts))
    publish(warehouse, marts, ["spend"], "two")
    now = pq.read_table(scores_file(marts))
    assert now.schema.equals(SCORES)
    assert now["clv_91d"].to_pylist() == [3.0]
    assert now["next_category"].to_pylist() == [None]
