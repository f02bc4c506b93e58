"""Taking events in: check each row by its contract, log what is valid, keep what is not, say what became of each.

Belongs here: the way of a batch into the log or the quarantine. Does not belong here: what a valid row is
(`nextbest.row_check`), or what it does (the event processor).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Any

from nextbest.adapters.quarantine import Quarantine
from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.erasure import is_bare
from nextbest.intake import KEY, Envelopes, at_the_door, key_taken, says_the_same
from nextbest.log import EventLog
from nextbest.names import CustomerNames
from nextbest.rejects import Reject
from nextbest.row_check import DUPLICATE, RowCheck
from nextbest.state import State
from nextbest.wire import INTAKE, EventRow, EventsResponse, Verdict
from serving.metrics import Meter

IsSame = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
_ACCEPTED = Verdict("accepted")
_BINDS_AT_ONCE = frozenset({"consent", "identity", "signal"})
"""Types whose effect must be in State before the call returns: the next decision obeys them."""


class Intake:
    """Appends what channels send to the log.

    Args:
        contracts: those of the home: of what is taken in, and `identities`, which says what names no customer.
        log: where valid rows go.
        state: where a consent, a signal, or who is one, must be before it is acknowledged.
        clock: the time of receipt.
        quarantine: where rejected rows go.
        meter: counts what became of the rows.
        is_same: whether a row is the one that the log has under its key.

    """

    def __init__(
        self,
        *,
        contracts: Mapping[str, Contract],
        log: EventLog,
        state: State,
        clock: Callable[[], datetime],
        quarantine: Quarantine,
        meter: Meter,
        is_same: IsSame = says_the_same,
    ) -> None:
        self.log, self.state, self.clock = log, state, clock
        self.quarantine, self.meter, self.is_same = quarantine, meter, is_same
        is_customer_id = CustomerNames(contracts["identities"]).is_name
        taken = {name: at_the_door(contracts[name]) for name in INTAKE}
        self._checks: dict[str, RowCheck] = {name: RowCheck(each, is_customer_id) for name, each in taken.items()}
        self._envelopes: dict[str, Envelopes] = {name: Envelopes(each) for name, each in taken.items()}
        self._personal = {each.name for name in INTAKE for each in contracts[name].fields if each.is_pii}

    def judging_by(self, is_same: IsSame) -> "Intake":
        """The same way in, for rows of which something else makes two the same."""
        other = copy(self)
        other.is_same = is_same
        return other

    async def take(self, events: Sequence[EventRow], *, sender: str = "") -> EventsResponse:
        """Return once every accepted row and every rejected one is durable, each in its place.

        Args:
            events: the rows.
            sender: the name of the key they came with.

        Raises:
            LogUnavailableError: nothing was accepted.
            StateUnavailableError: the rows are durable, but what must bind at once among them does not yet.
            QuarantineUnavailableError: valid rows are durable, rejected ones are not; sending all again is safe.

        """
        received_at = self.clock()
        checked = self._checked(events, received_at)
        entries = {index: entry for index, entry in enumerate(checked) if isinstance(entry, Envelope)}
        held = await self._append(entries)
        if binding := [entry for entry in held.values() if entry.type in _BINDS_AT_ONCE]:
            await self.state.apply(binding, None)
        results = tuple(self._verdicts(events, checked, held))
        count = Counter([verdict.status for verdict in results])
        if count["rejected"]:
            await self.quarantine.keep([*_rejects(events, results, sender, self._personal)], received_at)
        self.meter.took(sender, zip([event.contract for event in events], results, strict=True))
        return EventsResponse(
            accepted=count["accepted"], duplicates=count["duplicate"], rejected=count["rejected"], results=results
        )

    async def _append(self, entries: Mapping[int, Envelope]) -> Mapping[int, Envelope]:
        """Log `entries`; returns, under each one's number, what the log holds by its id: it, or an earlier one."""
        if not entries:
            return {}  # that no row is valid is said whether or not the log can be had
        appended = await self.log.append(list(entries.values()))
        if not appended.duplicates:
            return entries
        held = dict(entries)
        for (index, entry), offset in zip(entries.items(), appended.offsets, strict=True):
            if entry.event_id in appended.duplicates:
                ((_, held[index]),) = await self.log.read(offset - 1, 1)
        return held

    def _verdicts(
        self, events: Sequence[EventRow], checked: Sequence[Envelope | Verdict], held: Mapping[int, Envelope]
    ) -> list[Verdict]:
        verdicts = [
            entry if isinstance(entry, Verdict) else self._verdict(entry, held[index])
            for index, entry in enumerate(checked)
        ]
        refused = [index for index, each in enumerate(verdicts) if each.rule == KEY and index in held]
        for first in refused:  # what came twice was found to be a duplicate before the log was asked
            for index in range(first + 1, len(events)):
                if verdicts[index] is DUPLICATE and events[index] == events[first]:
                    verdicts[index] = verdicts[first]
        return verdicts

    def _verdict(self, sent: Envelope, held: Envelope) -> Verdict:
        if held is sent:
            return _ACCEPTED
        # What is told of its key goes into quarantine, and a retry must not bring back what was erased.
        if is_bare(held) or self.is_same(held.properties, sent.properties):
            return DUPLICATE
        return key_taken(self._checks[sent.contract].contract)

    def _checked(self, events: Sequence[EventRow], received_at: datetime) -> list[Envelope | Verdict]:
        checked: dict[int, Envelope | Verdict] = {}
        for name in {event.contract for event in events}:
            envelope = self._envelopes[name].of
            places = [index for index, event in enumerate(events) if event.contract == name]
            found = self._checks[name].check([events[index].properties for index in places], received_at)
            for index, row in zip(places, found, strict=True):
                checked[index] = row if isinstance(row, Verdict) else envelope(row, received_at, events[index].sent_at)
        return [checked[index] for index in range(len(events))]


def _rejects(
    events: Sequence[EventRow], results: Sequence[Verdict], sender: str, personal: Collection[str]
) -> Iterator[Reject]:
    """Of a rejected row what may be kept: nothing in the columns that identify a person."""
    for event, verdict in zip(events, results, strict=True):
        if verdict.status == "rejected":
            yield Reject(
                sender=sender,
                contract=event.contract,
                rule=verdict.rule,
                column=verdict.column,
                reason=verdict.reason,
                row={name: value for name, value in event.properties.items() if name not in personal},
                sent_at=event.sent_at,
            )
