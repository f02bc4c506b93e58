"""The name of a customer where one word must do: an id, or `kind:hmac` of an identifier.

Belongs here: telling one from the other. Does not belong here: whose an identifier is (State).
"""

from collections.abc import Callable
from functools import partial

import msgspec

from nextbest.contracts import Contract
from nextbest.wire import CustomerReference, Hmac

CustomerNames = Callable[[str], CustomerReference]
"""What a name means.

Raises:
    msgspec.ValidationError: it is too long, or a kind of identifier with something else than a keyed hash.

"""


def customer_names(identities: Contract) -> CustomerNames:
    """By the contract of identities, whose kinds are no beginnings of ids; an id may have colons otherwise."""
    return partial(_reference, identifier_kinds(identities))


def identifier_kinds(identities: Contract) -> frozenset[str]:
    """The kinds of identifiers that the contract names."""
    return frozenset(next(field.enum or () for field in identities.fields if field.name == "kind"))


def _reference(kinds: frozenset[str], name: str) -> CustomerReference:
    kind, _, digest = name.rpartition(":")
    is_identifier = kind in kinds or (kind and _is_hmac(digest))
    said = {"kind": kind, "hmac": digest} if is_identifier else {"customer_id": name}
    return msgspec.convert(said, CustomerReference)


def _is_hmac(digest: str) -> bool:
    try:
        msgspec.convert(digest, Hmac)
    except msgspec.ValidationError:
        return False
    return True
