"""Links between customers: which pairs a linkage model takes for one person, why, and what has become of each.

Belongs here: a proposed link with what speaks for and against it, and which of them to apply, to show, and to leave
alone because of what the log says already. Does not belong here: finding pairs (`models.linkage`), the log's entries
(`nextbest.identity`), or what a link does to State (`nextbest.state`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from nextbest.envelope import Envelope

REVIEW_FROM: Final = 0.5
"""A pair that is less probable than this is more likely two people: nobody's time is asked for it."""
BY_MODEL: Final = "splink"
"""Who links in the log's entries of what was applied without a person."""

Pair = tuple[str, str]
"""Ids of two customers in the order of text, so that a pair is the same whoever is named first."""
Verdict = Literal["linked", "split"]


class Contribution(msgspec.Struct, frozen=True):
    """What one column adds to the evidence: its level of agreement in words, never its values, and its weight.

    Attributes:
        column: of the contract `identities`, or `prior`: how rare it is that two records are one person's.
        level: how the two agree.
        weight: log2 of how many times likelier that is if they are one person's; negative speaks against it.

    """

    column: str
    level: str
    weight: float


class Proposal(msgspec.Struct, frozen=True):
    """Two customers that may be one person; the contributions add up to `weight`, the log2 odds of `probability`."""

    customer_id: str
    other_id: str
    probability: float
    weight: float
    contributions: tuple[Contribution, ...]

    @property
    def pair(self) -> Pair:
        return self.customer_id, self.other_id


class Proposals(msgspec.Struct, frozen=True):
    """What one run of the linkage model found, most probable first, and from what it applied by itself."""

    applied_from: float
    proposals: tuple[Proposal, ...]


def pair_of(customer_id: str, other_id: str) -> Pair:
    """The pair of two customers, whoever is named first."""
    return (customer_id, other_id) if customer_id <= other_id else (other_id, customer_id)


def verdicts(entries: Iterable[Envelope]) -> dict[Pair, Verdict]:
    """What was last said of each pair, by the log's entries in their order; entries about other things say nothing."""
    found: dict[Pair, Verdict] = {}
    for entry in entries:
        if entry.type in {"link", "unlink"}:
            pair = pair_of(entry.properties["customer_id"], entry.properties["other_id"])
            found[pair] = "linked" if entry.type == "link" else "split"
    return found


def without(found: Proposals, names: Collection[str]) -> Proposals:
    """What was found of others than these: whoever was erased is proposed to nobody, whatever old files say."""
    left = tuple(each for each in found.proposals if not {*each.pair}.intersection(names))
    return msgspec.structs.replace(found, proposals=left)


def to_apply(found: Proposals, said: Mapping[Pair, Verdict], most: int) -> Sequence[Proposal]:
    """What is probable enough, and of which nobody has said anything: neither twice, nor against a person's word.

    What would make one person of more than `most` customers, with all that is linked, is left to somebody: State takes
    them apart again, and with them those who were linked before. So is what would, by way of others, join two again
    that somebody has split.
    """
    sure = [each for each in found.proposals if each.probability >= found.applied_from and each.pair not in said]
    groups = _groups([*(pair for pair, verdict in said.items() if verdict == "linked"), *(e.pair for e in sure)])
    split = (pair for pair, verdict in said.items() if verdict == "split")
    torn = {name for one, other in split if other in groups.get(one, ()) for name in groups[one]}
    return [each for each in sure if each.customer_id not in torn and len(groups[each.customer_id]) <= most]


def waiting(found: Proposals, said: Mapping[Pair, Verdict], most: int) -> Sequence[Proposal]:
    """What a person should look at: probable, but not to be applied, and not decided yet."""
    applied = {each.pair for each in to_apply(found, said, most)}
    return [each for each in found.proposals if each.pair not in said and each.pair not in applied]


def _groups(pairs: Iterable[Pair]) -> Mapping[str, set[str]]:
    """Of each customer, who are one person when all pairs are."""
    groups: dict[str, set[str]] = {}
    for one, other in pairs:
        small, large = sorted((groups.setdefault(one, {one}), groups.setdefault(other, {other})), key=len)
        if small is not large:
            large |= small
            groups.update(dict.fromkeys(small, large))
    return groups
