"""The features of a customer of several names: the warehouse's of an id that it knows, live ones of them all."""

import asyncio
from dataclasses import dataclass, field

import pytest

from nextbest.live import LIVE_STATE
from nextbest.messages import Profile
from serving.pace import Deadline
from serving.profiles import completed, profile_of

UNKNOWN = Profile(unavailable="unknown_customer")
LIVE_ONLY = Profile(features={"spend": None, LIVE_STATE: "all"}, is_live_only=True)
KNOWN = Profile(features={"spend": 3.0, LIVE_STATE: None})
VISITOR = "anonymous_id:" + "b" * 64


@dataclass
class Stored:
    """Features in memory, and under which names they were asked for."""

    profiles: dict[str, Profile]
    delay_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    async def profile(self, customer_id: str) -> Profile:
        self.asked.append(customer_id)
        await asyncio.sleep(self.delay_s)
        return self.profiles.get(customer_id, UNKNOWN)

    async def missing(self) -> str:
        return ""

    async def forget(self, customer_id: str) -> int:
        return len(self.profiles.pop(customer_id).features)


@pytest.mark.parametrize(
    ("own", "live"), [(UNKNOWN, None), (LIVE_ONLY, "all")], ids=["of nothing", "of what was seen since the batch"]
)
def test_the_warehouse_may_know_a_customer_by_another_id(own: Profile, live: str | None) -> None:
    """Of several the first in the customer's order; and what was seen live under all of them stays."""
    stored = Stored({"c3": KNOWN, "c4": Profile(features={"spend": 9.0})})
    found = asyncio.run(completed(own, ["c2", "c3", "c4", VISITOR], {"c2": UNKNOWN}, stored, Deadline(1_000)))
    assert found == Profile(features={"spend": 3.0, LIVE_STATE: live})
    assert stored.asked == ["c3", "c4"]


@pytest.mark.parametrize("own", [KNOWN, Profile(unavailable="features_unavailable")], ids=["known", "down"])
def test_others_are_not_asked_for_what_they_cannot_add(own: Profile) -> None:
    """A second reading costs time: only a customer whom the store does not know is worth it."""
    stored = Stored({"c2": KNOWN})
    assert asyncio.run(completed(own, ["c2"], {}, stored, Deadline(1_000))) is own
    assert stored.asked == []


def test_where_nobody_is_known_nothing_changes() -> None:
    """A visitor is looked up once."""
    assert asyncio.run(completed(LIVE_ONLY, ["c2"], {}, Stored({}), Deadline(1_000))) is LIVE_ONLY
    assert asyncio.run(completed(UNKNOWN, [VISITOR], {}, Stored({VISITOR: KNOWN}), Deadline(1_000))) is UNKNOWN


def test_features_take_half_of_the_time_at_most() -> None:
    """The rest is for deciding without them."""
    stored = Stored({"c1": KNOWN}, delay_s=10)
    assert asyncio.run(profile_of("c1", stored, Deadline(20))).unavailable == "features_slow"
    assert asyncio.run(profile_of(None, stored, Deadline(20))) == UNKNOWN
