"""Where learning stands: of each action what answers have said, and what it would take for it to be shown more.

Belongs here: the figures. Does not belong here: reading them (`nextbest.learning`), or showing them
(`nextbest.commands.learning`).
"""

import math
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.special import expit, logit

from nextbest.learning import Learned
from nextbest.policy import Action, Policy
from nextbest.records import Usage
from nextbest.residual import Posteriors, Statistics
from nextbest.rewards import WHY

_MEDIAN, _MOST = 0.5, 0.9


class ActionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an action, for the customer it has mostly been shown to.

    Attributes:
        action: its id.
        seen: contacts that were seen, and may be learned from.
        answered: those with an answer that is worth more than none.
        effective: how many contacts they amount to whose time to answer is over.
        mean_reward: per contact, allowing for answers that are still to come; none before any contact.
        model_p: what the batch model gives, or the policy starts with; none where nobody has asked a model.
        correction_mean: of the log odds.
        correction_sd: how unsure it is.
        p: what becomes of `model_p`.
        priority: what that is worth; none where the policy has a formula or an amount that depends on the customer.
        reach: the share of customers who can get it.
        seen_to_full_reach: how many more contacts until all can; none where they can.
        p_to_lead: the propensity at which it is worth as much as the best; none for the best, and where none would do.
        next_step: what it would take to be shown more.

    """

    action: str
    seen: int
    answered: int
    effective: float
    mean_reward: float | None
    model_p: float | None
    correction_mean: float
    correction_sd: float
    p: float | None
    priority: float | None
    reach: float
    seen_to_full_reach: int | None
    p_to_lead: float | None
    next_step: str


class TimeToConvert(msgspec.Struct, frozen=True):
    """How long what answers add takes to come, in seconds; none before any."""

    answers: int
    """Contacts with an answer that is worth more than none."""
    median_s: float | None
    p90_s: float | None


class LearningStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Of a policy and a model set."""

    policy_hash: str
    model_set_id: str
    is_complete: bool
    """Whether the log is folded to its end; until then nothing of it is used."""
    records_behind: int
    actions: tuple[ActionStatus, ...]
    time_to_convert: TimeToConvert
    not_learned_from: dict[str, int]
    """Answers by the reason (`nextbest.rewards.WHY`)."""


class _Worth(NamedTuple):
    gain: float
    cost: float


def learning_status(
    learned: Learned,
    policy: Policy,
    *,
    model_set_id: str,
    known: Collection[str],
    usage: Mapping[str, Usage],
    behind: int,
    now: int,
) -> LearningStatus:
    """Where learning stands at `now`.

    Args:
        learned: What is kept.
        policy: In force.
        model_set_id: In use.
        known: The actions that its propensity model knows.
        usage: By action, how often a new one was seen, whatever is learned from it.
        behind: How many records of the log are not folded yet.
        now: In microseconds.

    """
    rewards, arbitration = policy.arbitration.rewards, policy.arbitration
    now = learned.now if behind > 0 else now
    told = learned.statistics(rewards, now)
    posteriors = Posteriors(policy.roll, known, arbitration.prior_sd, len(arbitration.learning) + 1, told)
    believed = {action.id: _believed(action, told.get(action.id), posteriors, known) for action in policy.roll}
    worths = {action.id: _worth(action, policy) for action in policy.roll}
    priorities = {
        name: worth.gain * p - worth.cost
        for name, worth in worths.items()
        if worth and (p := believed[name][2]) is not None
    }
    actions = []
    for action in policy.roll:
        statistics, (model_p, (mean, sd), p) = told.get(action.id), believed[action.id]
        others = [arbitration.do_nothing_threshold, *(v for name, v in priorities.items() if name != action.id)]
        reach, missing = _reach(action, policy, known, usage)
        wanted = _wanted(worths[action.id], priorities.get(action.id), max(others))
        actions.append(
            ActionStatus(
                action=action.id,
                seen=statistics.seen if statistics else 0,
                answered=statistics.answered if statistics else 0,
                effective=statistics.effective if statistics else 0.0,
                mean_reward=min(max(statistics.mean_reward, -1.0), 1.0) if statistics else None,
                model_p=model_p,
                correction_mean=mean,
                correction_sd=sd,
                p=p,
                priority=priorities.get(action.id),
                reach=reach,
                seen_to_full_reach=missing,
                p_to_lead=wanted if wanted is not None and wanted <= 1.0 else None,
                next_step=_next_step(missing, wanted, p, priorities.get(action.id)),
            )
        )
    return LearningStatus(
        policy_hash=policy.hash,
        model_set_id=model_set_id,
        is_complete=learned.is_complete,
        records_behind=behind,
        actions=tuple(actions),
        time_to_convert=_time_to_convert(learned, policy, now, sum(each.answered for each in told.values())),
        not_learned_from={why: learned.unlearned[why] for why in WHY if why in learned.unlearned},
    )


def _believed(
    action: Action, statistics: Statistics | None, posteriors: Posteriors, known: Collection[str]
) -> tuple[float | None, tuple[float, float], float | None]:
    """Of the customer it has mostly been shown to: what the model gives, the correction and its sd, and both."""
    x = statistics.x / statistics.effective if statistics else np.eye(posteriors.size)[0]
    mean, variance = (each.item() for each in posteriors.of([action], x))
    if statistics:
        p = statistics.expected[0].item() / statistics.effective
    elif action.starting and action.id not in known:
        p = action.starting.propensity
    else:
        return None, (mean, math.sqrt(variance)), None
    return p, (mean, math.sqrt(variance)), float(expit(logit(p) + mean))


def _worth(action: Action, policy: Policy) -> _Worth | None:
    """What a response is worth and a contact costs, where it costs least; none where that depends on the customer."""
    formula = policy.arbitration
    costs = [p.channel_cost for p in policy.placements.values() if action.id in {t.action.id for t in p.treatments}]
    if (
        formula.formula
        or not formula.use_propensity
        or formula.use_uplift
        or not isinstance(action.value, float)
        or not isinstance(action.cost, float)
    ):
        return None
    gain = (action.value if formula.use_value else 1.0) * (action.lever / 100.0 if formula.use_lever else 1.0)
    return _Worth(gain, action.cost + min(costs, default=0.0) if formula.use_cost else 0.0)


def _reach(
    action: Action, policy: Policy, known: Collection[str], usage: Mapping[str, Usage]
) -> tuple[float, int | None]:
    """The share of customers who can get it, and how many more must see it until all can."""
    ramp = policy.arbitration.ramp
    if ramp is None or action.starting is None or action.action_class != "standard" or action.id in known:
        return 1.0, None
    seen = usage.get(action.id, Usage()).seen
    share = ramp.share(seen)
    return share, math.ceil(ramp.impressions - seen) if share < 1.0 else None


def _wanted(worth: _Worth | None, priority: float | None, best: float) -> float | None:
    """The propensity at which it would be worth as much as the best of the others."""
    if worth is None or worth.gain <= 0.0 or (priority is not None and priority >= best):
        return None
    return (best + worth.cost) / worth.gain


def _next_step(missing: int | None, wanted: float | None, p: float | None, priority: float | None) -> str:
    said = [f"{missing} more seen until all can get it"] if missing else []
    if wanted is not None and wanted > 1.0:
        said.append("would not lead if everybody responded")
    elif wanted is not None:
        said.append(f"leads from {wanted:.2%}" + ("" if p is None else f", has {p:.2%}"))
    elif priority is not None:
        said.append("leads")
    return "; ".join(said)


def _time_to_convert(learned: Learned, policy: Policy, now: int, answers: int) -> TimeToConvert:
    if not answers:
        return TimeToConvert(0, None, None)
    known = learned.time_to_convert(policy.arbitration.rewards, now)
    median, most = (known.quantile(share) / timedelta(seconds=1) for share in (_MEDIAN, _MOST))
    return TimeToConvert(answers, median, most)
