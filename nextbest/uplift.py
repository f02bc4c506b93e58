"""Uplift: which part of the responses to an action it causes, and which would come without it.

Belongs here: asking the uplift model, and the share that follows. Does not belong here: the priority that the share
goes into (`nextbest.scoring`), or training (`models/`).
"""

from dataclasses import replace
from typing import Final

import numpy as np
from scipy.special import expit

from nextbest.arbitration import Vector
from nextbest.features import Matrix
from nextbest.scoring import Rows, Scores, matrix
from nextbest.situation import UPLIFT, Models, ScoringError, Situation

UPLIFT_FAILED: Final = "uplift_failed"
"""Why a decision is less than it could have been: it went by how likely a response is, whatever it is caused by."""


def with_uplift(scores: Scores, rows: Rows, models: Models, situation: Situation, channel: str) -> Scores:
    """The scores with the share of the responses to each action that it causes, from -1 to 1.

    That is uplift over propensity, both as the models say, before any correction: where answers come twice as often as
    was expected, the same part of them is taken to be caused. Below 0 fewer respond than would to nothing. NaN for
    actions that the uplift model does not know.

    Args:
        scores: Of the actions with the numbers `rows`.
        rows: The numbers.
        models: With one for uplift among them.
        situation: Who is asked for.
        channel: In which the actions would be proposed.

    Raises:
        ScoringError: the uplift model cannot score.

    """
    model, roll = models.model_set.models[UPLIFT], situation.policy.roll
    share = np.full(len(roll), np.nan)
    known = np.array([row for row in rows.tolist() if roll[row].id in model.action_features], dtype=np.intp)
    if len(known):
        raised = models.score(UPLIFT, matrix([roll[row] for row in known.tolist()], model, situation, channel))
        p = expit(scores.logit[known])
        caused = np.divide(raised, p, out=np.zeros(len(known)), where=p > 0.0)  # of no responses none is caused
        share[known] = np.clip(caused, -1.0, 1.0)
    return replace(scores, share=share)


class WithoutUplift:
    """Models of which the one for uplift fails: as those of a decision in which it did."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.model_set = models.model_set
        self.score_beside = models.score_beside

    def score(self, name: str, given: Matrix) -> Vector:
        if name == UPLIFT:
            raise ScoringError(f"{UPLIFT}: failed when the decision was made")
        return self._models.score(name, given)
