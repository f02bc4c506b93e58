"""The ledger of contacts: between what usages a grant stands, and that counters follow from entries."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from nextbest.ledger import EPOCH, Entry, change, given_back, made, overruns, released, reserved, room, seen
from nextbest.messages import Limit, Option, PlacementProposal, Proposal
from nextbest.records import DO_NOTHING, Contact, DecisionRecord, Usage
from nextbest.reservations import reserve
from nextbest.state import ActionSeen, DecisionMade

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def contact(action: str = "eggs", slot: int = 0, amount: int = 2) -> Contact:
    return Contact(
        decision_id="d",
        slot=slot,
        action=action,
        group="food",
        channel="web",
        decided_at=NOW,
        expires_at=NOW + HOUR,
        takes={"volume": amount},
    )


def impression(slot: int | None = None, action: str | None = None, event_id: str = "e") -> ActionSeen:
    return ActionSeen(decision_id="d", event_id=event_id, slot=slot, action=action, at=NOW)


def proposal(amounts: list[int], most: int, slots: int) -> Proposal:
    options = [
        Option(key=f"a{n}", action=f"a{n}", treatment="", group="", limits=(Limit("volume", "total", amount, most),))
        for n, amount in enumerate(amounts)
    ]
    nothing = Option(key=DO_NOTHING, action=DO_NOTHING, treatment="", group="")
    order = (*options, nothing)
    placement = PlacementProposal(id="home", channel="web", slots=slots, order=order, pmf=(0.0,) * len(order))
    record = DecisionRecord(decision_id="d", request_id="r", occurred_at=NOW, customer_id=None, policy_hash="p")
    return Proposal(record=record, placements=(placement,), dedup=True, reserves=True, ttl_seconds=60)


@given(
    amounts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    most=st.integers(0, 20),
    slots=st.integers(1, 4),
    used=st.integers(0, 25),
)
def test_a_grant_stands_between_its_thresholds(*, amounts: list[int], most: int, slots: int, used: int) -> None:
    """For every usage between the two it would be the very same; so nothing need be decided anew."""
    asked = proposal(amounts, most, slots)
    usage = {"volume@total": Usage(seen=used)}
    grant, contacts = reserve(asked, (), NOW, usage)
    least, greatest = room(asked, contacts, usage, NOW)["volume@total"]
    assert least <= used <= greatest
    for other in range(max(least, 0), min(greatest, 30) + 1):
        assert reserve(asked, (), NOW, {"volume@total": Usage(held=other)})[0] == grant


def test_counters_follow_from_what_becomes_of_a_contact() -> None:
    """Held, given back, held again by another try, and seen: each step moves just what the contact takes."""
    held = reserved({}, [contact()], "c")
    assert change({}, held).usage == {"volume": Usage(held=2)}
    gone = {key: given_back(entry) for key, entry in held.items()}
    assert change(held, gone).usage == {"volume": Usage(held=-2)}
    again = reserved(gone, [contact(amount=3)], "c")
    assert change(gone, again).usage == {"volume": Usage(held=3)}
    assert change(again, seen(again, impression(slot=0))).usage == {"volume": Usage(seen=3, held=-3)}
    assert change(again, {}).usage == {"volume": Usage(held=-3)}


def test_nobodys_contacts_are_kept_for_what_they_take() -> None:
    """They count under nobody's caps."""
    entries = reserved({}, [contact(), contact("milk", slot=1, amount=0)], None)
    assert len(entries) == 2
    bare = Contact(decision_id="d", slot=0, action="eggs", group="", channel="", decided_at=NOW, expires_at=NOW + HOUR)
    assert reserved({}, [bare], None) == {}


def test_an_impression_is_of_the_action_it_names() -> None:
    """Two tries left two actions in one slot: the one named was seen, else one that is still held."""
    tries = reserved(reserved({}, [contact("eggs")], "c"), [contact("milk")], "c")
    named = seen(tries, impression(slot=0, action="milk"))
    assert [entry.contact.action for entry in named.values() if entry.is_seen] == ["milk"]
    expired = {key: given_back(entry) if entry.contact.action == "eggs" else entry for key, entry in tries.items()}
    unnamed = seen(expired, impression(slot=0))
    assert [entry.contact.action for entry in unnamed.values() if entry.is_seen] == ["milk"]
    assert overruns(expired, unnamed) == 0


def test_the_earliest_impression_counts() -> None:
    """Whichever comes first, and however often: events may come late."""
    held = reserved({}, [contact()], "c")
    early, late = impression(slot=0), msgspec.structs.replace(impression(slot=0, event_id="l"), at=NOW + HOUR)
    once = seen(held, early)
    assert seen(once, late) == once
    assert seen(seen(held, late), early) == once
    assert seen(seen(seen(held, late), early), late) == once
    assert overruns(seen(held, late), once) == 0


def test_of_nothing_there_is_no_impression() -> None:
    """An action that the decision does not hold, and a slot that was seen, leave everything as it is."""
    held = reserved({}, [contact()], "c")
    assert seen(held, impression(action="milk")) == held
    once = seen(held, impression(slot=0))
    assert seen(once, impression(slot=0, event_id="another")) == once


def test_what_took_place_is_what_the_record_says() -> None:
    """Other tries are dropped unless they were seen; what was released is held again, and what expired stays so."""
    tries = reserved({}, [contact("eggs"), contact("milk", slot=1), contact("bread", slot=2), contact("tea", 3)], "c")
    tries = seen(released(tries, 1), impression(slot=2))
    tries = {key: given_back(entry) if entry.contact.action == "tea" else entry for key, entry in tries.items()}
    decision = DecisionMade(
        decision_id="d", customer_id="c", at=NOW, contacts=(contact("milk", slot=1), contact("tea", 3)), arms=()
    )
    after = made(tries, decision)
    assert {entry.contact.action: _status(entry) for entry in after.values()} == {
        "milk": "held",
        "tea": "given back",
        "bread": "seen",
    }
    assert made(after, decision) == after


def _status(entry: Entry) -> str:
    if entry.is_seen:
        return "seen"
    return "held" if entry.contact.expires_at > EPOCH else "given back"
