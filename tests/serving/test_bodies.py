"""What a request may bring, whatever the operation."""

import gzip
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

Ask = Callable[..., Any]
BODY = msgspec.json.encode({"consents": {"marketing": "granted"}})
EVENT_OF_NO_CONTRACT = {"events": [{"contract": "x", "properties": {}}]}
PATH = "/v1/customers/c1/consents"


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.shop+json",
    ],
)
def test_json_is_taken_as_json(ask: Ask, media_type: str | None) -> None:
    """Named in any of its ways, or not at all."""
    headers = {} if media_type is None else {"content-type": media_type}
    assert ask("PUT", PATH, content=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/xml",
        "application/json, text/plain",
        "nonsense",
    ],
)
def test_what_calls_itself_something_else_is_refused(ask: Ask, media_type: str) -> None:
    """Even where it reads as JSON: a form of another site can send such bodies without asking."""
    response = ask("PUT", PATH, content=BODY, headers={"content-type": media_type})
    assert (response.status_code, response.headers["content-type"]) == (415, "application/problem+json")
    assert response.headers["accept"] == "application/json"


@pytest.mark.parametrize(("content", "status"), [(b"", 400), (b"null", 422), (b"[]", 422), (b" " * 20_001, 413)])
def test_what_is_no_body_of_the_operation_is_refused(ask: Ask, content: bytes, status: int) -> None:
    """Nothing at all, another kind of JSON, and more than fits."""
    assert ask("PUT", PATH, content=content).status_code == status


@pytest.mark.parametrize("number", ["1e400", "NaN", "Infinity", "1e30", "1" + "0" * 30, "-1e19", "-" + "9" * 19])
def test_a_number_that_no_rule_could_take_is_refused(ask: Ask, number: str) -> None:
    """In a context, however it is written: beyond 64 bits, and what JSON does not know."""
    body = f'{{"customer": {{"customer_id": "c1"}}, "placements": ["home_banner"], "context": {{"n": {number}}}}}'
    assert ask("POST", "/v1/decisions", content=body.encode()).status_code in {400, 422}


def test_a_number_beyond_64_bits_in_a_row_is_no_defect(ask: Ask) -> None:
    """It is refused like any other value that is none."""
    row = {"event_id": "e1", "customer_id": "c1", "type": "click", "channel": "web", "more": {"n": 10**30}}
    event = {"contract": "events", "properties": row | {"occurred_at": "2026-03-02T12:00:00Z"}}
    assert ask("POST", "/v1/events", content=_big({"events": [event]})).status_code == 422


def test_what_nests_too_deep_is_no_defect(ask: Ask) -> None:
    """Also where nobody reads it."""
    body = b'{"context": {"targetingKey": "c1"}, "other": ' + b"[" * 9_900 + b"]" * 9_900 + b"}"
    assert ask("POST", "/ofrep/v1/evaluate/flags/home_banner", content=body).status_code in {200, 400}


def test_a_whole_number_may_be_written_with_a_point(ask: Ask) -> None:
    """JSON Schema does not tell 2.0 from 2; but 1.5 slots are none."""
    body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner"]}
    answer = ask("POST", "/v1/decisions", json=body | {"limit": 2.0})
    assert (answer.status_code, len(answer.json()["placements"][0]["slots"])) == (200, 1)
    assert ask("POST", "/v1/decisions", json=body | {"limit": 1.5}).status_code == 422


def test_a_hash_ends_where_it_ends(ask: Ask) -> None:
    """A line end behind it is no part of it."""
    customer = {"kind": "email", "hmac": "ab" * 32 + "\n"}
    assert ask("POST", "/v1/decisions", json={"customer": customer, "placements": ["home_banner"]}).status_code == 422


@pytest.mark.parametrize(
    ("part", "said", "pointer"),
    [
        ({"limit": 0}, "Expected `number` >= 1", "#/limit"),
        ({"limit": 1.5}, "Expected `integer`", "#/limit"),
        ({"budget_ms": 60_001}, "Expected `number` <= 60000", "#/budget_ms"),
        (
            {"customer": {"customer_id": 18}},
            "Expected `string | null`, got `integer`: a number in quotes is one",
            "#/customer/customer_id",
        ),
        ({"placements": [18]}, "Expected `string`, got `integer`: a number in quotes is one", "#/placements/0"),
        (
            {"include": ["content", "contents"]},
            "Invalid enum value 'contents': it takes content, explanation, metadata",
            "#/include/1",
        ),
        ({"context": {"": 1}}, "Expected `string` of length >= 1", "#/context"),
        ({"str": 1}, "Object contains unknown field `str`", "#"),
    ],
)
def test_a_part_that_is_wrong_is_told_in_the_words_of_the_api(
    ask: Ask, part: dict[str, Any], said: str, pointer: str
) -> None:
    """JSON's types, not Python's; a number that should be a text; and what an enum allows."""
    body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner"]} | part
    refused = ask("POST", "/v1/decisions", json=body).json()
    assert refused["errors"] == [{"detail": said, "pointer": pointer}]
    assert refused["detail"] == f"{said}, at {pointer}"


@pytest.mark.parametrize(
    ("method", "path", "body", "allowed"),
    [
        ("PUT", PATH, {"consents": {"marketing": "no"}}, "granted, withdrawn"),
        (
            "POST",
            "/v1/events",
            {"events": [{"contract": "x", "properties": {}}]},
            "consents, events, identities, outcomes",
        ),
    ],
)
def test_what_an_enum_allows_is_listed(ask: Ask, method: str, path: str, body: object, allowed: str) -> None:
    """In members of objects and in lists of objects too."""
    assert f": it takes {allowed}" in ask(method, path, json=body).json()["detail"]


def _big(body: object) -> bytes:
    return msgspec.json.encode(body)


def gzipped(ask: Ask, content: bytes, encoding: str = "gzip") -> Any:
    return ask("PUT", PATH, content=content, headers={"content-encoding": encoding})


def test_a_body_may_be_compressed(ask: Ask) -> None:
    """With gzip, however that is written; where it is something else, the answer says what is taken."""
    assert gzipped(ask, gzip.compress(BODY), "GZIP").status_code == 200
    assert gzipped(ask, BODY, "identity").status_code == 200
    refused = gzipped(ask, BODY, "br")
    assert (refused.status_code, refused.headers["accept-encoding"]) == (415, "gzip")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (gzip.compress(bytes(100_000_000)), 413),
        (gzip.compress(BODY + b" " * 20_000), 413),
        (gzip.compress(BODY)[:-1], 400),
        (gzip.compress(BODY) * 2, 400),
        (BODY, 400),
        (b"", 400),
    ],
    ids=["bomb", "large", "cut", "two", "plain", "empty"],
)
def test_a_compressed_body_is_unpacked_within_its_limit(ask: Ask, content: bytes, status: int) -> None:
    """What would be larger is refused before it is, and what is no gzip is told so."""
    assert gzipped(ask, content).status_code == status
