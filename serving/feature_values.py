"""Feature values as Feast stores them: a protobuf message `Value` with one field, or an empty one for null.

Belongs here: the scalars of that message, read by their first byte, which says field and type. Does not belong here:
where values are stored (`serving.feature_layout`). Feast's own decoding takes three times as long, which its SDK pays.
"""

from collections.abc import Callable
from struct import Struct

from nextbest.errors import NextbestError
from nextbest.records import Attribute

_MORE = 0x80
_SIGN = 1 << 63
_double = Struct("<d").unpack_from
_float = Struct("<f").unpack_from


class UnknownFormatError(NextbestError):
    """Something is not stored, or not declared, as the quick readers know it; the message says what."""


class _Decoders(dict[int, Callable[[bytes], Attribute]]):
    def __missing__(self, tag: int) -> Callable[[bytes], Attribute]:
        raise UnknownFormatError(f"a stored value begins with byte {tag}")


def _integer(value: bytes) -> int:
    """A variable-length integer after the first byte: seven bits a byte, lowest first; negative ones take ten bytes."""
    if len(value) == 2:  # noqa: PLR2004  most counts
        return value[1]
    number = shift = 0
    for byte in value[1:]:
        number |= (byte & ~_MORE) << shift
        shift += 7
    return number - 2 * _SIGN if number & _SIGN else number


def _text(value: bytes) -> str:
    start = 1
    while value[start] & _MORE:  # the length, which is that of the rest
        start += 1
    return value[start + 1 :].decode()


DECODERS = _Decoders(
    {
        0x12: _text,
        0x18: _integer,  # of 32 bits
        0x20: _integer,  # of 64 bits
        0x29: lambda value: _double(value, 1)[0],
        0x35: lambda value: _float(value, 1)[0],
        0x38: lambda value: value[1] == 1,
    }
)
"""What reads a value, by its first byte.

Raises:
    UnknownFormatError: Feast stores values of a type that begin with this byte, but no feature has it.

"""
