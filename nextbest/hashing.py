"""Randomness that can be repeated: uniform numbers that are a hash of what they are for.

Belongs here: turning named keys into numbers. Does not belong here: what the numbers decide (`nextbest.arbitration`).
"""

import hashlib

import msgspec
import numpy as np
from numpy.typing import NDArray

_BYTES = 8


def uniform(*key: str | int) -> float:
    """The first of `uniforms`, by itself in a third of the time."""
    word = int.from_bytes(hashlib.shake_128(msgspec.json.encode(key)).digest(_BYTES), "little")
    return float(((word >> 11) + 0.5) * 2.0**-53)


def uniforms(count: int, *key: str | int) -> NDArray[np.float64]:
    """`count` numbers in the open interval (0, 1) that depend on every part of `key`, and on nothing else.

    The first part names the purpose: two purposes that share the rest of the key must not share their draws. Parts are
    encoded as a JSON list, so that no two keys run together. The 53 high bits of each SHAKE-128 word become a float.
    """
    words = hashlib.shake_128(msgspec.json.encode(key)).digest(count * _BYTES)
    bits = np.frombuffer(words, dtype="<u8") >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53
