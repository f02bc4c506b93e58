"""What can be asked of the API: each call as method, path and body, and the type of its answer.

Belongs here: building requests and reading answers, which both clients share. Does not belong here: sending them
(`blocking`, `asynchronous`), or when to try again (`tries`).
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPMethod
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from nextbest.client.failures import ApiError, problem
from nextbest.wire import (
    Consents,
    ConsentsRequest,
    CustomerExport,
    CustomerReference,
    DecisionDetails,
    DecisionResponse,
    Erasure,
    EventRow,
    EventsRequest,
    EventsResponse,
    Part,
    Status,
    SwitchRequest,
    SwitchResponse,
)

T = TypeVar("T")
Customer = str | tuple[str, str] | CustomerReference
"""A customer id, or the kind of an identifier and its keyed hash."""


class DecideOptions(TypedDict, total=False):
    """What a request for a decision may say beside customer and placements (`nextbest.wire.DecisionRequest`)."""

    context: Mapping[str, bool | int | float | str]
    include: Sequence[Part]
    limit: int
    dedup: bool
    dedup_with: Sequence[str]
    count_toward_caps: bool
    dry_run: bool
    budget_ms: float
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, the same at every try, and what it is answered with."""

    method: HTTPMethod
    path: str
    answer: type[T]
    content: bytes = b""
    is_repeatable: bool = True
    """Whether saying it twice does what saying it once does; if not, it is tried again only if it did not get there."""


def decide(customer: Customer, placements: Iterable[str], options: DecideOptions) -> Call[DecisionResponse]:
    """Its request id makes every try the same decision."""
    body = {
        **options,
        "request_id": options.get("request_id") or uuid.uuid4().hex,
        "customer": {name: said for name, said in msgspec.structs.asdict(_reference(customer)).items() if said},
        "placements": (placements,) if isinstance(placements, str) else tuple(placements),
    }
    return _post("/v1/decisions", body, DecisionResponse)


def decision(decision_id: str, *, explain: bool) -> Call[DecisionDetails]:
    """What became of an earlier one."""
    path = f"/v1/decisions/{quote(decision_id, safe='')}" + ("?explain=true" if explain else "")
    return Call(method=HTTPMethod.GET, path=path, answer=DecisionDetails)


def send(events: Iterable[EventRow]) -> Call[EventsResponse]:
    """An event counts once by its id."""
    return _post("/v1/events", EventsRequest(tuple(events)), EventsResponse)


def consents(customer: Customer) -> Call[Consents]:
    """Of every purpose that the policy has."""
    return Call(method=HTTPMethod.GET, path=_of(customer, "/consents"), answer=Consents)


def set_consents(customer: Customer, said: Mapping[str, Status]) -> Call[Consents]:
    """Said twice, the customer allows what they allowed after the first time."""
    content = msgspec.json.encode(ConsentsRequest(dict(said)))
    return Call(method=HTTPMethod.PUT, path=_of(customer, "/consents"), answer=Consents, content=content)


def export(customer: Customer) -> Call[CustomerExport]:
    """All of the customer."""
    return Call(method=HTTPMethod.GET, path=_of(customer, "/export"), answer=CustomerExport)


def erase(customer: Customer) -> Call[Erasure]:
    """Once it is done an identifier leads to nobody, so that by an identifier it can be asked for only once."""
    is_id = _reference(customer).customer_id is not None
    return Call(method=HTTPMethod.DELETE, path=_of(customer), answer=Erasure, is_repeatable=is_id)


def switch(action: str, to: Literal["pause", "resume"], reason: str = "") -> Call[SwitchResponse]:
    """An action that is paused already stays paused."""
    return _post(f"/v1/actions/{quote(action, safe='')}/{to}", SwitchRequest(reason), SwitchResponse)


def read(call: Call[T], response: httpx.Response, content: bytes) -> T:
    """The answer.

    Raises:
        ApiError: it is a problem, or not what the API answers.

    """
    if not response.is_success:
        raise problem(response, content)
    try:
        return msgspec.json.decode(content, type=call.answer)
    except msgspec.MsgspecError as error:
        raise ApiError(response.status_code, "this is no answer of the API", str(error)) from error


def _post(path: str, body: Any, answer: type[T]) -> Call[T]:
    return Call(method=HTTPMethod.POST, path=path, answer=answer, content=msgspec.json.encode(body))


def _reference(customer: Customer) -> CustomerReference:
    match customer:
        case CustomerReference():
            return customer
        case str():
            return CustomerReference(customer_id=customer)
        case (str(kind), str(hmac)):
            return CustomerReference(kind=kind, hmac=hmac)
        case _:
            raise TypeError(f"a customer is an id as a str, or a pair of kind and hmac, and not {customer!r}")


def _of(customer: Customer, what: str = "") -> str:
    reference = _reference(customer)
    name = reference.customer_id or f"{reference.kind}:{reference.hmac}"
    return f"/v1/customers/{quote(name, safe='')}{what}"
