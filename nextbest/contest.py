"""One placement's contest: from what passed screening to the order in which candidates may fill its slots.

Belongs here: each candidate's numbers, the probabilities among those that take part, and the draw. Does not belong
here: screening and scoring, which placements share (`nextbest.decision`), or the formulas of exploration
(`nextbest.arbitration`, `nextbest.thompson`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from nextbest.arbitration import Vector, draw_order, epsilon_greedy, greedy, inverse_gap, with_floor
from nextbest.hashing import uniforms
from nextbest.messages import Option, PlacementProposal
from nextbest.policy import Placement, Treatment
from nextbest.policy_compiler import millionths
from nextbest.records import DO_NOTHING, Candidate
from nextbest.scoring import Scores, gains, priorities
from nextbest.screening import Verdict
from nextbest.situation import Situation
from nextbest.thompson import best_probabilities

_NO_PRIORITY = "failed: the formula of priority comes to no number"


@dataclass(frozen=True, slots=True)
class Contest:
    """Every candidate of a placement, and the proposal that those which take part come to."""

    candidates: list[Candidate]
    proposal: PlacementProposal


def contest(placement: Placement, verdicts: Sequence[Verdict], scores: Scores, situation: Situation) -> Contest:
    """Let everything that passed compete with doing nothing.

    Args:
        placement: What is to be filled.
        verdicts: By treatment of the placement, what stopped it.
        scores: Of the actions that passed.
        situation: Who is asked for, and the policy in force.

    """
    verdicts = list(verdicts)
    for number, treatment in enumerate(placement.treatments) if scores.failed else ():
        if verdicts[number] is None and treatment.action.id in scores.failed:
            verdicts[number] = "score", scores.failed[treatment.action.id]
    numbers = _passed(verdicts)
    priority = priorities(_rows(placement, numbers), scores, situation, placement.channel_cost)
    if np.isnan(priority).any():
        for number, worth in zip(numbers, priority, strict=True):
            if np.isnan(worth):
                verdicts[number] = "score", _NO_PRIORITY
        numbers, priority = _passed(verdicts), priority[~np.isnan(priority)]
    field = _Field(placement, situation, numbers, priority, scores)
    return Contest([_nothing(placement, situation), *field.candidates(verdicts)], field.proposal())


def no_contest(placement: Placement, situation: Situation) -> Contest:
    """Nothing is considered: the placement shows its fallback."""
    field = _Field(placement, situation, [], np.empty(0), None)
    return Contest([_nothing(placement, situation)], field.proposal())


def _passed(verdicts: Sequence[Verdict]) -> list[int]:
    return [number for number, verdict in enumerate(verdicts) if verdict is None]


def _rows(placement: Placement, numbers: Sequence[int]) -> list[int]:
    """Where the actions of the placement's treatments are among the policy's."""
    return [placement.treatments[number].action.number for number in numbers]


def _nothing(placement: Placement, situation: Situation) -> Candidate:
    """Doing nothing: the placement shows its fallback."""
    threshold = situation.policy.arbitration.do_nothing_threshold
    return Candidate(placement.id, DO_NOTHING, placement.fallback, "arbitration", priority=threshold)


@dataclass(frozen=True, slots=True)
class _Field:
    """Those that take part, in the order of the policy: their numbers among the placement's treatments."""

    placement: Placement
    situation: Situation
    numbers: Sequence[int]
    priority: Vector
    """Of each, shape (len(numbers),)."""
    scores: Scores | None

    def candidates(self, verdicts: Sequence[Verdict]) -> Iterator[Candidate]:
        """A candidate per treatment, with the numbers of those that take part."""
        place, taking_part = self.placement.id, self._columns()
        for treatment, verdict in zip(self.placement.treatments, verdicts, strict=True):
            action = treatment.action.id
            if verdict is None:
                yield Candidate(place, action, treatment.id, "arbitration", "", *next(taking_part))
            else:
                yield Candidate(place, action, treatment.id, *verdict)

    def _columns(self) -> Iterator[tuple[float | None, ...]]:
        """By candidate: log odds, mean and variance of the residual, p, value, lever, cost, priority."""
        scores, rows = self.scores, _rows(self.placement, self.numbers)
        if scores is None or not rows:
            return iter(())
        blank = [None] * len(rows)
        return zip(
            _listed(scores.logit[rows]),
            blank if scores.residual_mean is None else _listed(scores.residual_mean[rows]),
            blank if scores.residual_var is None else _listed(scores.residual_var[rows]),
            _listed(scores.p[rows]),
            scores.value[rows].tolist(),
            self.situation.policy.levers[rows].tolist(),
            (scores.cost[rows] + self.placement.channel_cost).tolist(),
            self.priority.tolist(),
            strict=True,
        )

    def proposal(self) -> PlacementProposal:
        """Mandatory candidates by priority, then all others as drawn.

        A treatment keeps its number in the hash whoever else is stopped, so that a draw changes only by who takes part.
        """
        placement, situation = self.placement, self.situation
        arbitration, request = situation.policy.arbitration, situation.request
        treatments = [placement.treatments[number] for number in self.numbers]
        options = [_nothing_option(placement), *[self._option(treatment) for treatment in treatments]]
        worth = np.concatenate(([arbitration.do_nothing_threshold], self.priority))
        first = [i for i, t in enumerate(treatments, start=1) if t.action.action_class == "mandatory"]
        first.sort(key=lambda i: -worth[i])
        drawn = [i for i in range(len(options)) if i not in first] if first else list(range(len(options)))
        pmf = self._pmf(drawn, worth)
        key = ("order", arbitration.salt, situation.seed, situation.policy.hash, request.decision_id, placement.id)
        draws = uniforms(len(placement.treatments) + 1, *key)[[0, *[number + 1 for number in self.numbers]]]
        order = draw_order(pmf, worth[drawn], draws[drawn])
        limit = request.options.limit
        return PlacementProposal(
            id=placement.id,
            channel=placement.channel,
            slots=placement.slots if limit is None else min(limit, placement.slots),
            order=tuple([options[i] for i in first] + [options[drawn[i]] for i in order.tolist()]),
            pmf=tuple([0.0] * len(first) + pmf[order].tolist()),
            ahead=len(first),
        )

    def _pmf(self, drawn: Sequence[int], worth: Vector) -> Vector:
        """The probabilities of those in the draw, doing nothing first; shape (len(drawn),)."""
        exploration = self.situation.policy.arbitration.exploration
        priority = worth[drawn]
        match exploration.strategy:
            case "epsilon":
                pmf = epsilon_greedy(priority, exploration.epsilon)
            case "inverse_gap":
                pmf = inverse_gap(priority, exploration.gamma)
            case "thompson":
                pmf = self._thompson(drawn, priority)
            case "greedy":
                pmf = greedy(priority)
        return with_floor(pmf, exploration.floor)

    def _thompson(self, drawn: Sequence[int], priority: Vector) -> Vector:
        """As uncertain as the corrections of the models are; where nothing is known of that, the best."""
        scores = self.scores
        if scores is None or scores.residual_mean is None or scores.residual_var is None or len(drawn) == 1:
            return greedy(priority)
        rows = _rows(self.placement, [self.numbers[i - 1] for i in drawn[1:]])
        gain, cost = gains(rows, scores, self.situation.policy, self.placement.channel_cost)
        return best_probabilities(
            np.concatenate(([0.0], scores.logit[rows] + scores.residual_mean[rows])),
            np.concatenate(([0.0], np.sqrt(scores.residual_var[rows]))),
            np.concatenate(([0.0], gain)),
            np.concatenate(([-priority[0]], cost)),
        )

    def _option(self, treatment: Treatment) -> Option:
        """What State tests; a budget's share of a cost that is an expression is known only now."""
        option = treatment.option
        if not option.limits or isinstance(treatment.action.cost, float) or self.scores is None:
            return option
        cost = millionths(self.scores.cost[treatment.action.number].item() + self.placement.channel_cost)
        limits = [msgspec.structs.replace(e, amount=cost) if e.is_money else e for e in option.limits]
        return msgspec.structs.replace(option, limits=tuple(limits))


def _nothing_option(placement: Placement) -> Option:
    return Option(key=DO_NOTHING, action=DO_NOTHING, treatment=placement.fallback, group=DO_NOTHING)


def _listed(vector: Vector) -> list[float | None]:
    """The numbers; none for what is not finite, which JSON could not write."""
    finite = np.isfinite(vector)
    if finite.all():
        return list(vector.tolist())
    return [number if is_finite else None for number, is_finite in zip(vector.tolist(), finite.tolist(), strict=True)]
