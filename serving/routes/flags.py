"""A placement as a feature flag: OpenFeature's remote evaluation protocol, so that its clients can ask for decisions.

Belongs here: the protocol's bodies and statuses. Does not belong here: how a decision comes about (`serving.decider`).
Source: OpenFeature Remote Evaluation Protocol (OFREP) 0.2.0, POST /ofrep/v1/evaluate/flags/{key}.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nextbest.names import CustomerNames
from nextbest.records import DO_NOTHING
from nextbest.wire import (
    CustomerReference,
    DecisionRequest,
    DecisionResponse,
    FlagError,
    FlagProblem,
    FlagRequest,
    FlagVariation,
    Given,
    Name,
)
from serving import bodies, problems, responses
from serving.decider import Decider
from serving.operations import Link, Operation, Parameter
from serving.problems import ProblemError
from serving.routes.decisions import decided

_request = msgspec.json.Decoder(FlagRequest)
_KEY = "targetingKey"
_MEDIA_TYPE = "application/json"
_RECORD = Link(
    name="record",
    to="getDecision",
    description="Look the decision up that the evaluation is.",
    parameters={"decision_id": "$response.body#/metadata/decision_id"},
)


@dataclass(frozen=True, slots=True)
class Flags:
    """The operation of the protocol."""

    decider: Decider
    names: CustomerNames

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method=HTTPMethod.POST,
            path="/ofrep/v1/evaluate/flags/{placement}",
            name="evaluateFlag",
            summary="Evaluate a placement as a flag of OpenFeature: each evaluation is a decision",
            handler=self.evaluate,
            scope="decide",
            body=FlagRequest,
            invalid=HTTPStatus.BAD_REQUEST,
            answers={HTTPStatus.OK: FlagVariation},
            links=(_RECORD,),
            problems=(HTTPStatus.NOT_FOUND,),
            problem=FlagProblem,
            problem_media_type=_MEDIA_TYPE,
            render_problem=_problem,
            parameters=(Parameter(name="placement", place="path", description="Its id in the policy."),),
        )

    async def evaluate(self, request: Request) -> Response:
        body = await bodies.read(request, _request, bodies.SMALL_BYTES)
        placement = request.path_params["placement"]
        placements = self.decider.in_force.policy.placements
        if placement not in placements:
            raise problems.missing("placement", placement, placements)
        asked = _asked(placement, self._customer(body.context), self._known(body.context))
        return responses.json(_variation(placement, await decided(self.decider, asked)))

    def _customer(self, context: Mapping[str, Any]) -> CustomerReference:
        key = context.get(_KEY)
        if not isinstance(key, str) or not key:
            raise _InvalidContextError("TARGETING_KEY_MISSING", "targetingKey names the customer")
        try:
            return self.names.meant_by(key)
        except msgspec.ValidationError as error:
            raise _InvalidContextError("INVALID_CONTEXT", f"{_KEY}: {error}") from error

    def _known(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """What rules, texts and models speak of.

        An application's context holds more, for other flags, such as an e-mail address, and a decision is kept with
        its context.
        """
        names = {each.name for each in self.decider.in_force.policy.catalogue.values() if each.origin == "context"}
        if models := self.decider.models.current:
            specs = (spec for model in models.model_set.models.values() for spec in model.features)
            names |= {spec.name for spec in specs if spec.origin == "context"}
        return {name: context[name] for name in names & context.keys() if context[name] is not None}


def _asked(placement: str, customer: CustomerReference, context: Mapping[str, Any]) -> DecisionRequest:
    """The request for a decision; what no request may say is said to be so."""
    try:
        given = msgspec.convert(context, dict[Name, Given])
    except msgspec.ValidationError as error:
        raise _InvalidContextError("INVALID_CONTEXT", str(error)) from error
    return DecisionRequest(customer=customer, placements=(placement,), context=given)


def _variation(placement: str, decision: DecisionResponse) -> FlagVariation:
    slots = [
        {"slot": each.slot, "action": each.action, "treatment": each.treatment, "content": each.content}
        for each in decision.placements[0].slots
    ]
    first = decision.placements[0].slots[0]
    return FlagVariation(
        key=placement,
        reason="DEFAULT" if first.action == DO_NOTHING else "TARGETING_MATCH",
        variant=first.action if first.action == DO_NOTHING else f"{first.action}/{first.treatment}",
        value={**slots[0], "slots": slots},
        metadata={
            "decision_id": decision.decision_id,
            "tier": decision.tier,
            "logged": decision.logged,
            "probability": first.probability,
            "policy_hash": decision.policy_hash,
        },
    )


class _InvalidContextError(ProblemError):
    def __init__(self, code: FlagError, detail: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, detail)
        self.code = code


def _problem(request: Request, problem: ProblemError) -> Response:
    """What goes wrong, in the protocol's words."""
    match problem:
        case _InvalidContextError(code=code):
            said: FlagError = code
        case ProblemError(status=HTTPStatus.NOT_FOUND):
            said = "FLAG_NOT_FOUND"
        case ProblemError(status=HTTPStatus.BAD_REQUEST):
            said = "PARSE_ERROR"
        case ProblemError(status=HTTPStatus.UNPROCESSABLE_ENTITY):
            problem.status, said = HTTPStatus.BAD_REQUEST, "INVALID_CONTEXT"
        case _:
            said = "GENERAL"
    body = FlagProblem(key=request.path_params["placement"], errorCode=said, errorDetails=problem.details.detail)
    return responses.json(body, problem.status, headers=problem.headers)
