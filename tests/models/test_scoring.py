"""What champions say flows back as features."""

from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from models import lifecycle
from models.frames import TrainingSet
from models.recipes import clv
from models.scoring import score_customers
from nextbest.adapters.marts import SCORES, scores_file
from nextbest.settings import Settings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:sqlglotrs is deprecated:DeprecationWarning"),  # sqlglot's, which Feast brings
    pytest.mark.filterwarnings(r"ignore:fetch_arrow_table\(\) is deprecated:DeprecationWarning"),  # ibis', likewise
]
AS_OF = datetime(2026, 3, 10, tzinfo=UTC)


def test_every_customer_is_scored_by_the_champion(
    feature_store: Settings, clv_data: TrainingSet, now: datetime
) -> None:
    """A row each, with the version; nothing where there is no champion; the former file stays until then."""
    assert score_customers(feature_store, AS_OF) == 0
    lifecycle.run(feature_store, clv.RECIPE, clv_data, now)
    assert score_customers(feature_store, AS_OF) == 2
    scores = pq.read_table(scores_file(feature_store.marts))
    assert scores.schema.equals(SCORES)
    assert scores["customer_id"].to_pylist() == ["1", "2"]
    assert set(scores["as_of"].to_pylist()) == {AS_OF}
    assert set(scores["model_versions"].to_pylist()) == {"clv 1"}
    assert min(scores["clv_91d"].to_pylist()) >= 0
    assert set(scores["segment"].to_pylist()) == {None}
