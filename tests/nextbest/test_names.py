"""The name of a customer in one word."""

import msgspec
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.names import CustomerNames
from nextbest.settings import CHECKOUT
from nextbest.wire import CustomerReference

HMAC = "ab" * 32


@pytest.fixture(scope="module")
def names() -> CustomerNames:
    return CustomerNames(load_contracts(CHECKOUT / "data_contracts")["identities"])


@pytest.mark.parametrize("customer_id", ["439", "crm:439", "urn:uuid:1b4e28ba", "a:b", ":a", "a:", HMAC, f":{HMAC}"])
def test_an_id_may_have_colons(names: CustomerNames, customer_id: str) -> None:
    """Only what an identifier looks like is none."""
    assert names.meant_by(customer_id) == CustomerReference(customer_id=customer_id)


def test_a_kind_and_a_keyed_hash_are_an_identifier(names: CustomerNames) -> None:
    """Of a kind that the contract has."""
    assert names.meant_by(f"email:{HMAC}") == CustomerReference(kind="email", hmac=HMAC)


@pytest.mark.parametrize(
    "name",
    [
        "email:a@example.org",
        "email:mailto:a@example.org",
        "device:aa:bb:cc:dd:ee:ff",
        f"device:{HMAC.upper()}",
        "email:",
        f"email:x:{HMAC}",
        f"phone:{HMAC}",
        "x" * 201,
        "",
    ],
)
def test_what_is_neither_is_refused(names: CustomerNames, name: str) -> None:
    """An address where its keyed hash belongs becomes nobody's id, which would be kept; who asks is told what it is."""
    with pytest.raises(
        msgspec.ValidationError, match=r"loyalty_card, email, .* 64 lower-case hexadecimal digits"
    ) as caught:
        names.meant_by(name)
    assert "example.org" not in str(caught.value)
