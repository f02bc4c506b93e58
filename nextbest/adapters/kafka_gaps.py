"""Offsets that are missing between two messages of a partition: not there yet, or never to come.

Belongs here: which of the two it is. Does not belong here: reading again (`nextbest.adapters.kafka_mirror`).

Kafka shows a message only once all before it are there, and leaves gaps where it compacts. Others of its protocol show
a message while one before it, which another producer sent at the same time, is still on its way: whoever reads on then
never reads that one. It comes within moments.
"""

from collections.abc import Sequence
from typing import NamedTuple

_SETTLED_S = 1.0


class _Gap(NamedTuple):
    offset: int
    """The first that is missing."""
    end: int
    """Of the partition, when the gap was first seen."""
    seen_s: float


class Gaps:
    """What is known of the gaps of a topic; times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._open: dict[int, _Gap] = {}
        self._settled: dict[int, int] = {}
        """By partition, what lies before it is as it will be."""

    def sure(self, partition: int, expected: int, offsets: Sequence[int], ends: int, now_s: float) -> int:
        """How many of the messages at `offsets` can be taken in: those before the first gap that may yet be filled.

        Args:
            partition: Of the topic.
            expected: The offset that follows what was taken in before.
            offsets: Of what was read, ascending.
            ends: Where the partition ends, as far as is known.
            now_s: The time.

        """
        for count, offset in enumerate(offsets):
            if offset > expected and offset > self._settled.get(partition, 0):
                gap = self._open.get(partition)
                if gap is None or gap.offset != expected:
                    gap = self._open[partition] = _Gap(expected, max(ends, offsets[-1] + 1), now_s)
                if now_s - gap.seen_s < _SETTLED_S:
                    return count
                self._settled[partition] = gap.end
            expected = offset + 1
        return len(offsets)
