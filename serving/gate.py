"""The gate: whether the one who asks may, and not too often.

Belongs here: reading the `Authorization` header and saying no (401, 403, 429). Does not belong here: what a key is
(`nextbest.keys`), where keys are kept, or how requests are counted (adapters).
"""

import base64
import math
import time
from dataclasses import dataclass
from http import HTTPStatus

from nextbest.adapters.key_file import KeyRing
from nextbest.adapters.rate_limits import RateLimits
from nextbest.keys import Key, Scope, found
from serving.problems import ProblemError

_BEARER, _BASIC = "bearer ", "basic "


@dataclass(frozen=True, slots=True)
class Gate:
    """Keys and limits of one home."""

    ring: KeyRing
    limits: RateLimits

    def admit(self, authorization: str | None, scope: Scope) -> Key:
        """Whose request it is.

        Raises:
            ProblemError: 401 without a key that is one, 403 where it is good for other things, 429 too often.

        """
        text = _after(_BEARER, authorization)
        if text is None:
            raise _unknown("an API key is needed: send `Authorization: Bearer KEY` (`nextbest keys create` makes one)")
        return self._admitted(text, scope, "Bearer")

    def admit_writer(self, authorization: str | None, scope: Scope, write_key: str | None) -> Key:
        """Whose request it is, where the key may be Segment's write key too.

        It is the user name of basic credentials, whose password is nothing, or else in the body, as `write_key`.

        Raises:
            ProblemError: as `admit`.

        """
        text = _user_name(authorization) or _after(_BEARER, authorization) or write_key
        if text is None:
            raise _unknown("the write key is an API key (`nextbest keys create` makes one): none was sent", "Basic")
        return self._admitted(text, scope, "Basic")

    def _admitted(self, text: str, scope: Scope, scheme: str) -> Key:
        key = found(text, self.ring.current())
        if key is None:
            raise _unknown("the API key is not known, or it was revoked", scheme)
        if scope not in key.scopes:
            raise ProblemError(
                HTTPStatus.FORBIDDEN, f"the API key is good for {', '.join(key.scopes)}; this takes {scope}"
            )
        if key.rate_per_s and (wait_s := self.limits.wait_s(key.slot, key.rate_per_s, time.monotonic_ns())):
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"the API key may ask {key.rate_per_s:,} times a second: wait, then ask again",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        return key


def _after(scheme: str, authorization: str | None) -> str | None:
    """What follows the name of the scheme; none where it is another one."""
    if authorization is None or authorization[: len(scheme)].lower() != scheme:
        return None
    return authorization[len(scheme) :].strip()


def _user_name(authorization: str | None) -> str | None:
    """That of basic credentials; what cannot be read names nobody."""
    credentials = _after(_BASIC, authorization)
    if credentials is None:
        return None
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except ValueError:
        return credentials


def _unknown(detail: str, scheme: str = "Bearer") -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": f'{scheme} realm="nextbest"'})
