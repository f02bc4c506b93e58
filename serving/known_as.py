"""What a customer is known as: every name under which something of theirs may be kept.

Belongs here: the names that State counts, the identifiers that are too many for it to count, and the names around
these, under which something of theirs may be filed. Does not belong here: whom State takes for one person
(`nextbest.identity`), or what is done about the names (`serving.customers`).
"""

from collections.abc import Iterable, Mapping, Sequence

from nextbest.adapters.state_effects import well_formed
from nextbest.identity import CROWD, NamesTied, Tie, holding, is_identifier, ties_of
from nextbest.log import EventLog
from nextbest.state import State

_FAR = 1_000
"""Most names around a customer that are looked at, the nearest first."""


async def all_names(customer_id: str, state: State, log: EventLog) -> tuple[str, ...]:
    """All that the customer goes by, the customer's own name first."""
    names = (await state.members([customer_id]))[customer_id]
    while more := await _uncounted(names, state, log):
        names += more
    return names


async def names_around(names: Sequence[str], state: State) -> set[str]:
    """Names that may ever have been one person with these: over every tie, but through no identifier of a crowd."""
    around, new = {*names}, {*names}
    while new and len(around) < _FAR:
        ends = {each: await state.neighbours([each]) for each in new}
        crowds = {each for each, near in ends.items() if is_identifier(each) and len(near) > CROWD}
        new = set().union(*(ends[each] for each in ends.keys() - crowds.difference(names))) - around
        around |= new
    return around.difference(names)


async def _uncounted(names: tuple[str, ...], state: State, log: EventLog) -> tuple[str, ...]:
    """Identifiers beyond `names` that these claim, and nobody else does."""
    found = [each for each in await state.neighbours(names) if is_identifier(each) and each not in names]
    around = {each: await state.neighbours([each]) for each in found}
    near = {each: ends for each, ends in around.items() if len(ends) <= CROWD}
    ties = await _ties(set().union(near, *near.values()), log) if near else {}
    return tuple(each for each in near if (claims := _claims(each, ties.get(each, {}))) and claims.issubset(names))


async def _ties(names: Iterable[str], log: EventLog) -> Mapping[str, Mapping[str, Tie]]:
    """By name its ties by their other end, as far as they are filed under `names`."""
    filed = [entry for name in names for _, entry in await log.filed_under([name])]
    return ties_of(said for said in well_formed(filed) if isinstance(said, NamesTied))


def _claims(identifier: str, ties: Mapping[str, Tie]) -> set[str]:
    """Who claims an identifier of these ties: customers, and where there are none, other identifiers."""
    ends = {*holding(identifier, ties)}
    return {end for end in ends if not is_identifier(end)} or ends
