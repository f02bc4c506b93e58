"""Who is who: names that belong to one person, by what was said of them, in whatever order it was said.

Belongs here: the graph's ties, which of them hold, the bounds of merging, and the log's entries that link and split two
names. Does not belong here: what is known under a name, which stays there (State reads the union), or storage.

A name is a customer id, or `kind:hmac` of an identifier; each has a substate of its own. A tie joins two names until
it is split. Who can be reached over ties that hold is one customer, named by the smallest of its customer ids. Ties are
latest moments, so that any order comes to the same, and a split leaves what there was before.

Nobody is glued together by what many share: an identifier that more customers claim than its kind may have, by
themselves or through other identifiers, belongs to none of them, and where more customer ids than `Limits.customers`
would be one person, only identifiers that one of them alone claims are theirs. Of the identifiers that a name is tied
to the newest count.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import msgspec

from nextbest.envelope import Envelope, Identifier, nameless
from nextbest.errors import SettingError

LINK, UNLINK = "link", "unlink"
CROWD = 100
"""An identifier with more ties than this belongs to nobody, whatever its limit: not all need be looked at."""
TIES_READ = 2 * CROWD
_FAR = 1_000
"""Most names that are looked at to find one person."""
_TIES_AT_ONCE, _CUSTOMERS_AT_ONCE = 64, 8
"""Most ties that change who is one in one step, and customers in these: so few that `_FAR` is far enough for them."""
_IDENTIFIER = re.compile(r"([a-z][a-z0-9_]*):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Limits:
    """How far names are merged.

    Attributes:
        by_kind: by an identifier's kind, how many customers may claim it and be one person for it.
        customers: how many customer ids may be one person.
        identifiers: how many identifiers that a name is tied to count, the newest.

    """

    by_kind: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({"email": 2}))
    customers: int = 5
    identifiers: int = 50

    @classmethod
    def parse(cls, text: str) -> "Limits":
        """Limits as `email=2 device=1 customers=5 identifiers=50`; what is not named is as it is by default.

        Raises:
            SettingError: a part is no name with a number of 1 or more.

        """
        given: dict[str, int] = {}
        for part in text.split():
            name, _, number = part.partition("=")
            if not (name and number.isascii() and number.isdigit() and int(number) > 0):
                raise SettingError(
                    f"{part}: limits of identities are names with numbers from 1 on, such as `email=2 customers=5`"
                )
            given[name] = int(number)
        customers = given.pop("customers", USUAL_LIMITS.customers)
        identifiers = given.pop("identifiers", USUAL_LIMITS.identifiers)
        return cls(MappingProxyType({**USUAL_LIMITS.by_kind, **given}), customers, identifiers)

    def check(self, kinds: Collection[str]) -> None:
        """See that limits are of kinds of identifiers that there are.

        Raises:
            SettingError: one is of none.

        """
        if unknown := sorted(self.by_kind.keys() - {*kinds, *USUAL_LIMITS.by_kind}):
            raise SettingError(
                f"NEXTBEST_IDENTITY_LIMITS: {', '.join(unknown)} is no kind of identifier; the contract `identities` "
                f"has {', '.join(kinds)}"
            )

    def of(self, identifier: str) -> int:
        """How many customers may claim an identifier."""
        return self.by_kind.get(identifier.partition(":")[0], 1)


USUAL_LIMITS = Limits()


class Tie(msgspec.Struct, frozen=True, array_like=True):
    """What was said of two names, as latest moments in microseconds since 1970; 0 is never.

    Attributes:
        joined: that they are one.
        landed: that they are one, in a delivery: of an identifier's the newest holds, for it corrects those before it.
        split: that they are not.

    """

    joined: int = 0
    landed: int = 0
    split: int = 0

    def __or__(self, other: "Tie") -> "Tie":
        return Tie(max(self.joined, other.joined), max(self.landed, other.landed), max(self.split, other.split))

    @property
    def latest(self) -> int:
        return max(self.joined, self.landed, self.split)


class NamesTied(msgspec.Struct, frozen=True, kw_only=True):
    """Something was said about whether two names are one customer's."""

    one: str
    other: str
    tie: Tie


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a name.

    Attributes:
        ties: by the name at the other end; of an identifier `TIES_READ` are enough.
        group: all names of the customer that it belongs to; empty for one that stands alone.

    """

    ties: dict[str, Tie] = {}
    group: tuple[str, ...] = ()


ALONE = Node()
Alter = Callable[[str, Node], Node]
Regrouping = Generator[Collection[str], Mapping[str, Node], dict[str, str | None]]
"""Asks for nodes until it knows enough; returns, by every name whose group changes, the customer that it belongs to.

None where it stands alone.
"""


def is_identifier(name: str) -> bool:
    """Whether a name is an identifier's, and no customer id."""
    return _IDENTIFIER.fullmatch(name) is not None


def name_of(identifier: Identifier) -> str:
    """The name of an identifier."""
    return f"{identifier.kind}:{identifier.hmac}"


def identifier_of(name: str) -> Identifier | None:
    """The identifier that a name is of; none for a customer id."""
    found = _IDENTIFIER.fullmatch(name)
    return Identifier(kind=found[1], hmac=found[2]) if found else None


def link(customer_id: str, other_id: str, at: datetime, *, by: str, probability: float | None = None) -> Envelope:
    """The log's entry that two names are one person's.

    Args:
        customer_id: A name.
        other_id: The other one.
        at: Since when that is known.
        by: Who says so.
        probability: How sure they are, where that is a number.

    """
    return _entry(LINK, customer_id, other_id, at, {"by": by, "probability": probability})


def unlink(customer_id: str, other_id: str, at: datetime, *, by: str) -> Envelope:
    """The log's entry that two names are not one person's, whatever was said up to then."""
    return _entry(UNLINK, customer_id, other_id, at, {"by": by})


def names_in(record: Envelope) -> tuple[str, ...]:
    """The names of which an entry of the log says whose they are, or that they are nobody's any more.

    Of an erasure the customer's own comes first. An entry that is not well formed may name nobody.
    """
    said, named = record.properties, tuple[object, ...]()
    if record.type == "identity":
        named = (f"{said.get('kind')}:{said.get('identifier_hmac')}", said.get("customer_id"))
    elif record.type in {LINK, UNLINK}:
        named = (said.get("customer_id"), said.get("other_id"))
    elif record.type == "erasure":
        names = said.get("names")
        named = (said.get("customer_id"), *(names if isinstance(names, list) else ()))
    return tuple(dict.fromkeys(each for each in named if isinstance(each, str)))


def together(said: Sequence[NamesTied]) -> Iterator[list[NamesTied]]:
    """What was said in steps: of two names all at once, with others that concern them, few enough to be looked at."""
    ties = ties_of(said)
    person_of = {name: number for number, person in enumerate(_connected(ties)) for name in person}
    by_person = defaultdict[int, list[NamesTied]](list)
    for one, ends in ties.items():
        by_person[person_of[one]] += [NamesTied(one=one, other=end, tie=tie) for end, tie in ends.items() if one < end]
    for own in by_person.values():
        step, customers = list[NamesTied](), set[str]()
        for each in own:
            more = {name for name in (each.one, each.other) if not is_identifier(name)}
            if step and (len(step) == _TIES_AT_ONCE or len(customers | more) > _CUSTOMERS_AT_ONCE):
                yield step
                step, customers = [], set()
            step.append(each)
            customers |= more
        if step:
            yield step


def joining(said: Iterable[NamesTied]) -> Alter:
    """What becomes of names when all this is said of them."""
    new = ties_of(said)

    def alter(name: str, node: Node) -> Node:
        ties = {end: node.ties.get(end, Tie()) | tie for end, tie in new.get(name, {}).items()}
        return msgspec.structs.replace(node, ties={**node.ties, **ties})

    return alter


def ties_of(said: Iterable[NamesTied]) -> dict[str, dict[str, Tie]]:
    """By name what was said of it and each other end."""
    ties: dict[str, dict[str, Tie]] = {}
    for each in said:
        for name, end in ((each.one, each.other), (each.other, each.one)):
            own = ties.setdefault(name, {})
            own[end] = own.get(end, Tie()) | each.tie
    return ties


def leaving(gone: Collection[str]) -> Alter:
    """What becomes of names when others are forgotten."""

    def alter(name: str, node: Node) -> Node:
        if name in gone:
            return ALONE
        return msgspec.structs.replace(node, ties={end: tie for end, tie in node.ties.items() if end not in gone})

    return alter


def regroup(touched: Collection[str], limits: Limits, alter: Alter) -> Regrouping:
    """Whom names belong to, once `alter` has been done to them; `touched` are those that it changes.

    What is looked at are the customers they were, and everybody who can be reached from these, or could be before.
    """
    ends: dict[str, set[str]] = {}
    groups: dict[str, set[str]] = {}
    wanted = {*touched}
    while wanted and len(ends) < _FAR:
        found = yield wanted
        near = set[str]()
        for name in wanted:
            node = found.get(name, ALONE)
            groups[name] = {name, *node.group}
            ends[name] = _ends(name, alter(name, node), limits)
            # Those whom its ties were too many for may be one now, though they never were of its group.
            before = _ends(name, node, limits) if name in touched else ()
            near.update(groups[name], ends[name], before)
        wanted = near - ends.keys()
    changed: dict[str, str | None] = {}
    for person in _people(ends, limits):
        customer = min(person, key=by_importance) if len(person) > 1 else None
        changed |= {name: customer for name in person if groups[name] != person}
    return changed


def by_importance(name: str) -> tuple[bool, str]:
    """The key of an order in which a customer's own name is the first: customer ids come before identifiers."""
    return is_identifier(name), name


def _people(ends: Mapping[str, set[str]], limits: Limits) -> Iterator[set[str]]:
    """The names of each customer of whom all that it takes is there: of so many names, some were not looked at."""
    near = {name: {end for end in own if name in ends.get(end, ())} for name, own in ends.items()}
    unsure = _unsure(ends, near)
    cut_off = {name for name, own in ends.items() if not own <= ends.keys()}
    for person in _connected(_bounded(near, limits.of)):
        is_whole = person.isdisjoint(cut_off | unsure)
        if is_whole and sum(not is_identifier(name) for name in person) <= limits.customers:
            yield person
        else:
            own = {
                name: {end for end in near[name] & person if is_identifier(name) or is_identifier(end)}
                for name in person
            }
            yield from filter(unsure.isdisjoint, _connected(_bounded(own, lambda _: 1)))


def _unsure(ends: Mapping[str, set[str]], near: Mapping[str, set[str]]) -> set[str]:
    """The names whose own identifiers, or those who claim them, may be among what was not looked at."""
    unsure = set[str]()
    new = {
        name for name, own in ends.items() if any(is_identifier(name) or is_identifier(e) for e in own - ends.keys())
    }
    while new:
        unsure |= new
        new = set[str]().union(*(near[name] for name in new if is_identifier(name))) - unsure
    return unsure


def _bounded(near: Mapping[str, set[str]], most: Callable[[str], int]) -> Mapping[str, set[str]]:
    """Who is near whom without identifiers that more customers claim than they may have.

    Claims pass from identifier to identifier, all of them one step at a time, but through none that has too many. So
    what lies between customers goes, and what each of them is close to stays.
    """
    claims = {name: {end for end in near[name] if not is_identifier(end)} for name in near if is_identifier(name)}
    new: Mapping[str, set[str]] = claims
    while new:
        passed: dict[str, set[str]] = {}
        for name, customers in new.items():
            if len(claims[name]) <= most(name):
                for end in near[name] & claims.keys():
                    passed.setdefault(end, set()).update(customers)
        new = {name: customers - claims[name] for name, customers in passed.items() if not customers <= claims[name]}
        claims |= {name: claims[name] | customers for name, customers in new.items()}
    shared = {name for name, customers in claims.items() if len(customers) > most(name)}
    return {name: set() if name in shared else own - shared for name, own in near.items()}


def _connected(near: Mapping[str, Collection[str]]) -> Iterator[set[str]]:
    left = {*near}
    while left:
        together, new = set[str](), {left.pop()}
        while new:
            together |= new
            new = set[str]().union(*(near[name] for name in new)) - together
        left -= together
        yield together


def _ends(name: str, node: Node, limits: Limits) -> set[str]:
    """The names that a name is tied to, by what holds of its own ties."""
    if is_identifier(name) and len(node.ties) > CROWD:
        return set()
    ends = holding(name, node.ties)
    if is_identifier(name) and sum(not is_identifier(end) for end in ends) > limits.of(name):
        return set()
    identifiers = sorted((at, end) for end, at in ends.items() if is_identifier(end))
    return ends.keys() - {end for _, end in identifiers[: -limits.identifiers]}


def holding(name: str, ties: Mapping[str, Tie]) -> dict[str, int]:
    """Of the ties of a name those that hold, by the name at the other end, with since when."""
    newest = max(((tie.landed, end) for end, tie in ties.items() if tie.landed), default=None)
    ends: dict[str, int] = {}
    for end, tie in ties.items():
        is_corrected = is_identifier(name) and newest is not None and newest[1] != end
        at = max(tie.joined, 0 if is_corrected else tie.landed)
        if at > tie.split:
            ends[end] = at
    return ends


def _entry(kind: str, one: str, other: str, at: datetime, said: Mapping[str, object]) -> Envelope:
    first, second = sorted((one, other))
    properties = {"customer_id": first, "other_id": second, **{k: v for k, v in said.items() if v is not None}}
    return Envelope(
        event_id=f"{kind}/{nameless(f'{first}/{second}/{at.isoformat()}')}",
        type=kind,
        contract="",
        contract_version="",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key=first,
        properties=properties,
    )
