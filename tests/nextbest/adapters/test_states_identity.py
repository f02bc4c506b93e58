"""A customer of several names, on SQLite and on Redis alike: a merge is a union, a split gives back what was before."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import LANDED, Envelope, Identifier
from nextbest.erasure import erasure
from nextbest.identity import CROWD, link, unlink
from nextbest.messages import Bound, Cap, Option, PlacementProposal, Proposal
from nextbest.records import DO_NOTHING, Arm, DecisionRecord, Snapshot
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, StateBehindError

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)
EVERYTHING = SnapshotScope(LONG_AGO, LONG_AGO, now=NOW)
CAP = Cap(rule="weekly", scope="all", member="", count="decision", limit=2, window_seconds=7 * 86_400)
MAIL = Identifier("email", "a" * 64)
VISITOR = f"anonymous_id:{'b' * 64}"


def record(type_: str, event_id: str, at: datetime = NOW, **properties: Any) -> Envelope:
    return Envelope(
        event_id=event_id,
        type=type_,
        contract=f"{type_}s",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=NOW + timedelta(days=1),
        partition_key=str(properties.get("customer_id")),
        properties=properties,
    )


def identity(customer_id: str, identifier: str, at: datetime = NOW, prefix: str = "") -> Envelope:
    kind, _, hmac = identifier.partition(":")
    event_id = f"{prefix}{identifier}/{customer_id}"
    return record("identity", event_id, at, kind=kind, identifier_hmac=hmac, customer_id=customer_id)


def consent(customer_id: str, status: str, at: datetime = NOW) -> Envelope:
    return record("consent", f"{customer_id}{at}", at, customer_id=customer_id, purpose="marketing", status=status)


def visit(customer_id: str, number: int) -> Envelope:
    at = NOW + timedelta(seconds=number)
    return record("event", f"{customer_id}-{number}", at, customer_id=customer_id, type="page_view")


def proposal(decision_id: str, customer_id: str | None, arms: tuple[Arm, ...] = (), at: datetime = NOW) -> Proposal:
    option = Option(key="eggs/mail", action="eggs", treatment="mail", group="food")
    nothing = Option(key=DO_NOTHING, action=DO_NOTHING, treatment="", group="")
    placement = PlacementProposal(
        id="home",
        channel="web",
        slots=1,
        order=(option, nothing),
        pmf=(1.0, 0.0),
        caps={("all", ""): [Bound(CAP, frozenset({option.key}))]},
    )
    made = DecisionRecord(
        decision_id=decision_id,
        request_id=decision_id,
        occurred_at=at,
        customer_id=customer_id,
        policy_hash="p",
        arms=arms,
    )
    return Proposal(record=made, placements=(placement,), dedup=True, reserves=True, ttl_seconds=3_600)


def apply(state: OpenState, *records: Envelope) -> None:
    asyncio.run(state.apply(records, None))


def known(state: OpenState, name: str) -> Snapshot:
    return asyncio.run(state.snapshot(name, EVERYTHING))


def chosen(state: OpenState, asked: Proposal) -> str:
    return asyncio.run(state.reserve(asked, NOW)).placements["home"][0].key


def members(state: OpenState, name: str) -> tuple[str, ...]:
    return asyncio.run(state.members([name]))[name]


@pytest.fixture
def state(home: Callable[[], Settings]) -> Iterator[OpenState]:
    with closing(open_state(home())) as state:
        yield state


def test_an_identifier_finds_its_customer(state: OpenState) -> None:
    """The first that is known; where none is, there is a new customer of that name."""
    unknown = Identifier("email", "c" * 64)
    assert asyncio.run(state.customer_of([])) is None
    assert asyncio.run(state.customer_of([unknown, MAIL])) == f"email:{'c' * 64}"
    apply(state, identity("c1", f"email:{'a' * 64}"))
    assert asyncio.run(state.customer_of([unknown, MAIL])) == "c1"


def test_what_a_crowd_names_finds_nobody(state: OpenState) -> None:
    """A placeholder is not looked through, however many name it; who names it besides keeps what is theirs."""
    placeholder = f"email:{'a' * 64}"
    apply(state, *(identity(f"c{number}", placeholder) for number in range(3 * CROWD)), identity("c1", VISITOR))
    assert asyncio.run(state.customer_of([MAIL])) == placeholder
    assert members(state, placeholder) == (placeholder,)
    assert members(state, VISITOR) == ("c1", VISITOR)
    assert len(asyncio.run(state.neighbours([placeholder]))) == 3 * CROWD


def test_what_was_said_of_one_in_a_crowd_is_kept(state: OpenState) -> None:
    """An earlier word changes nothing, though not all that was said of the identifier is looked at."""
    placeholder, crowd = f"email:{'a' * 64}", [f"c{number}" for number in range(3 * CROWD)]
    apply(state, *(identity(each, placeholder) for each in crowd))
    apply(state, *(unlink(each, placeholder, NOW + timedelta(hours=1), by="me") for each in crowd[2:9]))
    apply(state, *(identity(each, placeholder, NOW + timedelta(minutes=1)) for each in crowd[2:9]))
    for first in range(9, len(crowd), 50):
        apply(state, erasure(f"erasure/{first}", crowd[first], NOW, crowd[first : first + 50]))
    assert members(state, placeholder) == ("c0", "c1", placeholder)


def test_a_login_is_a_union(state: OpenState) -> None:
    """Contacts and interactions add, the stricter consent and the earliest arm hold; by whatever name one asks."""
    early, late = Arm("control", "treated", 0.9), Arm("control", "control", 0.1)
    apply(state, consent(VISITOR, "withdrawn", LONG_AGO), consent("c1", "granted"), visit(VISITOR, 2), visit("c1", 1))
    assert chosen(state, proposal("d1", VISITOR, (early,), NOW - timedelta(days=1))) == "eggs/mail"
    assert chosen(state, proposal("d2", "c1", (late,))) == "eggs/mail"
    before = known(state, VISITOR), known(state, "c1")
    apply(state, identity("c1", VISITOR))
    merged = known(state, VISITOR)
    assert merged == known(state, "c1")
    assert merged.members == ("c1", VISITOR)
    assert merged.consents == {"marketing": "withdrawn"}
    assert [each.decision_id for each in merged.contacts] == ["d1", "d2"]
    assert merged.interactions == before[1].interactions + before[0].interactions
    assert merged.arms == (early,)


def test_a_split_gives_back_what_was_before(state: OpenState) -> None:
    """Whatever was filed under each name is still there."""
    apply(state, consent(VISITOR, "withdrawn"), consent("c1", "granted"), visit(VISITOR, 1), visit("c1", 2))
    chosen(state, proposal("d1", VISITOR))
    before = known(state, VISITOR), known(state, "c1")
    apply(state, identity("c1", VISITOR))
    apply(state, unlink("c1", VISITOR, NOW + timedelta(seconds=1), by="me"))
    assert (known(state, VISITOR), known(state, "c1")) == before
    apply(state, link("c1", VISITOR, NOW + timedelta(seconds=2), by="me"))
    assert members(state, "c1") == ("c1", VISITOR)


def test_a_cap_binds_across_the_names_of_a_customer(state: OpenState) -> None:
    """What the visitor was shown counts once they have logged in, and the other way round."""
    chosen(state, proposal("d1", VISITOR))
    chosen(state, proposal("d2", "c1"))
    assert chosen(state, proposal("d3", "c2")) == "eggs/mail"
    apply(state, identity("c1", VISITOR))
    assert chosen(state, proposal("d4", "c1")) == DO_NOTHING
    assert chosen(state, proposal("d5", VISITOR)) == DO_NOTHING


def test_a_merge_between_reading_and_reserving_is_seen(state: OpenState) -> None:
    """The reservation rests on who the customer is: it is tested again where that has changed."""
    chosen(state, proposal("d1", VISITOR))
    chosen(state, proposal("d2", "c1"))
    known(state, "c1")
    apply(state, identity("c1", VISITOR))
    assert chosen(state, proposal("d3", "c1")) == DO_NOTHING


def test_what_expired_under_another_name_is_given_back(state: OpenState) -> None:
    """Its place is free for the customer as a whole."""
    apply(state, identity("c1", VISITOR))
    chosen(state, proposal("d1", VISITOR))
    later = NOW + timedelta(hours=2)
    asyncio.run(state.reserve(proposal("d2", "c1", at=later), later))
    contacts = asyncio.run(state.snapshot("c1", SnapshotScope(NOW, NOW, now=later))).contacts
    assert [each.decision_id for each in contacts] == ["d2"]


def test_an_erased_customer_is_forgotten_under_every_name(state: OpenState) -> None:
    """And nobody else: who shares an identifier with them keeps it."""
    shared = f"email:{'a' * 64}"
    apply(state, identity("c1", VISITOR), identity("c1", shared), identity("c2", shared), identity("c3", shared))
    apply(state, consent(VISITOR, "granted"), visit(VISITOR, 1), visit("c1", 2), visit("c2", 3))
    assert members(state, "c2") == ("c2",)
    apply(state, erasure("erasure/1", "c1", NOW, members(state, "c1")))
    assert known(state, VISITOR) == known(state, "c1") == Snapshot()
    assert members(state, VISITOR) == (VISITOR,)
    assert members(state, "c3") == ("c2", "c3", shared)
    assert asyncio.run(state.neighbours(["c1", VISITOR])) == set()
    assert len(known(state, "c2").interactions) == 1


def test_an_erasure_stands_between_what_was_said_before_and_after(state: OpenState) -> None:
    """In one batch, too."""
    erased = erasure("erasure/1", "c1", NOW, ["c1", VISITOR])
    apply(state, identity("c1", VISITOR), visit("c1", 1), erased, identity("c2", VISITOR), visit("c2", 2))
    assert (members(state, "c1"), members(state, VISITOR)) == (("c1",), ("c2", VISITOR))
    assert (len(known(state, "c1").interactions), len(known(state, VISITOR).interactions)) == (0, 1)


def test_what_was_said_twice_of_two_is_kept_together(state: OpenState) -> None:
    """In one batch, in which the earlier word comes last."""
    apply(state, unlink("c1", "c2", NOW + timedelta(hours=1), by="me"), link("c1", "c2", NOW, by="me"))
    assert members(state, "c1") == ("c1",)


def test_ties_go_with_the_log(state: OpenState) -> None:
    """Applied twice they change nothing, and emptying State takes them away."""
    ties = [identity("c1", VISITOR), link("c1", "c2", NOW, by="me")]
    for _ in range(2):
        asyncio.run(state.apply(ties, 2, "log", is_end=True))
    apply(state, *ties)
    assert members(state, "c2") == ("c1", "c2", VISITOR)
    asyncio.run(state.clear())
    assert members(state, "c2") == ("c2",)
    with pytest.raises(StateBehindError):
        asyncio.run(state.snapshot("c1", EVERYTHING, "log"))


def test_limits_are_the_homes(home: Callable[[], Settings]) -> None:
    """What a house allows a device, it allows it."""
    settings = replace(home(), identity_limits="anonymous_id=2 customers=9")
    with closing(open_state(settings)) as state:
        apply(state, identity("c1", VISITOR), identity("c2", VISITOR))
        assert members(state, VISITOR) == ("c1", "c2", VISITOR)


NAMES = ("c1", "c2", "c3", VISITOR, f"email:{'a' * 64}", f"device:{'d' * 64}")
MOMENTS = st.integers(0, 3).map(lambda minutes: NOW + timedelta(minutes=minutes))
PAIRS = st.permutations(NAMES).map(lambda names: (names[0], names[1]))
SAID = st.one_of(
    st.builds(lambda pair, at: link(pair[0], pair[1], at, by="me"), PAIRS, MOMENTS),
    st.builds(lambda pair, at: unlink(pair[0], pair[1], at, by="me"), PAIRS, MOMENTS),
    st.builds(identity, st.sampled_from(NAMES), st.sampled_from(NAMES[3:]), MOMENTS, st.sampled_from(["", LANDED])),
    st.builds(consent, st.sampled_from(NAMES), st.sampled_from(["granted", "withdrawn"]), MOMENTS),
    st.builds(visit, st.sampled_from(NAMES), st.integers(0, 3)),
)


@examples(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SAID, max_size=10, unique_by=lambda each: each.event_id), st.randoms())
def test_any_order_comes_to_the_same(home: Callable[[], Settings], said: Sequence[Envelope], random: Any) -> None:
    """A merge commutes and associates: whoever is one, and what is known of them, follows from what was said.

    All at once or one by one.
    """

    def after(*batches: Sequence[Envelope]) -> list[Snapshot]:
        with closing(open_state(home())) as state:
            for records in batches:
                apply(state, *records)
            return [known(state, name) for name in NAMES]

    other = [*said, *said[:2]]
    random.shuffle(other)
    assert after(other) == after(*([each] for each in other)) == after(said)
