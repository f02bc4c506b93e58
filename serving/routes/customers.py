"""A customer's consents, everything that is kept of them, and their erasure.

Belongs here: bodies, parameters and statuses. Does not belong here: what happens then (`serving.customers`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nextbest.policy import Policy
from nextbest.wire import Consents, ConsentsRequest, CustomerExport, Erasure, FieldError
from serving import bodies, problems, responses
from serving.customers import Customers
from serving.decider import Decider
from serving.operations import Link, Operation, Parameter

_request = msgspec.json.Decoder(ConsentsRequest)
_CUSTOMER = Parameter(
    name="customer",
    place="path",
    description="A customer id, or `kind:hmac` of an identifier.",
    schema={"type": "string", "minLength": 1, "maxLength": 200},
)
_SAME = {"customer": "$request.path.customer"}


@dataclass(frozen=True, slots=True)
class CustomerRoutes:
    """The operations about one customer."""

    customers: Customers
    decider: Decider

    def operations(self) -> Iterator[Operation]:
        unavailable = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
        yield Operation(
            method=HTTPMethod.GET,
            path="/v1/customers/{customer}/consents",
            name="getConsents",
            summary="What a customer allows",
            handler=self.consents,
            scope="consents",
            answers={HTTPStatus.OK: Consents},
            problems=unavailable,
            parameters=(_CUSTOMER,),
        )
        yield Operation(
            method=HTTPMethod.PUT,
            path="/v1/customers/{customer}/consents",
            name="putConsents",
            summary="Say what a customer allows: it binds the next decision",
            handler=self.say,
            scope="consents",
            body=ConsentsRequest,
            answers={HTTPStatus.OK: Consents},
            links=(Link(name="consents", to="getConsents", description="What holds now.", parameters=_SAME),),
            problems=unavailable,
            parameters=(_CUSTOMER,),
        )
        yield Operation(
            method=HTTPMethod.GET,
            path="/v1/customers/{customer}/export",
            name="exportCustomer",
            summary="Everything that is kept of a customer online: state, features and log",
            handler=self.export,
            scope="admin",
            answers={HTTPStatus.OK: CustomerExport},
            problems=unavailable,
            parameters=(_CUSTOMER,),
        )
        yield Operation(
            method=HTTPMethod.DELETE,
            path="/v1/customers/{customer}",
            name="eraseCustomer",
            summary="Forget a customer: state, features, and whom the log's entries were about",
            handler=self.erase,
            scope="admin",
            answers={HTTPStatus.OK: Erasure},
            links=(Link(name="left", to="exportCustomer", description="What is left.", parameters=_SAME),),
            problems=unavailable,
            parameters=(_CUSTOMER,),
        )

    async def consents(self, request: Request) -> Response:
        return responses.json(await self.customers.consents(await self._customer(request), self._policy))

    async def say(self, request: Request) -> Response:
        body = await bodies.read(request, _request, bodies.SMALL_BYTES)
        name, policy = request.path_params["customer"], self._policy
        customer_id = await self._customer(request)
        unknown = [purpose for purpose in body.consents if purpose not in policy.regimes]
        if unknown:
            detail = f"unknown purpose: the policy has {', '.join(policy.regimes)}"
            raise problems.invalid(detail, *(FieldError(detail, f"#/consents/{each}") for each in unknown))
        return responses.json(await self.customers.say(name, customer_id, body.consents, policy))

    async def export(self, request: Request) -> Response:
        return responses.json(await self.customers.export(await self._customer(request)))

    async def erase(self, request: Request) -> Response:
        return responses.json(await self.customers.erase(await self._customer(request)))

    @property
    def _policy(self) -> Policy:
        return self.decider.in_force.policy

    async def _customer(self, request: Request) -> str:
        try:
            return await self.customers.resolve(request.path_params["customer"])
        except msgspec.ValidationError as error:
            raise problems.invalid(str(error)) from error
