"""The features of a customer who may go by several names.

Belongs here: under which names they are read, and what holds where several have some. Does not belong here: how they
are read (`serving.online_features`), or whose names they are (State).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from nextbest.identity import is_identifier
from nextbest.live import LIVE_STATE
from nextbest.messages import Profile
from serving.pace import Deadline

_UNKNOWN = "unknown_customer"


class FeatureReader(Protocol):
    """Where a customer's features are read."""

    async def profile(self, customer_id: str) -> Profile:
        """The customer's features, or why there are none; never raises."""
        ...

    async def missing(self) -> str:
        """Why features cannot be read; empty when they can."""
        ...

    async def forget(self, customer_id: str) -> int:
        """Remove what the store holds of the customer; returns how many features that were."""
        ...


async def profile_of(name: str | None, features: FeatureReader, deadline: Deadline) -> Profile:
    """The features under a name; they may take half of what is left, so that there is time for doing without."""
    if name is None:
        return Profile(unavailable=_UNKNOWN)
    try:
        async with asyncio.timeout(deadline.left_s() / 2.0):
            return await features.profile(name)
    except TimeoutError:
        return Profile(unavailable="features_slow")


async def completed(
    own: Profile, others: Sequence[str], read: Mapping[str | None, Profile], features: FeatureReader, deadline: Deadline
) -> Profile:
    """The features under the customer's own name, `own`, with the warehouse's of another one where it has none.

    What was `read` already, by name, is not read again.

    The warehouse knows a customer by the ids that it was given, of which the first is not always the one that names the
    customer; of several that it knows the first holds. Live features are those of all names.
    """
    ids = [name for name in others if not is_identifier(name)]
    if not ids or not (own.is_live_only or own.unavailable == _UNKNOWN):
        return own
    news = [each for each in ids if each not in read]
    found = await asyncio.gather(*(profile_of(each, features, deadline) for each in news))
    profiles: dict[str | None, Profile] = {**read, **dict(zip(news, found, strict=True))}
    batches = (profiles[each] for each in ids if not profiles[each].is_live_only and not profiles[each].unavailable)
    known = next(batches, None)
    if known is None:
        return own
    live = own.features.get(LIVE_STATE)
    return msgspec.structs.replace(known, features={**known.features, LIVE_STATE: live})
