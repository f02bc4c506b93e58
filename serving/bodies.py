"""Bodies: what a request brings, read up to a limit and decoded to a type.

Belongs here: what a body may call itself, the limits of size and depth, and what is said where one is broken. Does not
belong here: the types (`nextbest.wire`), which limit lists and texts themselves.
"""

import json
import math
import re
import zlib
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from starlette.requests import Request

from nextbest.wire import FieldError
from serving import problems
from serving.problems import ProblemError

T = TypeVar("T")

SMALL_BYTES = 20_000
DECISION_BYTES = 200_000
EVENTS_BYTES = 2_000_000
_PLAIN, _GZIP = "identity", "gzip"
_DEEPEST = 50
_GZIP_WINDOW = 31
"""To zlib: the largest window, in gzip's frame."""
_JSON = re.compile(r"application/(json|[^/\s]+\+json)")
_INVALID = re.compile(r"(?P<detail>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


async def read(request: Request, decoder: "msgspec.json.Decoder[T]", limit_bytes: int, *, nothing: bytes = b"") -> T:
    """The body as the decoder's type; no body is read as `nothing`.

    Raises:
        ProblemError: 415, 413, 400 or 422.

    """
    return decoded(await content(request, limit_bytes) or nothing, decoder)


async def content(request: Request, limit_bytes: int) -> bytes:
    """The body's bytes; what is compressed is so no longer, and must fit in the limit before and after.

    Raises:
        ProblemError: 415, 413 or 400.

    """
    _check_media_type(request.headers.get("content-type", ""))
    encoding = request.headers.get("content-encoding", _PLAIN).strip().lower()
    if encoding not in {_PLAIN, _GZIP}:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body may be compressed with gzip, and with nothing else",
            headers={"Accept": "application/json", "Accept-Encoding": _GZIP},
        )
    sent = await _content(request, limit_bytes)
    return _decompressed(sent, limit_bytes) if encoding == _GZIP else sent


def decoded(content: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """A body's bytes as the decoder's type.

    Raises:
        ProblemError: 400 or 422.

    """
    try:
        return decoder.decode(content)
    except msgspec.DecodeError as error:
        raise _not_understood(error, decoder.type) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not UTF-8, or nests too deep") from error


def is_deep(value: object, levels: int = _DEEPEST) -> bool:
    """Whether a value has more levels of lists and objects than whoever looks at it must be able to go down."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(items) and (levels == 0 or any(is_deep(each, levels - 1) for each in items))


def lenient(content: bytes, large: Callable[[str], Any], nothing: Callable[[str], Any]) -> Any:
    """JSON in which numbers may be larger than any that a computer has, or none.

    Args:
        content: The JSON.
        large: What stands for a number that is too large, by its text.
        nothing: What stands for `NaN` and `Infinity`, which are not JSON; it may raise a `ValueError`.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it nests too deep.

    """

    def number(said: str) -> Any:
        if not math.isfinite(value := float(said)):
            return large(said)
        return int(said) if said.lstrip("-").isdecimal() else value

    return json.loads(content, parse_constant=nothing, parse_float=number, parse_int=number)


def _not_understood(error: msgspec.DecodeError, type_: type) -> ProblemError:
    """400 for what is not JSON, 422 with the field for what is not a valid body."""
    if not isinstance(error, msgspec.ValidationError):
        return ProblemError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}")
    match = _INVALID.fullmatch(str(error))
    detail, path = (match["detail"], match["path"] or "") if match else (str(error), "")
    known = path.partition("[...]")[0]  # of an object's members it does not say which
    pointer = "#" + re.sub(r"\.|\[", "/", known).replace("]", "")
    said = _in_words_of_json(detail)
    if detail.startswith("Invalid enum value") and (allowed := _allowed(inspect.type_info(type_), path)):
        said += f": it takes {', '.join(map(str, allowed))}"
    return problems.invalid(f"{said}, at {pointer}", FieldError(said, pointer))


def _in_words_of_json(detail: str) -> str:
    """What msgspec says that it expected, where it speaks of Python's types."""
    if not detail.startswith("Expected"):
        return detail
    detail = re.sub(r"\.0$", "", detail).replace("`float` that's a multiple of 1", "`int`")
    said = re.sub(r"\b(str|int|float|bool)\b", lambda found: _JSON_TYPES[found[0]], detail)
    return f"{said}: a number in quotes is one" if re.search(r"`string[^`]*`, got `(integer|number)`", said) else said


def _allowed(info: Any, path: str) -> Sequence[object]:
    """The values of the enum at a path of a type; none where there is no enum."""
    for name in re.findall(r"\.(\w+)|\[", path):
        match _bare(info):
            case inspect.StructType(fields=fields):
                info = next(each.type for each in fields if each.encode_name == name)
            case inspect.VarTupleType(item_type=item) | inspect.DictType(value_type=item):
                info = item
    bare = _bare(info)
    return bare.values if isinstance(bare, inspect.LiteralType) else ()


def _bare(info: Any) -> Any:
    return info.type if isinstance(info, inspect.Metadata) else info


def _check_media_type(said: str) -> None:
    """JSON, or nothing is said; whatever a form of another site can send without asking is something else."""
    name = said.partition(";")[0].strip().lower()
    if name and not _JSON.fullmatch(name):
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json, or a type that ends in +json",
            headers={"Accept": "application/json"},
        )


async def _content(request: Request, limit_bytes: int) -> bytes:
    content = b""
    async for chunk in request.stream():
        content = content + chunk if content else chunk
        if len(content) > limit_bytes:
            raise _too_large(limit_bytes)
    return content


def _decompressed(sent: bytes, limit_bytes: int) -> bytes:
    """What was compressed to `sent`, of which no more is made than the limit lets pass."""
    inflate = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = inflate.decompress(sent, limit_bytes + 1)
    except zlib.error as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body says that it is gzip, and is not") from error
    if len(content) > limit_bytes:
        raise _too_large(limit_bytes)
    if not inflate.eof or inflate.unused_data:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not one whole gzip stream")
    return content


def _too_large(limit_bytes: int) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit_bytes:,} bytes")
