"""Who is who: the graph comes to the same in any order, a split undoes a merge, and what many share glues nobody."""

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.envelope import Identifier
from nextbest.errors import SettingError
from nextbest.identity import (
    CROWD,
    USUAL_LIMITS,
    Alter,
    Limits,
    NamesTied,
    Node,
    Tie,
    identifier_of,
    joining,
    leaving,
    link,
    name_of,
    regroup,
    together,
    unlink,
)
from nextbest.state import effects

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
LIMITS = Limits({"email": 2}, customers=3, identifiers=3)
Said = tuple[str, str, Tie]


def named(kind: str, number: int) -> str:
    return f"{kind}:{number:064x}"


MAIL, DEVICE, VISITOR = named("email", 1), named("device", 1), named("anonymous_id", 1)
CUSTOMERS = ["a", "b", "c", "d", "e"]
IDENTIFIERS = [*(named("email", n) for n in range(3)), *(named("device", n) for n in range(3)), VISITOR]
TIES = st.builds(lambda kind, at: Tie(**{kind: at}), st.sampled_from(["joined", "landed", "split"]), st.integers(1, 6))
PAIRS = st.one_of(
    st.tuples(st.sampled_from(IDENTIFIERS), st.sampled_from(CUSTOMERS)),
    st.tuples(st.sampled_from(IDENTIFIERS), st.sampled_from(IDENTIFIERS)),
    st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from(CUSTOMERS)),
).filter(lambda pair: pair[0] != pair[1])
SAID = st.builds(lambda pair, tie: (*pair, tie), PAIRS, TIES)


class Graph:
    """A store of the graph, as State keeps it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._ties: dict[str, dict[str, Tie]] = {}
        self._customers: dict[str, str] = {}

    def say(self, *said: NamesTied) -> None:
        """All of it together."""
        self._regroup({name for each in said for name in (each.one, each.other)}, joining(said))
        for each in said:
            for name, end in ((each.one, each.other), (each.other, each.one)):
                ends = self._ties.setdefault(name, {})
                ends[end] = ends.get(end, Tie()) | each.tie

    def forget(self, names: Collection[str]) -> None:
        near = {end for name in names for end in self._ties.get(name, {})}
        self._regroup(near | {*names}, leaving(names))
        for name in names:
            self._ties.pop(name, None)
        for ends in self._ties.values():
            for name in names:
                ends.pop(name, None)

    def people(self) -> set[frozenset[str]]:
        """The customers of several names."""
        found: dict[str, set[str]] = {}
        for name, customer in self._customers.items():
            found.setdefault(customer, set()).add(name)
        return {frozenset(names) for names in found.values()}

    def customer(self, name: str) -> str:
        return self._customers.get(name, name)

    def _regroup(self, touched: Collection[str], alter: Alter) -> None:
        regrouping = regroup(touched, self._limits, alter)
        wanted = next(regrouping)
        try:
            while True:
                wanted = regrouping.send({name: self._node(name) for name in wanted})
        except StopIteration as end:
            for name, customer in end.value.items():
                self._customers.pop(name, None)
                if customer is not None:
                    self._customers[name] = customer

    def _node(self, name: str) -> Node:
        customer = self._customers.get(name)
        group = tuple(each for each, whose in self._customers.items() if whose == customer)
        return Node(ties=dict(self._ties.get(name, {})), group=group)


def graph_of(said: Collection[Said], limits: Limits = LIMITS) -> Graph:
    graph = Graph(limits)
    for one, other, tie in said:
        graph.say(NamesTied(one=one, other=other, tie=tie))
    return graph


def joined(at: int = 1) -> Tie:
    return Tie(joined=at)


def test_a_login_merges_a_visitor_with_a_customer() -> None:
    """They are one, under the customer's id; what else is known of either comes along."""
    graph = graph_of([(MAIL, "b", joined()), (VISITOR, "b", joined())])
    assert graph.people() == {frozenset({"b", MAIL, VISITOR})}
    assert graph.customer(VISITOR) == "b"


def test_customers_who_share_what_two_may_share_are_one() -> None:
    """The smallest id names them."""
    graph = graph_of([(MAIL, "b", joined()), (MAIL, "a", joined())])
    assert graph.customer("b") == graph.customer(MAIL) == "a"


def test_what_more_share_glues_nobody() -> None:
    """A placeholder of an address, or a device in a library, belongs to none of those who name it."""
    shared = [(DEVICE, "a", joined()), (DEVICE, "b", joined()), *((MAIL, each, joined()) for each in "abc")]
    assert graph_of(shared).people() == set()
    assert graph_of([*shared, (MAIL, "a", Tie(split=2))]).people() == {frozenset({"b", "c", MAIL})}


def test_a_chain_of_more_customers_than_one_person_has_falls_apart() -> None:
    """What only one of them names stays theirs."""
    chain = [(named("email", n), customer, joined()) for n, pair in enumerate(["ab", "bc", "cd"]) for customer in pair]
    own = (DEVICE, "a", joined())
    assert graph_of([*chain, own]).people() == {frozenset({"a", DEVICE})}
    assert graph_of([*chain[:4], own]).customer("c") == "a"


def test_what_many_reach_through_other_identifiers_glues_nobody() -> None:
    """A device of a library is none of its visitors', and what each of them logged in with stays theirs."""
    visitors = [named("anonymous_id", n) for n in range(len(CUSTOMERS))]
    logins = [(visitor, customer, joined()) for visitor, customer in zip(visitors, CUSTOMERS, strict=True)]
    said = [*((DEVICE, visitor, joined()) for visitor in visitors), *logins]
    theirs = {frozenset(login[:2]) for login in logins}
    assert graph_of(said, USUAL_LIMITS).people() == graph_of(said[::-1], USUAL_LIMITS).people() == theirs
    assert graph_of(said[: len(visitors) + 1], USUAL_LIMITS).people() == {frozenset({"a", DEVICE, *visitors})}


def test_a_chain_of_identifiers_leads_to_no_second_customer() -> None:
    """Each end keeps what it is nearer to."""
    chain = ["a", *(named("device", n) for n in range(4)), "b"]
    people = graph_of([(one, other, joined()) for one, other in pairwise(chain)]).people()
    assert people == {frozenset(chain[:2]), frozenset(chain[-2:])}


def test_who_was_apart_is_one_again_once_what_glued_too_many_is_gone() -> None:
    """The tie that closes an identifier in the midst of them is said of neither."""
    chain = [(named("email", n), customer, joined()) for n, pair in enumerate(["ab", "bc", "cd"]) for customer in pair]
    said = [*chain, (named("email", 1), "e", joined())]
    halves = {frozenset({"a", "b", named("email", 0)}), frozenset({"c", "d", named("email", 2)})}
    assert graph_of(said).people() == graph_of(said[::-1]).people() == halves


@pytest.mark.parametrize("seed", range(5))
def test_what_is_too_far_to_be_looked_at_stays_as_it_is(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a chain that is never seen as a whole, everybody keeps what is theirs, in whatever order it was said."""
    monkeypatch.setattr("nextbest.identity._FAR", 40)
    chain = [(named("email", n + m), f"c{n:02}", joined()) for n in range(40) for m in range(2)]
    cards = [(named("loyalty_card", n), f"c{n:02}", joined()) for n in range(40)]
    said = [*chain, *cards]
    Random(seed).shuffle(said)  # noqa: S311  no secret
    ends = {"c00": named("email", 0), "c39": named("email", 40)}
    theirs = {frozenset({card, customer, ends.get(customer, card)}) for card, customer, _ in cards}
    assert graph_of(said).people() == theirs


def test_the_newest_identifiers_of_a_customer_count() -> None:
    """Somebody who clears all cookies every day does not become slow to look up."""
    said = [(named("device", n), "a", joined(n + 1)) for n in range(5)]
    assert graph_of(said).people() == {frozenset({"a", *(named("device", n) for n in (2, 3, 4))})}


def test_a_delivery_corrects_the_one_before() -> None:
    """Of an identifier the newest row that landed holds; what was said online stays beside it."""
    landed = [(MAIL, "a", Tie(landed=1)), (MAIL, "b", Tie(landed=2))]
    assert graph_of(landed).people() == {frozenset({"b", MAIL})}
    assert graph_of([*landed, (MAIL, "a", joined())]).people() == {frozenset({"a", "b", MAIL})}


def test_an_identifier_of_a_crowd_is_not_looked_through() -> None:
    """However many its kind may have."""
    said = [(MAIL, f"c{n}", joined()) for n in range(CROWD + 1)]
    assert graph_of(said, Limits({"email": 1_000}, customers=1_000)).people() == set()
    assert len(graph_of(said[:-1], Limits({"email": 1_000}, customers=1_000)).people()) == 1


@given(st.lists(SAID, max_size=14), st.randoms())
def test_any_order_comes_to_the_same(said: list[Said], random: object) -> None:
    """And so does saying some of it again, step by step or at once."""
    again = [*said, *said[:3]]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert graph_of(again).people() == graph_of(said).people()


@given(st.lists(SAID, max_size=20))
def test_what_is_looked_at_together_comes_to_the_same_as_one_by_one(said: list[Said]) -> None:
    """Of two names all that was said is in one step, and nobody is in two that could be one."""
    graph = Graph()
    steps = [*together([NamesTied(one=one, other=other, tie=tie) for one, other, tie in said])]
    for step in steps:
        graph.say(*step)
    assert graph.people() == graph_of(said).people()
    pairs = Counter(frozenset({each.one, each.other}) for step in steps for each in step)
    assert pairs == Counter({frozenset(each[:2]) for each in said})


def test_many_ties_of_one_customer_are_few_steps() -> None:
    """And those of customers who have nothing to do with each other are one step each."""
    many = [NamesTied(one=named("device", n), other="a", tie=joined(n)) for n in range(320)]
    crowd = [NamesTied(one=MAIL, other=f"c{n}", tie=joined(n)) for n in range(40)]
    assert [len(step) for step in together([*many, *crowd])] == [64] * 5 + [8] * 5
    assert [*together([NamesTied(one="a", other="a", tie=joined())])] == []


@given(st.lists(SAID, max_size=14), SAID)
def test_a_split_undoes_a_merge(said: list[Said], last: Said) -> None:
    """Who were two before they were joined are two again after they are split."""
    one, other, _ = last
    before = graph_of([*said, (one, other, Tie(split=7))])
    assert graph_of([*said, (one, other, joined(7)), (one, other, Tie(split=8))]).people() == before.people()


@given(st.lists(SAID, max_size=14), st.sets(st.sampled_from([*CUSTOMERS, *IDENTIFIERS]), min_size=1, max_size=4))
def test_who_is_forgotten_was_never_there(said: list[Said], names: set[str]) -> None:
    """What is left is what it would be without them."""
    graph = graph_of(said)
    graph.forget(names)
    assert graph.people() == graph_of([each for each in said if not names & {*each[:2]}]).people()


def claims(identifier: str, person: Collection[str], pairs: Collection[tuple[str, str]]) -> int:
    """How many customers an identifier leads to in a person, over identifiers alone."""
    reached, new = {identifier}, [identifier]
    while new:
        passing = {name for name in new if name in IDENTIFIERS}
        near = {end for pair in pairs if passing & {*pair} for end in pair}
        new = [end for end in near if end in person and end not in reached]
        reached.update(new)
    return sum(name in CUSTOMERS for name in reached)


@given(st.lists(PAIRS, max_size=20))
def test_what_is_over_the_limit_of_its_kind_glues_nobody(pairs: list[tuple[str, str]]) -> None:
    """However many other identifiers lie between it and those who claim it."""
    limits = Limits({"email": 2}, customers=3)
    for person in graph_of([(*pair, joined()) for pair in pairs], limits).people():
        assert sum(name in CUSTOMERS for name in person) <= limits.customers
        assert all(claims(name, person, pairs) <= limits.of(name) for name in person if name in IDENTIFIERS)


@given(st.lists(SAID, max_size=14))
def test_nobody_has_more_customer_ids_than_one_person_may(said: list[Said]) -> None:
    """Nor is one name two people's."""
    people = graph_of(said).people()
    assert all(sum(name in CUSTOMERS for name in person) <= LIMITS.customers for person in people)
    assert sum(map(len, people)) == len(frozenset().union(*people))


def test_limits_are_read_as_they_are_written() -> None:
    """What is not named is as it is by default."""
    assert Limits.parse("") == USUAL_LIMITS
    assert Limits.parse("device=2 customers=9") == Limits({"email": 2, "device": 2}, customers=9)


@pytest.mark.parametrize("text", ["email", "email=0", "email=-1", "=2", "email=²", "email=two"])
def test_limits_that_are_none_are_refused(text: str) -> None:
    """The message says what they may be."""
    with pytest.raises(SettingError, match=r"numbers from 1 on, such as `email=2"):
        Limits.parse(text)


def test_limits_are_of_kinds_that_there_are() -> None:
    """A kind that is mistyped would leave the usual limit in force."""
    Limits.parse("email=3 customers=2").check(["email", "device"])
    with pytest.raises(SettingError, match=r"emial is no kind of identifier; .* has email, device"):
        Limits.parse("emial=3").check(["email", "device"])


def test_an_identifier_and_its_name_are_one() -> None:
    """A customer id is no identifier's name."""
    identifier = Identifier(kind="email", hmac="0" * 63 + "1")
    assert name_of(identifier) == MAIL
    assert identifier_of(MAIL) == identifier
    assert identifier_of("439") is None


def test_links_and_splits_are_entries_of_the_log() -> None:
    """Whichever of the two names comes first."""
    assert link("b", "a", AT, by="batch") == link("a", "b", AT, by="batch")
    moment = int(AT.timestamp() * 1e6)
    assert effects(link("b", "a", AT, by="batch")) == (NamesTied(one="a", other="b", tie=Tie(joined=moment)),)
    assert effects(unlink("b", "a", AT, by="me")) == (NamesTied(one="a", other="b", tie=Tie(split=moment)),)
    assert effects(link("a", "a", AT, by="me")) == ()
