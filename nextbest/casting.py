"""Casting a column to the type its contract names, without losing anything.

Belongs here: which types a column may arrive in, and value-by-value conversion. A value that would lose something (a
fraction, a nanosecond, a text that is no number) becomes null and is reported as lost; nothing is rounded or guessed.
Does not belong here: what happens to a row that lost a value (`nextbest.validation`).
"""

from collections.abc import Callable, Iterator

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

# A time without a zone is in UTC: the defaultTimezone of ODCS.
_NO_ZONE = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?$"
_list_of_text = msgspec.json.Decoder(list[str])


def can_hold(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether a column of type `source` may stand for one of type `target`: text may for all, a number for a number."""
    if pa.types.is_dictionary(source):
        source = source.value_type
    if source == target or pa.types.is_null(source) or _is_text(source):
        return True
    if pa.types.is_string(target):
        return bool(pa.types.is_integer(source))
    if pa.types.is_timestamp(target):
        return bool(pa.types.is_timestamp(source))
    if pa.types.is_list(target):
        return (pa.types.is_list(source) or pa.types.is_large_list(source)) and _is_text(source.value_type)
    return _is_number(source) and _is_number(target)


def cast(column: pa.ChunkedArray, target: pa.DataType) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The column as `target`, with null for each value that cannot be held, and a mask of those values."""
    result = column if column.type == target else _convert(column, target)
    lost = pc.and_(pc.is_null(result), pc.is_valid(column))
    if pa.types.is_floating(target):
        finite = pc.is_finite(result)
        lost = pc.or_(lost, pc.invert(finite.fill_null(True)))
        result = pc.if_else(finite, result, pa.scalar(None, target))
    return result, lost


def _convert(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    convert: Callable[[pa.Array], pa.Array] = lambda values: values.cast(target)  # noqa: E731  three short alternatives
    if _is_text(column.type) and pa.types.is_timestamp(target):
        convert = _parse_times
    elif _is_text(column.type) and pa.types.is_list(target):
        convert = _parse_lists
    return pa.chunked_array([piece for chunk in column.chunks for piece in _salvage(chunk, convert, target)], target)


def _salvage(values: pa.Array, convert: Callable[[pa.Array], pa.Array], target: pa.DataType) -> Iterator[pa.Array]:
    """Convert as many values as possible at once: where one of them is refused, each half by itself."""
    try:
        yield convert(values)
    except (pa.ArrowInvalid, msgspec.MsgspecError):
        if len(values) == 1:
            yield pa.nulls(1, target)
            return
        half = len(values) // 2
        yield from _salvage(values[:half], convert, target)
        yield from _salvage(values[half:], convert, target)


def _parse_times(values: pa.Array) -> pa.Array:
    values = values.cast(pa.string())
    zoned = pc.binary_join_element_wise(values, "Z", "")
    return pc.if_else(pc.match_substring_regex(values, _NO_ZONE), zoned, values).cast(pa.timestamp("us", tz="UTC"))


def _parse_lists(values: pa.Array) -> pa.Array:
    return pa.array(
        [None if text is None else _list_of_text.decode(text) for text in values.to_pylist()], pa.list_(pa.string())
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
