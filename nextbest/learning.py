"""Learning from the log: a projection of what became of contacts, by action, under one model set.

Belongs here: folding records into sums of contacts, and the names and keys they are kept under. Does not belong here:
what an answer is or is worth (`nextbest.rewards`), what sums say (`nextbest.evidence`), or following the log
(`nextbest.following`, `serving.learner`).

Neither the order of records nor how they are batched matters: see `nextbest.contact_book`.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from scipy.special import expit

from nextbest import records as decisions
from nextbest.contact_book import CLOCK, DELAYS, UNLEARNED, ContactBook, table_key
from nextbest.delays import Counts, Delays, Scale, delays
from nextbest.envelope import Envelope
from nextbest.erasure import ERASURE, is_erased
from nextbest.evidence import Table, statistics
from nextbest.identity import names_in
from nextbest.model_input import model_input
from nextbest.moments import to_microseconds
from nextbest.policy import Policy, Rewards
from nextbest.projection import Read, Values
from nextbest.records import DO_NOTHING, Candidate, DecisionRecord
from nextbest.residual import Statistics, numbers
from nextbest.rewards import Trial, Tried, said
from nextbest.situation import PROPENSITY, Models, known_actions

LEARNING: Final = "learning:"
"""How the names of these projections begin."""
COMPLETE: Final = "complete"
"""The key of the mark that the projection has been at the log's end."""
_FORM: Final = 2
"""Of what is kept: another where it means something else."""
_DECODED_AT_ONCE: Final = 20
"""Records, before others get their turn: a decision's is long."""


def projection_name(policy: Policy, model_set_id: str) -> str:
    """Under which it is kept: another where the policy lets something else be learned, or from something else."""
    arbitration = policy.arbitration
    rewards = arbitration.rewards
    of_rewards = rewards.worth, rewards.default, rewards.delay.total_seconds(), rewards.last_touch.total_seconds()
    features = [(each.name, each.scale) for each in arbitration.learning]
    # What decisions of other models are scored again by, and what new actions start with.
    actions = {
        each.id: (each.starting.propensity if each.starting else None, each.context) for each in policy.actions.values()
    }
    content = msgspec.json.encode([_FORM, features, of_rewards, actions, policy.signals], order="sorted")
    return f"{LEARNING}{model_set_id}:{hashlib.sha256(content).hexdigest()[:16]}"


class Learned(msgspec.Struct, frozen=True):
    """What the projection says: sums by action, delays of answers, and why nothing was learned from some."""

    tables: Mapping[str, Table]
    delays: Counts
    unlearned: Mapping[str, int]
    is_complete: bool
    now: int = 0
    """How far the log is in it: as long as there is more in the log, silence since then is not known to be one."""

    @staticmethod
    def keys(policy: Policy) -> list[str]:
        """Where it is kept."""
        return [COMPLETE, CLOCK, DELAYS, UNLEARNED, *map(table_key, policy.actions)]

    @classmethod
    def of(cls, values: Mapping[str, str], policy: Policy) -> "Learned":
        """What is kept under `keys`."""
        tables = {action: values.get(table_key(action), "{}") for action in policy.actions}
        return cls(
            tables={action: msgspec.json.decode(text, type=Table) for action, text in tables.items() if text != "{}"},
            delays=msgspec.json.decode(values.get(DELAYS, "{}"), type=dict[str, list[int]]),
            unlearned=msgspec.json.decode(values.get(UNLEARNED, "{}"), type=dict[str, int]),
            is_complete=COMPLETE in values,
            now=int(values.get(CLOCK, "0")),
        )

    def time_to_convert(self, rewards: Rewards, now: int) -> Delays:
        """What is known at `now` of how long answers take."""
        return delays(self.delays, Scale.of(rewards.delay), now)

    def statistics(self, rewards: Rewards, now: int) -> dict[str, Statistics]:
        """By action, what its contacts say at `now`."""
        known = self.time_to_convert(rewards, now)
        found = {action: statistics(table, known, now, rewards.default) for action, table in self.tables.items()}
        return {action: each for action, each in found.items() if each}


class Learning:
    """The projection under a policy and a model set."""

    rest_s = 0.1
    """Replicas are to believe what was learned within a second."""

    def __init__(self, policy: Policy, models: Models) -> None:
        self._policy = policy
        self._models = models
        self.name = projection_name(policy, models.model_set.id)

    async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
        """What becomes of the values; see `nextbest.projection`."""
        rewards = self._policy.arbitration.rewards
        book = await ContactBook.opened(read, rewards)
        for number, (_, record) in enumerate(records):
            if number % _DECODED_AT_ONCE == 0:
                await asyncio.sleep(0)
            book.turn_to(to_microseconds(record.received_at))
            if record.type == ERASURE:
                for name in names_in(record):
                    await book.erase(name)
            elif (word := self._tried(record) or said(record, rewards)) is not None:
                book.hear(word)
        return await book.closed()

    def _tried(self, record: Envelope) -> Tried | None:
        """The decision that `record` says; none where it proposed nothing, of which nothing can be said."""
        made = _decision(record)
        trials = tuple(self._trials(made)) if made else ()
        if made is None or not trials:
            return None
        is_learned = made.learning and made.mode == "live"
        return Tried(made.decision_id, made.customer_id or "", to_microseconds(made.occurred_at), is_learned, trials)

    def _trials(self, record: DecisionRecord) -> Iterator[Trial]:
        """What is tried in each slot, and what the models of this set make of it."""
        x = tuple(numbers(self._policy.arbitration.learning, record.features).tolist())
        for placement in record.placements:
            for slot in placement.slots:
                if slot.action != DO_NOTHING:
                    is_learned = record.learning and record.mode == "live"
                    candidate = decisions.score_of(record, placement.id, slot) if is_learned else None
                    p = self._predicted(record, candidate, placement.channel) if candidate else None
                    yield Trial(slot.slot, slot.action) if p is None else Trial(slot.slot, slot.action, x, p)

    def _predicted(self, record: DecisionRecord, candidate: Candidate, channel: str) -> float | None:
        """The probability of a response before any correction; none where the policy has no such action any more."""
        models, action = self._models, self._policy.actions.get(candidate.action)
        if action and action.starting and action.id not in known_actions(models):
            return action.starting.propensity
        if record.model_set_id == models.model_set.id and candidate.logit is not None:
            return float(expit(candidate.logit))
        if action is None or PROPENSITY not in models.model_set.models:
            return None
        model = models.model_set.models[PROPENSITY]
        now = record.occurred_at
        context = self._policy.context(record.context, record.snapshot.signals, now)
        row = model_input(model, [action], features=record.features, context=context, channel=channel, now=now)
        return models.score(PROPENSITY, row).item()


def _decision(record: Envelope) -> DecisionRecord | None:
    """The decision that `record` says, once: it is logged by slot, each with the whole record."""
    if record.type != "decision" or record.properties["slot"] != 0:
        return None
    made = decisions.decode(record.properties["record"])
    return None if made.mode == "shadow" or is_erased(made) else made
