"""What answers have taught, as State keeps it for the policy and the model set in use.

Belongs here: reading it together with what it belongs to. Does not belong here: what it comes to
(`nextbest.learning`, `nextbest.learning_status`).
"""

from dataclasses import dataclass
from datetime import datetime

from nextbest.adapters.bundles import read_bundle
from nextbest.adapters.logs import OpenLog
from nextbest.adapters.policy_archive import load
from nextbest.adapters.states import OpenState
from nextbest.learning import Learned, projection_name
from nextbest.model_set import ModelSet
from nextbest.policy import Policy
from nextbest.records import Usage
from nextbest.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """The policy and the model set that decide, and what is learned for them.

    `usage` has how often each new action was seen; `behind` is how many records of the log are not folded yet.
    """

    policy: Policy
    model_set: ModelSet
    learned: Learned
    usage: dict[str, Usage]
    behind: int


async def in_use(settings: Settings, state: OpenState, log: OpenLog, now: datetime) -> InUse | None:
    """What is in use and learned; None as long as no policy or no model set decides.

    Raises:
        StateUnavailableError, LogUnavailableError, BundleError: State, log, or the model set cannot be read.

    """
    policy_hash, model_set_id = await state.current_policy(), await state.current_model_set()
    if policy_hash is None or model_set_id is None:
        return None
    policy = load(settings.policies_archive, policy_hash)
    model_set, _ = read_bundle(settings.bundles, model_set_id)
    kept = await state.projected(projection_name(policy, model_set_id), await log.log_id(), Learned.keys(policy))
    counters = (await state.snapshot(None, policy.scope(now))).usage
    starts = {each.id: each.starting.reach.counter(now) for each in policy.startings if each.starting}
    return InUse(
        policy=policy,
        model_set=model_set,
        learned=Learned.of(kept.values, policy),
        usage={action: counters.get(counter, Usage()) for action, counter in starts.items()},
        behind=await log.last_offset() - kept.offset,
    )
