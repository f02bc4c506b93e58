"""Slates: every slot is drawn against the best that is left for it.

Belongs here: the draw of a slot whose placement has lost actions to slots before it. Does not belong here: the first
draw (`nextbest.contest`), or caps and limits, which State tests (`nextbest.reservations`).

Without it, the order of the first draw would go on to the next slot: once a clear winner is taken, what was left of the
probability, thin and nearly even, would decide, and most of a second slot would be exploration.
"""

from collections.abc import Collection, Sequence

import numpy as np

from nextbest.arbitration import draw_order, explored
from nextbest.hashing import uniforms
from nextbest.messages import PlacementProposal
from nextbest.records import DO_NOTHING


def slot_draw(placement: PlacementProposal, taken: Collection[str], slot: int) -> tuple[Sequence[int], Sequence[float]]:
    """The order in which options may fill a slot, and each one's probability were all available.

    Args:
        placement: What is proposed for it.
        taken: Actions that slots before this one have taken.
        slot: Its number within the placement.

    Returns:
        Positions in `placement.order`, those of `taken` left out where it is drawn anew; and masses along it.

    """
    again, everything = placement.again, range(len(placement.order))
    if again is None or not any(option.action in taken for option in placement.order):
        return everything, placement.pmf
    left = [i for i in everything if i >= placement.ahead and placement.order[i].action not in taken]
    left.sort(key=lambda i: placement.order[i].key != DO_NOTHING)  # which comes first, so that it wins ties
    priorities = np.array([again.priorities[i] for i in left])
    pmf = explored(priorities, again.exploration)
    draws = uniforms(len(placement.order), *again.key, slot)[left]
    ahead = [i for i in range(placement.ahead) if placement.order[i].action not in taken]
    masses = dict(zip(left, pmf.tolist(), strict=True))
    order = [left[i] for i in draw_order(pmf, priorities, draws).tolist()]
    return [*ahead, *order], [masses.get(i, 0.0) for i in everything]
