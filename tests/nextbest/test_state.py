"""What a record of the log does to State, whatever the adapter."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from nextbest.envelope import Envelope
from nextbest.identity import NamesTied, Tie
from nextbest.records import Interaction
from nextbest.state import (
    ActionSeen,
    ActionSwitched,
    ConsentChanged,
    CustomerInteracted,
    Effect,
    effects,
)

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def record(kind: str, properties: dict[str, Any], **fields: Any) -> Envelope:
    return Envelope(
        event_id="e1",
        type=kind,
        contract=f"{kind}s",
        contract_version="1.0.0",
        source="live",
        occurred_at=AT,
        received_at=AT,
        partition_key="c1",
        properties=properties,
        **fields,
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            record("consent", {"customer_id": "c1", "purpose": "marketing", "status": "withdrawn", "regime": "opt_in"}),
            ConsentChanged(customer_id="c1", purpose="marketing", status="withdrawn", at=AT),
        ),
        (
            record("identity", {"kind": "email", "identifier_hmac": "ab", "customer_id": "c1"}),
            NamesTied(one="email:ab", other="c1", tie=Tie(joined=int(AT.timestamp() * 1e6))),
        ),
        (
            record("impression", {"decision_id": "d1", "action": "eggs"}),
            ActionSeen(decision_id="d1", event_id="e1", slot=None, action="eggs", at=AT),
        ),
        (record("pause", {}, action="eggs"), ActionSwitched(action="eggs", is_paused=True, at=AT)),
        (record("resume", {}, action="eggs"), ActionSwitched(action="eggs", is_paused=False, at=AT)),
    ],
)
def test_each_type_has_its_effect(given: Envelope, expected: Effect) -> None:
    """Consents, identities, impressions and the kill switch change State."""
    assert effects(given) == (expected,)


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("consent", {"customer_id": "c1", "purpose": "marketing", "status": "granted"}),
        ("identity", {"kind": "email", "identifier_hmac": "ab", "customer_id": "c1"}),
        ("pause", {}),
    ],
)
def test_what_is_dated_in_the_future_holds_from_when_it_was_received(kind: str, properties: dict[str, Any]) -> None:
    """A clock that runs ahead must not overrule what the customer says afterwards."""
    ahead = msgspec.structs.replace(record(kind, properties, action="eggs"), occurred_at=AT + timedelta(days=400))
    (effect,) = effects(ahead)
    if isinstance(effect, NamesTied):
        assert effect.tie.latest == int(AT.timestamp() * 1e6)
    else:
        assert isinstance(effect, ConsentChanged | ActionSwitched)
        assert effect.at == AT


@pytest.mark.parametrize(
    "given",
    [
        record("outcome", {"action": "eggs", "kind": "redemption"}),
        record("event", {"customer_id": "c1"}),
        record("impression", {"action": "eggs"}),
    ],
)
def test_what_state_does_not_keep_has_no_effect(given: Envelope) -> None:
    """What is about no customer, of no kind, or seen of nothing we decided, leaves State alone."""
    assert effects(given) == ()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (record("event", {"customer_id": "c1", "type": "click"}, action="eggs", channel="web"), "click"),
        (record("outcome", {"customer_id": "c1", "kind": "complaint"}, action="eggs", channel="web"), "complaint"),
    ],
)
def test_what_a_customer_does_is_an_interaction(given: Envelope, kind: str) -> None:
    """Events by their type and outcomes by their kind are what suppressions and caps may count."""
    done = Interaction(kind=kind, at=AT, action="eggs", channel="web")
    assert effects(given) == (CustomerInteracted(event_id="e1", customer_id="c1", interaction=done),)


@pytest.mark.parametrize("kind", ["consent", "identity", "decision", "pause"])
def test_a_malformed_record_names_its_field(kind: str) -> None:
    """A record that lacks what its type asks for is refused, not half applied."""
    with pytest.raises(msgspec.ValidationError, match=r"customer_id|kind|slot|names the action"):
        effects(record(kind, {}))
