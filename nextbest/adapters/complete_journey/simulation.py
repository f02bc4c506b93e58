"""What The Complete Journey does not hold: identifiers, consents and digital behaviour, synthesized.

Belongs here: rows marked `source=simulated` for households of the demo. Does not belong here: whose names and addresses
they give (`people`), or answers to our own decisions (`nextbest.market`).

Every draw is a hash of its purpose and the customer, so a customer's rows are the same in every sample of households.
"""

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pyarrow as pa

from nextbest.adapters.complete_journey.mapping import TIME_ZONE
from nextbest.adapters.complete_journey.people import as_typed, person, web_account
from nextbest.contracts import Contract
from nextbest.hashing import uniform

Row = dict[str, Any]

# A key that everyone may know: it guards identifiers of households that nobody can be.
_DEMO_KEY = b"nextbest demo"
_DAYS_OF_EVENTS = 28


@dataclass(frozen=True, slots=True)
class History:
    """The shifted time the data covers, and what each customer may be seen to look at, most bought first."""

    start: datetime
    end: datetime
    categories: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Purpose:
    name: str
    regime: str
    grants: float
    withdraws: float


_PURPOSES = (
    _Purpose("marketing", "opt_in", grants=0.95, withdraws=0.06),
    _Purpose("personalization", "opt_in", grants=0.97, withdraws=0.03),
    _Purpose("analytics", "opt_out", grants=0.0, withdraws=0.02),
)


def simulate(contract: Contract, history: History) -> pa.Table:
    """The rows of one of `SIMULATED` for the customers of `history`, in the contract's columns."""
    rows = [
        {"customer_id": customer} | row | {"source": "simulated"}
        for customer in history.categories
        for row in SIMULATED[contract.name](customer, history)
    ]
    return pa.Table.from_pylist(rows, schema=contract.schema)


def identifier_hmac(kind: str, value: str) -> str:
    """HMAC-SHA256 of an identifier under the demo's key, as 64 hex digits."""
    return hmac.new(_DEMO_KEY, f"{kind}:{value}".encode(), sha256).hexdigest()


def _unit(*key: str) -> float:
    """A number in (0, 1), uniform over keys."""
    return uniform("complete journey", *key)


def _customers(customer: str, history: History) -> Iterator[Row]:
    """An account in the web shop is a customer of its own, of whom nothing else is known."""
    if account := web_account(customer):
        yield {"customer_id": account, "time_zone": TIME_ZONE, "updated_at": history.start}


def _identities(customer: str, history: History) -> Iterator[Row]:
    """A card, whose form asks for name and address, and an e-mail address; some have an account in the web shop too."""
    card = f"4{int(1e11 * _unit('loyalty card', customer)):011d}"
    yield _identity("loyalty_card", card, history) | person(customer)
    yield _identity("email", f"household.{customer}@example.com", history)
    if account := web_account(customer):
        typed = as_typed(person(customer), account)
        yield _identity("email", f"{account}@example.com", history) | typed | {"customer_id": account}


def _identity(kind: str, value: str, history: History) -> Row:
    return {
        "kind": kind,
        "identifier_hmac": identifier_hmac(kind, value),
        "value": value,
        "linked_at": history.start,
    }


def _consents(customer: str, history: History) -> Iterator[Row]:
    for purpose in _PURPOSES:
        is_granted = _unit("grant", purpose.name, customer) < purpose.grants
        if is_granted:
            yield _consent(customer, purpose, "granted", history.start)
        is_given = is_granted or purpose.regime == "opt_out"
        if is_given and _unit("withdraw", purpose.name, customer) < purpose.withdraws:
            elapsed = (history.end - history.start) * _unit("withdrawn at", purpose.name, customer)
            yield _consent(customer, purpose, "withdrawn", history.start + elapsed)


def _consent(customer: str, purpose: _Purpose, status: str, occurred_at: datetime) -> Row:
    return {
        "consent_id": f"{customer}-{purpose.name}-{status}",
        "purpose": purpose.name,
        "status": status,
        "regime": purpose.regime,
        "occurred_at": occurred_at,
    }


def _events(customer: str, history: History) -> Iterator[Row]:
    categories = history.categories[customer]
    if not categories:
        return
    for visit in range(int(4 * _unit("visits", customer))):
        yield from _session(f"{customer}-visit-{visit}", categories, history)
    for email in range(int(3 * _unit("emails", customer))):
        event_id = f"{customer}-email-{email}"
        category = _pick(categories, event_id)
        yield _event(event_id, "email_open", "email", _moment(event_id, history), category=category)


def _session(session: str, categories: Sequence[str], history: History) -> Iterator[Row]:
    """A page, then one to three products of a category, the last of which may go into the cart."""
    began_at = _moment(session, history)
    channel = "app" if _unit("channel", session) < 0.4 else "web"  # noqa: PLR2004  two visits in five come by app
    category = _pick(categories, session)
    types = ["page_view"] + ["product_view"] * (1 + int(3 * _unit("views", session)))
    if _unit("cart", session) < 0.3:  # noqa: PLR2004  three visits in ten fill a cart
        types.append("add_to_cart")
    for position, kind in enumerate(types):
        occurred_at = began_at + timedelta(seconds=40 * position)
        subject = {} if kind == "page_view" else {"category": category}
        yield _event(f"{session}-{position}", kind, channel, occurred_at, session_id=session, **subject)


def _event(event_id: str, kind: str, channel: str, occurred_at: datetime, **others: str) -> Row:
    return {
        "event_id": event_id,
        "type": kind,
        "channel": channel,
        "occurred_at": occurred_at,
        "received_at": occurred_at + timedelta(seconds=1),
        **others,
    }


def _pick(categories: Sequence[str], purpose: str) -> str:
    return categories[int(len(categories) * _unit("category", purpose))]


def _moment(purpose: str, history: History) -> datetime:
    """A moment of the last weeks, early enough that what follows from it lies in the history too."""
    ago = timedelta(minutes=5) + timedelta(days=_DAYS_OF_EVENTS) * _unit("moment", purpose)
    return (history.end - ago).replace(microsecond=0)


SIMULATED: Mapping[str, Callable[[str, History], Iterator[Row]]] = {
    "customers": _customers,
    "identities": _identities,
    "consents": _consents,
    "events": _events,
}
