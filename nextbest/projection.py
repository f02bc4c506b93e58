"""Projections: what the log comes to under keys, folded record by record and kept by State with the offset.

Belongs here: what a projection is, and what its store promises. Does not belong here: what is folded, bringing it along
the log (`nextbest.following`), or storage (`nextbest.adapters`).

Values and offset are written in one step, and only where the offset is still the one they were read at: so each record
counts once, whoever else does the same work, and what fails halfway is done again from where it was.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from nextbest.envelope import Envelope
from nextbest.errors import NextbestError

Values = Mapping[str, str | None]
"""What is to be kept by key, as text; none where it is to be dropped."""
Read = Callable[[Sequence[str]], Awaitable[dict[str, str]]]
"""Reads what is kept under some keys; a key under which nothing is kept is absent."""


class ProjectionWaitsError(NextbestError):
    """What a projection is written to as well is not there yet, or not now: it is folded later, from where it is.

    The message says what is missing; it is empty where nobody need do anything.
    """


class Projected(msgspec.Struct, frozen=True):
    """What is kept of a projection.

    Attributes:
        offset: of the log up to which everything is in it.
        values: those that were asked for and are there.

    """

    offset: int
    values: dict[str, str]


class ProjectionStore(Protocol):
    """Part of State. A projection is of one log: of another there is nothing yet."""

    async def projected(self, name: str, log_id: str, keys: Sequence[str]) -> Projected:
        """The offset, and the values under `keys`; of one that there is not yet, 0 and nothing."""
        ...

    async def project(self, name: str, log_id: str, values: Values, *, after: int, offset: int) -> bool:
        """Write values and the new offset in one step where the offset is still `after`; else nothing, and false."""
        ...

    async def projections(self, log_id: str) -> dict[str, int]:
        """By name the offset of each projection that there is; 0 of one of another log."""
        ...

    async def discard(self, name: str) -> None:
        """Forget a projection as a whole."""
        ...


class Projection(Protocol):
    """Something folded from the log."""

    @property
    def name(self) -> str:
        """Under which it is kept: another way to fold has another name."""
        ...

    @property
    def rest_s(self) -> float:
        """How long it may rest once it was folded: what comes meanwhile is folded at once, which costs less."""
        ...

    async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
        """What becomes of the values that `records` change.

        It may write elsewhere what follows from them, before it returns: in case of doubt it is asked again.

        Raises:
            ProjectionWaitsError: it cannot be written there now; nothing was folded.

        """
        ...
