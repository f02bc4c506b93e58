"""Erasure: what is left of an entry names nobody, and still adds up."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest

from nextbest import records
from nextbest.adapters.contract_files import load_contracts
from nextbest.envelope import Envelope, Identifier
from nextbest.erasure import erasure, is_erased, without_customer, without_others
from nextbest.identity import link, unlink
from nextbest.intake import at_the_door, envelope, landed
from nextbest.records import Arm, DecisionRecord, Interaction, PlacementRecord, SlotRecord, Snapshot
from nextbest.settings import CHECKOUT
from nextbest.state import ActionSeen, CustomerErased, DecisionMade, effects

NOW = datetime(2026, 3, 2, tzinfo=UTC)
JANE = "jane"


def entry(type_: str, **properties: object) -> Envelope:
    """An entry that has the customer's name wherever one could be."""
    return Envelope(
        event_id=f"{type_}/1",
        type=type_,
        contract=f"{type_}s",
        contract_version="1.0.0",
        source="live",
        occurred_at=NOW,
        received_at=NOW,
        sent_at=NOW,
        identifiers=(Identifier(kind="email", hmac=JANE),),
        partition_key=JANE,
        decision_id="d1",
        slot=0,
        channel="web",
        action="beef",
        treatment=JANE,
        value=1.0,
        currency="USD",
        purpose="marketing",
        properties={"customer_id": JANE, **properties},
        pii_ciphertext=JANE,
        subject_key_id=JANE,
    )


def decision() -> Envelope:
    slot = SlotRecord(slot=0, action="beef", treatment="t", probability=1.0, expires_at=NOW, takes={"beef/budget": 3})
    made = DecisionRecord(
        decision_id="d1",
        request_id=JANE,
        occurred_at=NOW,
        customer_id=JANE,
        identifiers=(Identifier(kind="email", hmac=JANE),),
        policy_hash="p",
        arms=(Arm(JANE, "a", 0.5),),
        context={JANE: 1},
        features={JANE: 1},
        snapshot=Snapshot(pauses=(JANE,)),
        placements=(PlacementRecord(id="home", channel="web", pmf={}, order=(), slots=(slot,)),),
    )
    return entry("decision", slot=0, record=records.encode(made).decode())


@pytest.mark.parametrize("before", [decision(), *map(entry, ("impression", "event", "outcome", "consent", "identity"))])
def test_nothing_names_the_customer(before: Envelope) -> None:
    """Whatever kind of entry it was; no contract has rows of it, so it does not land."""
    after = without_customer(before)
    assert JANE.encode() not in msgspec.json.encode(after)
    assert (after.event_id, after.contract) == (before.event_id, "")


@pytest.mark.parametrize("way_in", [envelope, landed, at_the_door])
def test_no_id_names_the_customer(way_in: Callable[..., Any]) -> None:
    """An id outlasts the erasure: that of a tie is of both names, and the same for the same tie alone."""
    contract = load_contracts(CHECKOUT / "data_contracts")["identities"]
    digest = "ab" * 32
    row = {"kind": "email", "identifier_hmac": digest, "customer_id": JANE, "linked_at": NOW, "source": "live"}

    def said(**other: object) -> Envelope:
        if way_in is at_the_door:
            return envelope(at_the_door(contract), row | other, NOW)
        taken: Envelope = way_in(contract, row | other, NOW)
        return taken

    left = without_customer(said()).event_id
    assert JANE not in left
    assert digest not in left
    assert said().event_id == left
    assert said(identifier_hmac="cd" * 32).event_id != left


@pytest.mark.parametrize("word", [partial(link, by="review"), partial(unlink, by="review")])
def test_the_id_of_a_link_names_neither(word: Callable[..., Envelope]) -> None:
    """Whoever is named first it is the same."""
    said = word(JANE, "john", NOW)
    assert JANE.encode() not in msgspec.json.encode(without_customer(said))
    assert "john" not in said.event_id
    assert word("john", JANE, NOW).event_id == said.event_id != word("joan", JANE, NOW).event_id


def test_what_was_taken_of_a_budget_stays_taken() -> None:
    """A State that is rebuilt counts the decision and its impression as before, for nobody."""
    (made,) = effects(without_customer(decision()))
    assert isinstance(made, DecisionMade)
    assert (made.customer_id, made.contacts[0].takes, made.arms) == (None, {"beef/budget": 3}, ())
    (seen,) = effects(without_customer(entry("impression")))
    assert isinstance(seen, ActionSeen)
    assert (seen.decision_id, seen.slot, seen.action) == ("d1", 0, "beef")


def test_a_decision_for_somebody_else_keeps_nothing_of_who_was_one_with_them() -> None:
    """It is still theirs, with what it took; another one, and what is no decision, is as it was."""
    made = records.decode(decision().properties["record"])
    known = Snapshot(members=("john", JANE), interactions=(Interaction(kind=JANE, at=NOW),))
    made = msgspec.structs.replace(made, customer_id="john", request_id="r", arms=(Arm("e", "a", 0.5),), snapshot=known)
    properties = {"customer_id": "john", "slot": 0, "record": records.encode(made).decode(), "learning": True}
    before = Envelope(
        event_id="decisions/1",
        type="decision",
        contract="decisions",
        contract_version="1.0.0",
        source="live",
        occurred_at=NOW,
        received_at=NOW,
        partition_key="john",
        properties=properties,
    )
    after = without_others(before, {JANE, f"email:{JANE}"})
    assert JANE.encode() not in msgspec.json.encode(after)
    assert (after.partition_key, after.contract, after.properties["learning"]) == ("john", "decisions", False)
    assert effects(after) == effects(before)
    assert is_erased(records.decode(after.properties["record"]))
    assert without_others(after, {JANE, f"email:{JANE}"}) is after
    assert without_others(before, {"joan"}) is before
    assert without_others(entry("event"), {JANE}).properties == {"customer_id": JANE}


@pytest.mark.parametrize("type_", ["event", "outcome", "consent", "identity"])
def test_what_was_said_has_no_effect_any_more(type_: str) -> None:
    """A rebuilt State hears nothing of it."""
    assert effects(without_customer(entry(type_))) == ()


def test_the_log_says_who_is_to_be_forgotten() -> None:
    """So that a State that is rebuilt from it forgets too."""
    assert effects(erasure("erasure/1", "c1", NOW)) == (CustomerErased(names=("c1",)),)
