"""Casting a column to the type its contract names, without losing anything.

Belongs here: which types a column may arrive in, and value-by-value conversion. A value that would lose something (a
fraction, a nanosecond, a text that is no number, a year that no reader can hold) becomes null and is reported as lost;
nothing is rounded or guessed.
Does not belong here: what happens to a row that lost a value (`nextbest.validation`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_TIME: Final = pa.timestamp("us", tz="UTC")
_TEXTS: Final = pa.list_(pa.string())
# What Python's own times hold: an offset can carry a text of year 9999 past it.
_FIRST_TIME: Final = pa.scalar(datetime(1, 1, 1, tzinfo=UTC), _TIME)
_LAST_TIME: Final = pa.scalar(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), _TIME)
_DAY = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_NO_ZONE: Final = rf"^{_DAY}[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{{1,6}})?)?$"
ZONED_TIME_SHAPE: Final = _NO_ZONE.removesuffix("$") + r"(Z|[+-]\d{2}(:?\d{2})?)$"
"""What a text that is a time looks like, where it has to say in which zone."""
TIME_SHAPE: Final = ZONED_TIME_SHAPE.removesuffix("$") + "?$"
"""What a text that is a time looks like."""
# What a text must look like before it is parsed; a time without a zone is in UTC, the defaultTimezone of ODCS.
_SHAPES: Final = {
    pa.int64(): r"^-?\d{1,19}$",
    pa.float64(): r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$",
    pa.bool_(): r"^(?i:true|false|0|1)$",
    _TIME: TIME_SHAPE,
}
_list_of_text = msgspec.json.Decoder(list[str])


def can_hold(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether a column of type `source` may stand for one of type `target`: text may for all, a number for a number.

    A day is no moment until somebody says in which zone: it may stand for text only.
    """
    if pa.types.is_dictionary(source):
        source = source.value_type
    if source == target or pa.types.is_null(source) or _is_text(source):
        return True
    if pa.types.is_string(target):
        return bool(pa.types.is_integer(source) or pa.types.is_date(source))
    if pa.types.is_timestamp(target):
        return bool(pa.types.is_timestamp(source))
    if pa.types.is_list(target):
        return (pa.types.is_list(source) or pa.types.is_large_list(source)) and _is_text(source.value_type)
    return _is_number(source) and _is_number(target)


def cast(column: pa.ChunkedArray, target: pa.DataType) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """The column as `target`, with null for each value that cannot be held, and a mask of those values if any is."""
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), target)]), None
    result = column if column.type == target else _convert(column, target)
    if pa.types.is_floating(target):
        result = _keep(result, pc.is_finite(result))
    if target == _TIME:
        result = _keep(result, pc.and_(pc.greater_equal(result, _FIRST_TIME), pc.less_equal(result, _LAST_TIME)))
    if result.null_count == column.null_count:
        return result, None
    return result, pc.and_(pc.is_null(result), pc.is_valid(column))


def _convert(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type) and target == _TEXTS:
        return pa.chunked_array([pa.array(map(_parse_list, column.to_pylist()), target)])
    if _is_text(column.type) and target in _SHAPES:
        column = _keep(column, pc.match_substring_regex(column, _SHAPES[target]))
        if target == _TIME:
            column = pc.if_else(
                pc.match_substring_regex(column, _NO_ZONE), pc.binary_join_element_wise(column, "Z", ""), column
            )
    try:
        return column.cast(target)
    except pa.ArrowInvalid:
        column = column if _is_text(column.type) else _keep(column, _survives(column, target))
        return pa.chunked_array([piece for chunk in column.chunks for piece in _salvage(chunk, target)], target)


def _survives(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Which numbers and times come back from the type as they went in."""
    return pc.equal(column.cast(target, safe=False).cast(column.type, safe=False), column)


def _salvage(values: pa.Array, target: pa.DataType) -> Iterator[pa.Array]:
    """Cast as many values as possible at once: where one is refused, such as 30 February, each half by itself."""
    try:
        yield values.cast(target)
    except pa.ArrowInvalid:
        if len(values) == 1:
            yield pa.nulls(1, target)
            return
        half = len(values) // 2
        yield from _salvage(values[:half], target)
        yield from _salvage(values[half:], target)


def _keep(column: pa.ChunkedArray, mask: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pc.all(mask).as_py() else pc.if_else(mask, column, pa.scalar(None, column.type))


def _parse_list(text: str | None) -> list[str] | None:
    try:
        return None if text is None else _list_of_text.decode(text)
    except msgspec.MsgspecError:
        return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
