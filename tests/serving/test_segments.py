"""Names in a path may hold any character, and are what was sent."""

from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., Any]


@pytest.mark.parametrize(
    ("sent", "customer"),
    [
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("%2F", "/"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("%00", "\0"),
        ("%63%31", "c1"),
        ("100%25", "100%"),
    ],
)
def test_a_customer_is_reached_whatever_the_id(ask: Ask, sent: str, customer: str) -> None:
    """An encoded slash is part of the id, and nothing is decoded twice."""
    response = ask("GET", f"/v1/customers/{sent}/consents")
    assert (response.status_code, response.json()["customer_id"]) == (200, customer)


def test_consents_of_an_id_with_a_slash_are_its_own(ask: Ask) -> None:
    """What is said for one customer is found under the same address, and under no other."""
    body = {"consents": {"marketing": "withdrawn"}}
    assert ask("PUT", "/v1/customers/a%2Fb/consents", json=body).status_code == 200
    said = {
        sent: ask("GET", f"/v1/customers/{sent}/consents").json()["consents"][0]["status"] for sent in ("a%2Fb", "a")
    }
    assert said == {"a%2Fb": "withdrawn", "a": None}


def test_a_path_that_is_not_utf_8_is_nobodys(ask: Ask) -> None:
    """It is not read as another name: two customers would share one."""
    response = ask("GET", "/v1/customers/%FF/consents")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_an_address_may_be_written_encoded(ask: Ask) -> None:
    """A letter and its code are the same address (RFC 3986, 6.2.2.2)."""
    assert ask("GET", "/%68ealthz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/customers//consents", "/v1/customers/a/b/consents", "/healthz/"])
def test_slashes_separate(ask: Ask, path: str) -> None:
    """One that is not encoded is never part of a name."""
    assert ask("GET", path).status_code == 404
