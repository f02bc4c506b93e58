"""The policy in use: the one State names, from the archive.

Belongs here: loading a policy with what is believed under it. Does not belong here: when (`serving.followed`), which
policy is to be used (`nextbest serve` and `nextbest policy publish` say it), or the files people edit: a replica never
reads those, so that nothing half-edited goes live, whenever it is started.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from nextbest.adapters.policy_archive import load, newest_first
from nextbest.policy import Policy
from nextbest.residual import Beliefs
from nextbest.state import State
from serving.followed import Followed


class InForce(NamedTuple):
    """A policy, and what is believed of its actions before any answer."""

    policy: Policy
    beliefs: Beliefs

    @classmethod
    def of(cls, policy: Policy) -> "InForce":
        return cls(policy, Beliefs(policy))


class Policies(Followed[InForce]):
    """The current policy; a decision that has begun keeps the one it began with."""

    def __init__(self, archive: Path, state: State) -> None:
        super().__init__(
            "policy", state.current_policy, lambda name: InForce.of(load(archive, name)), partial(newest_first, archive)
        )
