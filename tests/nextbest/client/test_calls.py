"""Requests as the client builds them, and answers as it reads them."""

import subprocess
import sys

import httpx
import msgspec
import pytest

from nextbest.client import ApiError, Customer, CustomerReference, DecideOptions, EventRow, calls
from nextbest.wire import Consents, DecisionRequest, EventsRequest, FieldError

HMAC = "0f" * 32
CARD = CustomerReference(kind="loyalty_card", hmac=HMAC)


def test_a_decision_takes_every_option_of_the_api() -> None:
    """An option that the API gains is one of the client's, or this fails."""
    given = {"customer", "placements"}
    assert DecideOptions.__annotations__.keys() | given == set(DecisionRequest.__struct_fields__)


def test_a_decision_says_what_was_said_and_no_more() -> None:
    """The server's defaults stay the server's; what is sent is a valid request."""
    call = calls.decide("c1", ["home_banner"], {"limit": 1, "request_id": "r1", "context": {"has_just_paid": True}})
    assert msgspec.json.decode(call.content) == {
        "customer": {"customer_id": "c1"},
        "placements": ["home_banner"],
        "context": {"has_just_paid": True},
        "limit": 1,
        "request_id": "r1",
    }
    assert msgspec.json.decode(call.content, type=DecisionRequest).limit == 1


def test_a_decision_without_a_request_id_gets_one_of_its_own() -> None:
    """By it a repeated request is the same decision."""
    sent = [msgspec.json.decode(calls.decide("c1", ["home_banner"], {}).content) for _ in range(2)]
    assert len({each["request_id"] for each in sent}) == 2
    assert all(len(each["request_id"]) == 32 for each in sent)


@pytest.mark.parametrize("customer", [("loyalty_card", HMAC), CARD])
def test_an_identifier_names_a_customer(customer: Customer) -> None:
    """In a body by its parts, in a path as `kind:hmac`."""
    body = msgspec.json.decode(calls.decide(customer, ["home_banner"], {}).content)
    assert body["customer"] == {"kind": "loyalty_card", "hmac": HMAC}
    assert calls.consents(customer).path == f"/v1/customers/loyalty_card%3A{HMAC}/consents"


def test_a_name_does_not_leave_its_place_in_the_path() -> None:
    """Whatever a customer, a decision or an action is called."""
    assert calls.export("a/../b?c").path == "/v1/customers/a%2F..%2Fb%3Fc/export"
    assert calls.decision("a/b", explain=True).path == "/v1/decisions/a%2Fb?explain=true"
    assert calls.switch("a/b", "pause").path == "/v1/actions/a%2Fb/pause"


def test_events_are_sent_as_they_are() -> None:
    """Rows with their contracts."""
    row = EventRow("events", {"event_id": "e1"})
    assert msgspec.json.decode(calls.send([row]).content, type=EventsRequest) == EventsRequest((row,))


def test_what_may_be_said_twice() -> None:
    """Everything but an erasure by an identifier, which leads to nobody once it is done."""
    repeatable = (
        calls.erase("c1"),
        calls.decide(CARD, ["home_banner"], {}),
        calls.set_consents(CARD, {"marketing": "withdrawn"}),
        calls.switch("beef", "resume"),
    )
    assert all(call.is_repeatable for call in repeatable)
    assert not calls.erase(CARD).is_repeatable


def test_an_answer_is_read_as_its_type() -> None:
    """What a newer server says beside it is left out."""
    content = b'{"customer_id": "c1", "consents": [], "since": 2030}'
    assert calls.read(calls.consents("c1"), httpx.Response(200), content) == Consents(customer_id="c1", consents=())


def test_what_is_no_answer_of_the_api_is_an_error() -> None:
    """Somebody else answers at this address."""
    with pytest.raises(ApiError, match="no answer of the API") as caught:
        calls.read(calls.consents("c1"), httpx.Response(200), b"<html>")
    assert caught.value.status == 200


def test_a_problem_keeps_its_parts() -> None:
    """Status, title, detail and the parts that are wrong."""
    content = (
        b'{"title": "Unprocessable Content", "status": 422, "detail": "no such placement",'
        b' "type": "about:blank", "errors": [{"detail": "no such placement", "pointer": "#/placements"}]}'
    )
    with pytest.raises(ApiError, match="422 Unprocessable Content: no such placement") as caught:
        calls.read(calls.consents("c1"), httpx.Response(422), content)
    assert caught.value.errors == (FieldError("no such placement", "#/placements"),)


def test_importing_the_client_loads_nothing_heavy() -> None:
    """A channel is not to pay for the engine."""
    heavy = {"numpy", "pyarrow", "ray", "pydantic", "duckdb", "starlette"}
    script = f"import sys, nextbest.client; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
