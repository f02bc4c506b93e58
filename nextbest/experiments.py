"""Experiments: which side of each a customer is on.

Belongs here: the assignment: a salted hash of the customer, sticky once made. Does not belong here: what a side does
(`nextbest.screening`, `nextbest.decision`), or keeping assignments (State).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nextbest.hashing import uniform
from nextbest.policy import Experiments, Policy, Variant
from nextbest.records import Arm

CHAMPION = "champion"
CHALLENGERS = "champion_challenger"
"""The experiment that all challengers share: nobody has two."""
CONTROL, TREATED = "control", "treated"
IN, OUT = "in", "out"


@dataclass(frozen=True, slots=True)
class _Draw:
    """How one experiment is drawn, and which earlier assignments hold."""

    experiment: str
    sides: Mapping[str, float]
    """The stretches of [0, 1), in order."""
    kept: frozenset[str]
    """A side that was ended keeps nobody."""


@lru_cache(maxsize=64)
def _draws(experiments: Experiments) -> tuple[_Draw, ...]:
    return tuple(_each_draw(experiments))


def _each_draw(experiments: Experiments) -> Iterator[_Draw]:
    if name := experiments.control:
        sides = {CONTROL: experiments.control_share, TREATED: 1.0 - experiments.control_share}
        yield _Draw(name, sides, _going(sides))
    if experiments.challengers:
        shares = {challenger.id: challenger.share for challenger in experiments.challengers}
        sides = {**shares, CHAMPION: max(0.0, 1.0 - sum(shares.values()))}
        yield _Draw(CHALLENGERS, sides, _going(sides))
    for rollout in experiments.rollouts:
        yield _Draw(rollout.id, {IN: rollout.share, OUT: 1.0 - rollout.share}, _going({IN: rollout.share}))
    for shadow in experiments.shadows:
        yield _Draw(shadow.id, {IN: shadow.share, OUT: 1.0 - shadow.share}, frozenset())


def _going(sides: Mapping[str, float]) -> frozenset[str]:
    return frozenset(side for side, share in sides.items() if share > 0.0)


def assign(experiments: Experiments, customer_id: str, earlier: Sequence[Arm]) -> tuple[Arm, ...]:
    """The customer's arm in every experiment, with the probability it was assigned with.

    An arm assigned earlier holds while the experiment still has it. Rollouts keep those who are in, and let more in as
    the share grows; shadows, which nobody notices, are drawn anew.
    """
    known = {arm.experiment: arm for arm in earlier}
    arms = []
    for draw in _draws(experiments):
        arm = known.get(draw.experiment)
        if arm is None or arm.arm not in draw.kept:
            arm = _drawn(experiments.salt, draw, customer_id)
        arms.append(arm)
    return tuple(arms)


def position(salt: str, experiment: str, customer_id: str) -> float:
    """Where in [0, 1) a customer is in an experiment."""
    return uniform("experiment", salt, experiment, customer_id)


def _drawn(salt: str, draw: _Draw, customer_id: str) -> Arm:
    """The side whose stretch of [0, 1) the customer's hash falls into; growing the first side keeps who is in it."""
    place = position(salt, draw.experiment, customer_id)
    for side, share in draw.sides.items():
        if place < share:
            return Arm(draw.experiment, side, share)
        place -= share
    side, share = next((s, p) for s, p in reversed([*draw.sides.items()]) if p > 0.0)
    return Arm(draw.experiment, side, share)


def side_of(arms: Iterable[Arm], experiment: str) -> str | None:
    """The arm in `experiment`; none where the customer is in no such experiment."""
    return next((arm.arm for arm in arms if arm.experiment == experiment), None)


def in_control(policy: Policy, arms: Iterable[Arm]) -> bool:
    """Whether the customer is one of those for whom nothing is chosen."""
    control = policy.experiments.control
    return bool(control) and side_of(arms, control) == CONTROL


def in_force(policy: Policy, arms: Sequence[Arm], shadow: str = "") -> Policy:
    """The policy that decides for a customer with these arms: the champion, a challenger, or the shadow named.

    Raises:
        KeyError: the policy has no such shadow.

    """
    if shadow:
        return {each.id: each for each in policy.experiments.shadows}[shadow].policy
    challenger = side_of(arms, CHALLENGERS)
    return next((each.policy for each in policy.experiments.challengers if each.id == challenger), policy)


def shadows(policy: Policy, arms: Sequence[Arm]) -> list[Variant]:
    """The shadow policies that decide beside for a customer with these arms."""
    return [shadow for shadow in policy.experiments.shadows if side_of(arms, shadow.id) == IN]
