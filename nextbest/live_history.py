"""Live features of the past: what a decision at some moment would have seen, from the records of that time.

Belongs here: replaying a customer's records up to each moment that is asked for. Does not belong here: what counts
(`nextbest.live`), what is said of it (`nextbest.live_features`), or where records and moments come from (`models`).

A decision knows what the door has received, so a record counts from `received_at` on; when it happened is what the
features go by. Both are as they are online, and so is every bit of what comes out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from nextbest.envelope import Envelope
from nextbest.live import Tally, member_of
from nextbest.live_features import Plan
from nextbest.records import Attribute

Moments = Mapping[str, Sequence[datetime]]
"""By customer, the moments to look at, in any order."""
_NOWHERE: Mapping[str, Attribute] = MappingProxyType({})


def history(
    records: Iterable[Envelope],
    moments: Moments,
    plan: Plan,
    contexts: Mapping[str, Mapping[str, Attribute]] = MappingProxyType({}),
) -> Iterator[tuple[str, datetime, dict[str, float | str]]]:
    """The features at every moment: customer by customer, each in the order of time.

    Args:
        records: in any order; those of nobody who is asked about are passed over.
        moments: when to look at whom.
        plan: the features that are asked for.
        contexts: by customer what a channel would say of them, such as their `time_zone`.

    """
    said: defaultdict[str, list[Envelope]] = defaultdict(list)
    for record in records:
        member = member_of(record)
        if member is not None and member in moments:
            said[member].append(record)
    for customer, times in moments.items():
        context = contexts.get(customer, _NOWHERE)
        for at, features in _looks(said.pop(customer, []), times, plan, context):
            yield customer, at, features


def _looks(
    records: list[Envelope], times: Sequence[datetime], plan: Plan, context: Mapping[str, Attribute]
) -> Iterator[tuple[datetime, dict[str, float | str]]]:
    """One customer's records are added once, however many moments there are."""
    tally, coming = Tally(), sorted(records, key=lambda record: record.received_at)
    first = 0
    for at in sorted(times):
        while first < len(coming) and coming[first].received_at <= at:
            tally.add(coming[first])
            first += 1
        yield at, plan.features(tally.state(), context, at)
