"""What can be found out about a decision afterwards, for an answer of the API.

Belongs here: finding the record in the log, and on demand its replay and its parts, off the event loop. Does not belong
here: replaying (`nextbest.replay`), or taking it apart (`nextbest.contributions`).
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import nextbest
from nextbest.adapters.decisions import Decision, ErasedDecisionError, UnknownDecisionError, made_with
from nextbest.contributions import contributions
from nextbest.replay import differences, replay
from nextbest.settings import Settings
from nextbest.wire import DecisionDetails, DifferenceSeen, ReplayVerdict
from serving.decider import Decider
from serving.problems import ProblemError


@dataclass(frozen=True, slots=True)
class Details:
    """Looks decisions up in the log of a home."""

    decider: Decider
    settings: Settings

    async def of(self, decision_id: str, *, explain: bool) -> DecisionDetails | None:
        """The decision of that id; none where the log has none.

        Raises:
            LogUnavailableError: the log cannot be read.
            ProblemError: 410 where it cannot be explained, for its policy, its models or its customer are gone.

        """
        record = await self.decider.record(decision_id)
        if record is None:
            return None
        if not explain:
            return DecisionDetails(record=record)
        try:
            decision = await asyncio.to_thread(made_with, self.settings, record)
        except ErasedDecisionError as error:
            detail = "the customer was erased, and with them what the decision was made from"
            raise ProblemError(HTTPStatus.GONE, detail) from error
        except UnknownDecisionError as error:
            detail = "the policy or the models that the decision was made with are not kept any more"
            raise ProblemError(HTTPStatus.GONE, detail) from error
        return await asyncio.to_thread(_explained, decision)


def _explained(decision: Decision) -> DecisionDetails:
    record, policy, models = decision
    found = differences(record, replay(record, policy, models))
    return DecisionDetails(
        record=record,
        replay=ReplayVerdict(
            identical=not found,
            differences=tuple(DifferenceSeen(**each._asdict()) for each in found),
            code_version=nextbest.__version__,
        ),
        contributions=tuple(contributions(record, policy, models)),
    )
