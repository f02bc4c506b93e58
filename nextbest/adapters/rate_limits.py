"""Rate limits that the replicas of a machine share: a number per key in a file that all of them map into memory.

Belongs here: the counting (the generic cell rate algorithm: ITU-T I.371, annex A, as virtual scheduling). Does not
belong here: who is limited to what (`nextbest.keys`), or what is said to them (serving).
"""

import mmap
import struct
from pathlib import Path

_MOMENT = struct.Struct("<q")
_SECOND_NS = 1_000_000_000


class RateLimits:
    """By slot, the moment up to which its requests are paid for, in nanoseconds of the machine's clock.

    Two replicas that count at the same instant may let one request more pass; no lock is worth that.
    """

    def __init__(self, path: Path, slots: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.truncate(slots * _MOMENT.size)  # zeroes, where it is new
            self._paid_until = mmap.mmap(file.fileno(), slots * _MOMENT.size)

    def wait_s(self, slot: int, rate_per_s: int, now_ns: int) -> float:
        """Count one more request; 0 if it may pass, else the seconds until one may, and it is not counted.

        A second's worth of requests may come at once.

        Args:
            slot: Whose request it is.
            rate_per_s: How many may pass in a second.
            now_ns: A clock that no replica sets back, `time.monotonic_ns()`.

        """
        position = slot * _MOMENT.size
        paid_until: int = _MOMENT.unpack_from(self._paid_until, position)[0]
        ahead = paid_until - now_ns
        cost = _SECOND_NS // rate_per_s
        if ahead <= 0 or ahead > _SECOND_NS + cost:  # the second: a clock from before the machine was started anew
            ahead = 0
        if ahead + cost > _SECOND_NS and ahead > 0:
            return (ahead + cost - _SECOND_NS) / _SECOND_NS
        _MOMENT.pack_into(self._paid_until, position, now_ns + ahead + cost)
        return 0.0

    def close(self) -> None:
        self._paid_until.close()
