"""One placement's contest: from what passed screening to the order in which candidates may fill its slots.

Belongs here: each candidate's numbers, the probabilities among those that take part, and the draw. Does not belong
here: screening and scoring, which placements share (`nextbest.decision`), or the formulas of exploration
(`nextbest.arbitration`, `nextbest.thompson`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import msgspec
import numpy as np

from nextbest.arbitration import Vector, draw_order, explored, greedy, with_floor
from nextbest.hashing import uniforms
from nextbest.messages import Again, Option, PlacementProposal
from nextbest.policy import Placement
from nextbest.policy_compiler import millionths
from nextbest.records import DO_NOTHING, Candidate
from nextbest.scoring import Rows, Scores, gains, priorities
from nextbest.screening import Verdict
from nextbest.situation import Situation
from nextbest.thompson import best_probabilities

_NO_PRIORITY = "failed: the formula of priority comes to no number"


@dataclass(frozen=True, slots=True)
class Contest:
    """Every candidate of a placement, and the proposal that those which take part come to."""

    candidates: list[Candidate]
    proposal: PlacementProposal


def contest(
    placement: Placement, verdicts: Sequence[Verdict], passed: Rows, scores: Scores, situation: Situation
) -> Contest:
    """Let everything that passed compete with doing nothing.

    Args:
        placement: What is to be filled.
        verdicts: By treatment of the placement, what stopped it.
        passed: The numbers of the treatments that nothing stopped.
        scores: Of the actions that passed.
        situation: Who is asked for, and the policy in force.

    """
    verdicts, numbers = list(verdicts), passed
    if scores.failed:
        for number in passed.tolist():
            if reason := scores.failed.get(placement.options[number].action):
                verdicts[number] = "score", reason
        numbers = passed_by(verdicts)
    priority = priorities(placement.rows[numbers], scores, situation, placement.channel_cost)
    has_none = ~np.isfinite(priority)
    if has_none.any():
        for number in numbers[has_none].tolist():
            verdicts[number] = "score", _NO_PRIORITY
        numbers, priority = numbers[~has_none], priority[~has_none]
    field = _Field(placement, situation, numbers, priority, scores)
    return Contest(field.candidates(verdicts), field.proposal())


def no_contest(placement: Placement, situation: Situation) -> Contest:
    """Nothing is considered: the placement shows its fallback."""
    field = _Field(placement, situation, passed_by(()), np.empty(0), None)
    return Contest([_nothing(placement, situation)], field.proposal())


def passed_by(verdicts: Sequence[Verdict]) -> Rows:
    """The numbers of the treatments that nothing stopped."""
    return np.array([number for number, verdict in enumerate(verdicts) if verdict is None], dtype=np.intp)


def _nothing(placement: Placement, situation: Situation) -> Candidate:
    """Doing nothing: the placement shows its fallback."""
    threshold = situation.policy.arbitration.do_nothing_threshold
    return Candidate(placement.id, DO_NOTHING, placement.fallback, "arbitration", priority=threshold)


@dataclass(frozen=True, slots=True)
class _Field:
    """Those that take part, in the order of the policy: their numbers among the placement's treatments."""

    placement: Placement
    situation: Situation
    numbers: Rows
    priority: Vector
    """Of each, shape (len(numbers),)."""
    scores: Scores | None

    def candidates(self, verdicts: Sequence[Verdict]) -> list[Candidate]:
        """Doing nothing, then a candidate per treatment, with the numbers of those that take part."""
        place, taking_part = self.placement.id, self._columns()
        return [
            _nothing(self.placement, self.situation),
            *[
                Candidate(place, option.action, option.treatment, "arbitration", "", *next(taking_part))
                if verdict is None
                else Candidate(place, option.action, option.treatment, *verdict)
                for option, verdict in zip(self.placement.options, verdicts, strict=True)
            ],
        ]

    def _columns(self) -> Iterator[tuple[float | None, ...]]:
        """By candidate: log odds, residual's mean and variance, p, value, lever, cost, priority, shadow, uplift."""
        scores, rows = self.scores, self.placement.rows[self.numbers]
        if scores is None or not len(rows):
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
            blank if scores.beside is None else _listed(scores.beside[rows]),
            blank if scores.uplift is None else _listed(scores.uplift[rows]),
            strict=True,
        )

    def proposal(self) -> PlacementProposal:
        """Mandatory candidates by priority, then all others as drawn.

        A treatment keeps its number in the hash whoever else is stopped, so that a draw changes only by who takes part.
        """
        placement, situation = self.placement, self.situation
        arbitration, request = situation.policy.arbitration, situation.request
        options = [_nothing_option(placement), *self._options()]
        worth = np.concatenate(([arbitration.do_nothing_threshold], self.priority))
        key = (arbitration.salt, situation.seed, situation.policy.hash, request.decision_id, placement.id)
        draws = uniforms(len(placement.treatments) + 1, "order", *key)[np.concatenate(([0], self.numbers + 1))]
        first: list[int] = []
        drawn = np.arange(len(options))
        if placement.has_mandatory:
            classes = (placement.treatments[number].action.action_class for number in self.numbers.tolist())
            first = [i for i, each in enumerate(classes, start=1) if each == "mandatory"]
            first.sort(key=lambda i: -worth[i])
            is_drawn = np.ones(len(options), dtype=bool)
            is_drawn[first] = False
            drawn = np.flatnonzero(is_drawn)
        pmf = self._pmf(drawn, worth[drawn])
        order = draw_order(pmf, worth[drawn], draws[drawn])
        places = [*first, *drawn[order].tolist()]
        limit = request.options.limit
        slots = placement.slots if limit is None else min(limit, placement.slots)
        again = None
        if arbitration.exploration.strategy != "thompson" and (slots > 1 or len(request.placements) > 1):
            again = Again(arbitration.exploration, tuple(worth[places].tolist()), ("slot", *key))
        return PlacementProposal(
            id=placement.id,
            channel=placement.channel,
            slots=slots,
            order=tuple(map(options.__getitem__, places)),
            pmf=tuple([0.0] * len(first) + pmf[order].tolist()),
            ahead=len(first),
            caps=placement.caps,
            again=again,
        )

    def _pmf(self, drawn: Rows, priority: Vector) -> Vector:
        """The probabilities of those in the draw, doing nothing first; shape (len(drawn),)."""
        exploration = self.situation.policy.arbitration.exploration
        if exploration.strategy == "thompson":
            return with_floor(self._thompson(drawn, priority), exploration.floor)
        return explored(priority, exploration)

    def _thompson(self, drawn: Rows, priority: Vector) -> Vector:
        """As uncertain as the corrections of the models are; where nothing is known of that, the best."""
        scores = self.scores
        if scores is None or scores.residual_mean is None or scores.residual_var is None or len(drawn) == 1:
            return greedy(priority)
        rows = self.placement.rows[self.numbers[drawn[1:] - 1]]
        gain, cost = gains(rows, scores, self.situation.policy, self.placement.channel_cost)
        return best_probabilities(
            np.concatenate(([0.0], scores.logit[rows] + scores.residual_mean[rows])),
            np.concatenate(([0.0], np.sqrt(scores.residual_var[rows]))),
            np.concatenate(([0.0], gain)),
            np.concatenate(([-priority[0]], cost)),
        )

    def _options(self) -> list[Option]:
        """What State tests; a budget's share of a cost that is an expression is known only now."""
        placement, written = self.placement, {action.id for action in self.situation.policy.written}
        options = [placement.options[number] for number in self.numbers.tolist()]
        if written and placement.limited:
            costs = (
                (self.scores.cost[placement.rows[self.numbers]] + placement.channel_cost).tolist()
                if self.scores
                else []
            )
            for position, (option, cost) in enumerate(zip(options, costs, strict=True)):
                if option.limits and option.action in written:
                    options[position] = _priced(option, millionths(cost))
        return options


def _priced(option: Option, cost: int) -> Option:
    limits = [msgspec.structs.replace(limit, amount=cost) if limit.is_money else limit for limit in option.limits]
    return msgspec.structs.replace(option, limits=tuple(limits))


def _nothing_option(placement: Placement) -> Option:
    return Option(key=DO_NOTHING, action=DO_NOTHING, treatment=placement.fallback, group=DO_NOTHING)


def _listed(vector: Vector) -> list[float | None]:
    """The numbers; none for what is not finite, which JSON could not write."""
    numbers = vector.tolist()
    # Of finite numbers nothing is left when their sum is taken from itself: one test for all.
    total = sum(numbers)
    return numbers if total - total == 0.0 else [x if isfinite(x) else None for x in numbers]
