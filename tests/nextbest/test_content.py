"""Content: what a channel shows of a decision."""

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from nextbest.content import content_of
from nextbest.decision import decide, settle
from nextbest.messages import Profile, Request
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import DO_NOTHING, PlacementRecord, SlotRecord, Snapshot
from nextbest.reservations import reserve
from nextbest.situation import Models

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def shown(document: dict[str, Any], models: Models, text: str, action: str = "apples") -> dict[str, str]:
    """What a customer who spent 50 and whose weather is not known sees of an action whose headline is `text`."""
    document["actions"]["actions"][0]["treatments"][0]["content"] = {"headline": text}
    policy = compiled(document)
    request = Request(decision_id="d", request_id="r", customer_id="c", placements=("home",), context={"city": "Köln"})
    snapshot, profile = Snapshot(consents={"marketing": "granted"}), Profile(features={"spend_91d": 50.0})
    proposal = decide(request, profile, policy, models, snapshot, NOW)
    record = settle(proposal, reserve(proposal, (), NOW)[0])
    slot = SlotRecord(slot=0, action=action, treatment=f"{action}_home", probability=1.0)
    return content_of(policy, record, record.placements[0], slot)


def compiled(document: dict[str, Any]) -> Policy:
    document["features"]["features"].append(
        {"name": "city", "kind": "text", "origin": "context", "default": "your town", "description": "where"}
    )
    return compile_policy(PolicyDocument.model_validate(document))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Apples for you", "Apples for you"),
        ("{{ action.name }} for {{ customer.spend_91d }} USD in {{ context.city }}", "Apples for 50 USD in Köln"),
        ("{{ customer.visits }} visits", "1 visits"),
        ("{% if context.weather == 'rain' %}Stay in{% else %}Come in{% endif %}", "Come in"),
    ],
)
def test_templates_are_filled_in(document: dict[str, Any], models: Models, *, text: str, expected: str) -> None:
    """A text has what is known of the customer, the request and the action; what is missing is its default."""
    assert shown(document, models, text) == {"headline": expected}
    assert check(PolicyDocument.model_validate(document)) == []


def test_doing_nothing_shows_the_fallback(document: dict[str, Any], models: Models) -> None:
    """So does a treatment that the policy of today has no more: it shows nothing that somebody else meant."""
    assert shown(document, models, "any", action=DO_NOTHING) == {"headline": "Hi"}
    assert shown(document, models, "any", action="gone") == {}


def test_a_template_that_fails_shows_the_fallback(
    document: dict[str, Any], models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in a text is the policy's, not the customer's: it is said in the log."""
    with caplog.at_level(logging.ERROR):
        assert shown(document, models, "{{ customer.unheard_of }}") == {"headline": "Hi"}
    assert "apples/apples_home of decision d shows the fallback" in caplog.text


def test_a_placement_that_is_gone_shows_nothing(policy: Policy, models: Models) -> None:
    """A decision of yesterday may be about a place there is no more."""
    request = Request(decision_id="d", request_id="r", customer_id="c", placements=("home",))
    record = decide(request, Profile(), policy, models, Snapshot(), NOW).record
    attic = PlacementRecord(id="attic", channel="web", pmf={}, order=())
    slot = SlotRecord(slot=0, action="apples", treatment="t", probability=1.0)
    assert content_of(policy, msgspec.structs.replace(record, placements=(attic,)), attic, slot) == {}
