"""The name of a customer where one word must do: an id, or `kind:hmac` of an identifier.

Belongs here: telling one from the other, so that every customer there is can be named. Does not belong here: whose an
identifier is (State).
"""

import re
from contextlib import suppress

import msgspec

from nextbest.contracts import Contract
from nextbest.wire import CustomerReference


class CustomerNames:
    """By the contract of identities: what begins with one of its kinds is no id, nor is what ends with a keyed hash.

    Nor is `.` or `..`, of which every client makes another path. Other ids may have colons. An e-mail address where its
    keyed hash belongs must not become an id, which is kept.
    """

    def __init__(self, identities: Contract) -> None:
        self.kinds = identities.field("kind").enum or ()
        any_kind = f"({'|'.join(map(re.escape, self.kinds))})"
        self.no_id = rf"^{any_kind}:|^[\s\S]+:[0-9a-f]{{64}}$|^\.{{1,2}}$"
        """The pattern of what is no id."""
        self._no_id = re.compile(self.no_id)
        self.identifier = rf"^{any_kind}:[0-9a-f]{{64}}$"
        self.no_name = rf"^(?!{any_kind}:[0-9a-f]{{64}}$)({any_kind}:|[\s\S]+:[0-9a-f]{{64}}$)|^\.{{1,2}}$"
        """The pattern of what is neither an id nor an identifier."""
        self._no_name = re.compile(self.no_name)

    def is_id(self, name: str) -> bool:
        return self._no_id.search(name) is None

    def is_name(self, name: str) -> bool:
        """Whether rows may be about a customer of this name: an id, or an identifier's."""
        return self._no_name.search(name) is None

    def meant_by(self, name: str) -> CustomerReference:
        """What a name means.

        Raises:
            msgspec.ValidationError: it is too long, or one half of an identifier is none; the message says what a name
                may be, and nothing of this one.

        """
        if re.fullmatch(self.identifier, name):
            kind, _, digest = name.partition(":")
            return CustomerReference(kind=kind, hmac=digest)
        if self.is_id(name):
            with suppress(msgspec.ValidationError):
                return msgspec.convert({"customer_id": name}, CustomerReference)
        raise msgspec.ValidationError(
            "a customer is an id of 1 to 200 characters, or kind:hmac of an identifier: "
            f"one of {', '.join(self.kinds)}, and 64 lower-case hexadecimal digits"
        )
