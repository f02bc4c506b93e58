"""Asking for decisions, and looking at one that was made.

Belongs here: bodies, parameters and statuses. Does not belong here: how a decision comes about (`serving.decider`), or
what is found out about one afterwards (`serving.details`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nextbest.decision import UnknownPlacementError
from nextbest.names import CustomerNames
from nextbest.wire import CustomerReference, DecisionDetails, DecisionRequest, DecisionResponse, FieldError
from serving import bodies, problems, responses
from serving.answers import answer
from serving.decider import Decider, RequestIdTakenError
from serving.details import Details
from serving.operations import Link, Operation, Parameter
from serving.problems import ProblemError
from serving.requests import ContextError

_request = msgspec.json.Decoder(DecisionRequest)
_SEEN = "$response.body#/placements/0"
_LINKS = (
    Link(
        name="record",
        to="getDecision",
        description="Look the decision up.",
        parameters={"decision_id": "$response.body#/decision_id"},
    ),
    Link(
        name="impression",
        to="sendEvents",
        description="Say that the first slot was seen; so with whatever else happens to a slot.",
        body={
            "events": [
                {
                    "contract": "events",
                    "properties": {
                        "event_id": "{$response.body#/decision_id}/impression",
                        "customer_id": "$response.body#/customer_id",
                        "decision_id": "$response.body#/decision_id",
                        "type": "impression",
                        "channel": f"{_SEEN}/channel",
                        "action": f"{_SEEN}/slots/0/action",
                        "treatment": f"{_SEEN}/slots/0/treatment",
                        "slot": f"{_SEEN}/slots/0/slot",
                        "occurred_at": "$response.body#/occurred_at",
                    },
                }
            ]
        },
    ),
)
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """The operations about decisions."""

    decider: Decider
    details: Details
    names: CustomerNames

    def operations(self) -> Iterator[Operation]:
        yield Operation(
            method=HTTPMethod.POST,
            path="/v1/decisions",
            name="decide",
            summary="Decide for one customer",
            handler=self.decide,
            scope="decide",
            body=DecisionRequest,
            answers={HTTPStatus.OK: DecisionResponse},
            links=_LINKS,
            problems=(HTTPStatus.CONFLICT,),
        )
        yield Operation(
            method=HTTPMethod.GET,
            path="/v1/decisions/{decision_id}",
            name="getDecision",
            summary="The record of a decision, and on demand whether it can be decided again and what it rests on",
            handler=self.look_up,
            scope="admin",
            answers={HTTPStatus.OK: DecisionDetails},
            problems=(
                HTTPStatus.NOT_FOUND,
                HTTPStatus.GONE,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
            parameters=(
                Parameter(name="decision_id", place="path", description="Of the answer."),
                Parameter(
                    name="explain",
                    place="query",
                    description="Decide again from the record and compare, and take the priorities apart.",
                    schema={"type": "boolean", "default": False},
                ),
            ),
        )

    async def decide(self, request: Request) -> Response:
        asked = await bodies.read(request, _request, bodies.DECISION_BYTES)
        _check_placements(asked.placements)
        self._check_customer(asked.customer)
        return responses.json(await decided(self.decider, asked))

    async def look_up(self, request: Request) -> Response:
        decision_id, explain = request.path_params["decision_id"], request.query_params.get("explain", "false")
        if explain not in _TRUTHS:
            raise problems.invalid("explain takes true or false", FieldError("true or false", "#/explain"))
        found = await self.details.of(decision_id, explain=_TRUTHS[explain])
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "the log holds no decision of this id")
        return responses.json(found)

    def _check_customer(self, customer: CustomerReference) -> None:
        """Nobody gets an id under which no path would find them."""
        kind, kinds = customer.kind, self.names.kinds
        if kind is not None and kind not in kinds:
            detail = f"there is no kind of identifier {kind!r}: there is {', '.join(kinds)}"
            raise problems.invalid(detail, FieldError(detail, "#/customer/kind"))
        if customer.customer_id is not None and not self.names.is_id(customer.customer_id):
            detail = "an id neither begins with a kind of identifier nor ends with a keyed hash: send kind and hmac"
            raise problems.invalid(detail, FieldError(detail, "#/customer/customer_id"))


def _check_placements(placements: Sequence[str]) -> None:
    for index, each in enumerate(placements):
        if each in placements[:index]:
            detail = f"placement {each} is asked for twice: its slots come at once, `limit` says how many"
            raise problems.invalid(detail, FieldError(detail, f"#/placements/{index}"))


async def decided(decider: Decider, asked: DecisionRequest) -> DecisionResponse:
    """The answer to a request.

    Raises:
        ProblemError: 409 or 422; what else goes wrong is a fallback.

    """
    try:
        record = await decider.decide(asked)
    except UnknownPlacementError as error:
        raise problems.invalid(str(error), FieldError(str(error), "#/placements")) from error
    except ContextError as error:
        raise problems.invalid(str(error), FieldError(str(error), f"#/context/{error.name}")) from error
    except RequestIdTakenError as error:
        raise ProblemError(HTTPStatus.CONFLICT, str(error)) from error
    return answer(record, decider.in_force.policy, asked.include)
