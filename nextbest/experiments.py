"""Experiments: which side of each a customer is on.

Belongs here: the assignment: a salted hash of the customer, sticky once made. Does not belong here: what a side does
(`nextbest.screening`, `nextbest.decision`), or keeping assignments (State).
"""

from collections.abc import Iterable, Sequence

from nextbest.hashing import uniform
from nextbest.policy import Experiments, Policy, Variant
from nextbest.records import Arm

CHAMPION = "champion"
CHALLENGERS = "champion_challenger"
"""The experiment that all challengers share: nobody has two."""
CONTROL, TREATED = "control", "treated"
IN, OUT = "in", "out"


def assign(experiments: Experiments, customer_id: str, earlier: Sequence[Arm]) -> tuple[Arm, ...]:
    """The customer's arm in every experiment, with the probability it was assigned with.

    An arm assigned earlier holds while the experiment still has it. Rollouts keep those who are in, and let more in as
    the share grows; shadows, which nobody notices, are drawn anew.
    """
    return tuple(_arms(experiments, customer_id, {arm.experiment: arm for arm in earlier}))


def _arms(experiments: Experiments, customer_id: str, earlier: dict[str, Arm]) -> Iterable[Arm]:
    salt = experiments.salt
    if name := experiments.control:
        sides = {CONTROL: experiments.control_share, TREATED: 1.0 - experiments.control_share}
        yield _sticky(earlier.get(name), sides) or _drawn(salt, name, customer_id, sides)
    if experiments.challengers:
        shares = {challenger.id: challenger.share for challenger in experiments.challengers}
        sides = {**shares, CHAMPION: max(0.0, 1.0 - sum(shares.values()))}
        yield _sticky(earlier.get(CHALLENGERS), sides) or _drawn(salt, CHALLENGERS, customer_id, sides)
    for rollout in experiments.rollouts:
        sides = {IN: rollout.share, OUT: 1.0 - rollout.share}
        was_in = _sticky(earlier.get(rollout.id), {IN: rollout.share})
        yield was_in or _drawn(salt, rollout.id, customer_id, sides)
    for shadow in experiments.shadows:
        yield _drawn(salt, shadow.id, customer_id, {IN: shadow.share, OUT: 1.0 - shadow.share})


def _sticky(earlier: Arm | None, sides: dict[str, float]) -> Arm | None:
    """The earlier arm, unless its share is now nothing: a side that was ended keeps nobody."""
    return earlier if earlier and sides.get(earlier.arm, 0.0) > 0.0 else None


def position(salt: str, experiment: str, customer_id: str) -> float:
    """Where in [0, 1) a customer is in an experiment."""
    return uniform("experiment", salt, experiment, customer_id)


def _drawn(salt: str, experiment: str, customer_id: str, sides: dict[str, float]) -> Arm:
    """The side whose stretch of [0, 1) the customer's hash falls into; growing the first side keeps who is in it."""
    place = position(salt, experiment, customer_id)
    for side, share in sides.items():
        if place < share:
            return Arm(experiment, side, share)
        place -= share
    side, share = next((s, p) for s, p in reversed(sides.items()) if p > 0.0)
    return Arm(experiment, side, share)


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
