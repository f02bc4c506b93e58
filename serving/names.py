"""The name of a customer where one word must do: an id, or `kind:hmac` of an identifier.

Belongs here: telling one from the other. Does not belong here: whose an identifier is (State).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from nextbest.contracts import Contract
from nextbest.wire import CustomerReference, Hmac

CustomerNames = Callable[[str], CustomerReference]
"""What a name means.

Raises:
    msgspec.ValidationError: it is too long, or one half of an identifier is none; the message says what a name may be,
        and nothing of this one.

"""


def customer_names(identities: Contract) -> CustomerNames:
    """By the contract of identities, whose kinds are no beginnings of ids; an id may have colons otherwise."""
    return partial(_reference, identifier_kinds(identities))


def identifier_kinds(identities: Contract) -> tuple[str, ...]:
    """The kinds of identifiers that the contract names."""
    return identities.field("kind").enum or ()


def _reference(kinds: Sequence[str], name: str) -> CustomerReference:
    kind, _, digest = name.rpartition(":")
    said = {"kind": kind, "hmac": digest} if kind in kinds else {"customer_id": name}
    with suppress(msgspec.ValidationError):
        if kind in kinds or not kind or not _is_hmac(digest):
            return msgspec.convert(said, CustomerReference)
    raise msgspec.ValidationError(
        "a customer is an id of 1 to 200 characters, or kind:hmac of an identifier: "
        f"one of {', '.join(kinds)}, and 64 lower-case hexadecimal digits"
    )


def _is_hmac(digest: str) -> bool:
    try:
        msgspec.convert(digest, Hmac)
    except msgspec.ValidationError:
        return False
    return True
