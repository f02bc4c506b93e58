"""Values are read as Feast's own decoding reads them."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.feature_values import DECODERS, UnknownFormatError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # ibis and sqlglot, when Feast is imported

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "string_val": st.text(),
    "int32_val": st.integers(-(2**31), 2**31 - 1),
    "int64_val": st.integers(-(2**63), 2**63 - 1),
    "double_val": st.floats(),
    "float_val": st.floats(width=32),
    "bool_val": st.booleans(),
}


def _message(**field: Any) -> bytes:
    from feast.protos.feast.types.Value_pb2 import Value  # noqa: PLC0415  takes seconds: not while tests are collected

    content: bytes = Value(**field).SerializeToString()
    return content


@pytest.fixture(scope="module", autouse=True)
def _feast() -> None:
    """Its import is not what a single example takes."""
    import feast  # noqa: F401, PLC0415


@given(st.sampled_from(sorted(_FIELDS)).flatmap(lambda name: st.tuples(st.just(name), _FIELDS[name])))
def test_a_value_is_what_was_written(field: tuple[str, Any]) -> None:
    """Bit for bit, of every type that a feature has: zeros, negative numbers and long texts too."""
    name, value = field
    content = _message(**{name: value})
    read = DECODERS[content[0]](content)
    assert type(read) is type(value)
    assert read == value or struct.pack("<d", read) == struct.pack("<d", value)


@pytest.mark.parametrize("field", [{"bytes_val": b"x"}, {"unix_timestamp_val": 1}, {"null_val": 0}])
def test_a_type_that_no_feature_has_is_refused(field: dict[str, Any]) -> None:
    """Feast's SDK reads it then."""
    content = _message(**field)
    with pytest.raises(UnknownFormatError, match="begins with byte"):
        DECODERS[content[0]](content)
