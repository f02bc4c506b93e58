"""The gate: whether the one who asks may, and not too often.

Belongs here: reading the `Authorization` header and saying no (401, 403, 429). Does not belong here: what a key is
(`nextbest.keys`), where keys are kept, or how requests are counted (adapters).
"""

import math
import time
from dataclasses import dataclass
from http import HTTPStatus

from nextbest.adapters.key_file import KeyRing
from nextbest.adapters.rate_limits import RateLimits
from nextbest.keys import Key, Scope, found
from serving.problems import ProblemError

_BEARER = "bearer "


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
        if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
            raise _unknown("an API key is needed: send `Authorization: Bearer KEY` (`nextbest keys create` makes one)")
        key = found(authorization[len(_BEARER) :].strip(), self.ring.current())
        if key is None:
            raise _unknown("the API key is not known, or it was revoked")
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


def _unknown(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="nextbest"'})
