"""How Feast stores the features of one feature service: keys, tables and fields, worked out once.

Belongs here: what the quick readers rely on, taken from Feast's own helpers, and refusing whatever they do not know.
Does not belong here: reading (`serving.sqlite_features`, `serving.redis_features`), or what a value looks like
(`serving.feature_values`).
"""

from dataclasses import dataclass
from struct import Struct
from typing import Any

from serving.feature_values import UnknownFormatError

ENTITY = "customer_id"
LIVE_VIEW = "live"
"""The view that the event processor writes; the others are copied from marts."""
_KEY_VERSION = 3
_TYPES = {"Int32", "Int64", "Float32", "Float64", "String", "Bool"}
_PROBES = ("", "c1", "größer", "x" * 300)
_length = Struct("<I").pack


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredView:
    """A feature view as it is stored."""

    name: str
    table: str
    """In SQLite."""
    fields: dict[str, bytes]
    """In a customer's hash in Redis, by feature."""
    ttl_s: float
    """How old its rows may be; 0 lets them grow old. Feast does not ask when it reads online."""

    @property
    def moment(self) -> bytes:
        """The field in Redis that says how old the view's others are."""
        return f"_ts:{self.name}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a customer's features are."""

    project: str
    prefix: bytes
    """What every customer's key begins with; length and text of the id follow."""
    views: tuple[StoredView, ...]

    @property
    def copied(self) -> tuple[StoredView, ...]:
        """The views that are filled by a materialization."""
        return tuple(view for view in self.views if view.name != LIVE_VIEW)

    @property
    def nothing(self) -> dict[str, None]:
        """Every feature, of a customer who has none."""
        return dict.fromkeys(feature for view in self.views for feature in view.fields)

    def key(self, customer_id: str) -> bytes:
        text = customer_id.encode(errors="surrogatepass")  # which Feast refuses: nobody is stored under it
        return self.prefix + _length(len(text)) + text

    def customer_of(self, key: bytes) -> str:
        """The reverse of `key`."""
        return key[len(self.prefix) + 4 :].decode()


def layout_of(store: Any, service: Any) -> Layout:
    """The layout of a feature service in Feast's store.

    Raises:
        UnknownFormatError: the service has something that the quick readers do not know.

    """
    config = store.config
    _refuse(config.entity_key_serialization_version != _KEY_VERSION, "another version of entity keys")
    _refuse(config.registry.enable_online_feature_view_versioning, "versions of feature views")
    _refuse(getattr(service, "precompute_online", False), "a precomputed feature service")
    layout = Layout(
        project=config.project,
        prefix=_prefix(),
        views=tuple(_view(store, projection) for projection in service.feature_view_projections),
    )
    features = [feature for view in layout.views for feature in view.fields]
    _refuse(len(features) != len(set(features)), "two features of one name")
    return layout


def _refuse(condition: object, what: str) -> None:
    if condition:
        raise UnknownFormatError(f"the feature store has {what}")


def _prefix() -> bytes:
    """What Feast's keys of customers begin with, once it is sure that the rest of them is as `Layout.key` writes it."""
    from feast import ValueType  # noqa: PLC0415  Feast takes seconds, which nobody waits for who does not read
    from feast.infra.key_encoding_utils import serialize_entity_key_prefix  # noqa: PLC0415

    prefix: bytes = serialize_entity_key_prefix([ENTITY], _KEY_VERSION) + _length(ValueType.STRING.value)
    layout = Layout(project="", prefix=prefix, views=())
    _refuse(any(layout.key(probe) != _feast_key(probe) for probe in _PROBES), "another form of entity keys")
    return prefix


def _feast_key(customer_id: str) -> bytes:
    from feast.infra.key_encoding_utils import serialize_entity_key  # noqa: PLC0415
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey  # noqa: PLC0415
    from feast.protos.feast.types.Value_pb2 import Value  # noqa: PLC0415

    entity = EntityKey(join_keys=[ENTITY], entity_values=[Value(string_val=customer_id)])
    key: bytes = serialize_entity_key(entity, _KEY_VERSION)
    return key


def _view(store: Any, projection: Any) -> StoredView:
    from feast.errors import FeatureViewNotFoundException  # noqa: PLC0415
    from feast.infra.online_stores.helpers import _mmh3, compute_table_id  # noqa: PLC0415

    _refuse(projection.join_key_map, "a renamed join key")
    try:
        view = store.get_feature_view(projection.name)
    except FeatureViewNotFoundException:
        raise UnknownFormatError(f"{projection.name} is no plain feature view") from None
    keys = [(column.name, str(column.dtype)) for column in view.entity_columns]
    _refuse(keys != [(ENTITY, "String")], f"another entity in {view.name}")
    types = {str(feature.dtype) for feature in projection.features}
    _refuse(types - _TYPES, f"features of another type in {view.name}")
    return StoredView(
        name=view.name,
        table=compute_table_id(store.config.project, view),
        fields={feature.name: _mmh3(f"{view.name}:{feature.name}") for feature in projection.features},
        ttl_s=view.ttl.total_seconds() if view.ttl else 0.0,
    )
