"""The layout is Feast's, and whatever it is not sure of is refused."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from nextbest.settings import Settings
from serving.feature_layout import layout_of
from serving.feature_values import UnknownFormatError

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # ibis and sqlglot, when Feast is imported
]


@pytest.fixture
def home(tmp_path: Any) -> Any:
    """The layout is the same in both stores."""
    return lambda: Settings(home=tmp_path)


def _layout(feature_home: Any) -> Any:
    return layout_of(feature_home.store, feature_home.store.get_feature_service("decisioning"))


def test_views_are_those_of_the_service(feature_home: Any) -> None:
    """With their features, in the service's order, and how old a row may be."""
    feature_home.define("visits", {"visits": "Int64"}, ttl=timedelta(days=1))
    views = _layout(feature_home).views
    assert {view.name: (list(view.fields), view.ttl_s) for view in views} == {
        "habits": (["baskets", "spend", "store", "is_new"], 0.0),
        "scores": (["rank", "clv"], 0.0),
        "visits": (["visits"], 86_400.0),
    }


def test_a_key_says_whose_it_is(feature_home: Any) -> None:
    """There and back, whatever the id."""
    layout = _layout(feature_home)
    for customer_id in ("439", "größer", "x" * 300):
        assert layout.customer_of(layout.key(customer_id)) == customer_id


def test_an_id_that_cannot_be_stored_is_nobodys(feature_home: Any) -> None:
    """Half a character is no text: it is looked for, and not found."""
    assert _layout(feature_home).key("\ud800")


@pytest.mark.parametrize(
    ("features", "said"),
    [({"spend": "Int64"}, "two features of one name"), ({"moment": "UnixTimestamp"}, "features of another type")],
)
def test_what_is_declared_otherwise_is_refused(feature_home: Any, features: dict[str, str], said: str) -> None:
    """And the reason names it."""
    feature_home.define("more", features)
    with pytest.raises(UnknownFormatError, match=said):
        _layout(feature_home)


def test_another_version_of_keys_is_refused(feature_home: Any) -> None:
    """Its keys would find nobody."""
    service = feature_home.store.get_feature_service("decisioning")
    other = SimpleNamespace(config=feature_home.store.config.model_copy(update={"entity_key_serialization_version": 2}))
    with pytest.raises(UnknownFormatError, match="version of entity keys"):
        layout_of(other, service)
