"""Taking events in: check each row by its contract, log what is valid, say what became of each.

Belongs here: the way of a batch into the log. Does not belong here: what a valid row is (`nextbest.intake`), or what it
does (the event processor).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.intake import RECEIVED_AT, check, envelope, key_taken, says_the_same
from nextbest.log import EventLog
from nextbest.state import State
from nextbest.wire import EventRow, EventsResponse, Verdict

_ACCEPTED, _DUPLICATE = Verdict("accepted"), Verdict("duplicate")
_BINDS_AT_ONCE = {"consent"}
"""Types whose effect must be in State before the call returns: the next decision obeys them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Appends what channels send to the log."""

    contracts: Mapping[str, Contract]
    log: EventLog
    state: State
    clock: Callable[[], datetime]
    is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = says_the_same
    """Whether a row is the one that the log has under its key."""

    async def take(self, events: Sequence[EventRow]) -> EventsResponse:
        """Return once every accepted row is durable.

        Raises:
            LogUnavailableError: nothing was accepted.
            StateUnavailableError: the rows are durable, but a consent among them does not bind yet.

        """
        received_at = self.clock()
        checked = self._checked(events, received_at)
        entries = {index: entry for index, entry in enumerate(checked) if isinstance(entry, Envelope)}
        held = await self._append(entries)
        await self.state.apply([entry for entry in held.values() if entry.type in _BINDS_AT_ONCE], None)
        results = tuple(
            entry if isinstance(entry, Verdict) else self._verdict(entry, held[index])
            for index, entry in enumerate(checked)
        )
        count = Counter(verdict.status for verdict in results)
        return EventsResponse(
            accepted=count["accepted"], duplicates=count["duplicate"], rejected=count["rejected"], results=results
        )

    async def _append(self, entries: Mapping[int, Envelope]) -> dict[int, Envelope]:
        """Log `entries`; returns, under each one's number, what the log holds by its id: it, or an earlier one."""
        if not entries:
            return {}  # that no row is valid is said whether or not the log can be had
        appended = await self.log.append(list(entries.values()))
        held = dict(entries)
        for (index, entry), offset in zip(entries.items(), appended.offsets, strict=True):
            if entry.event_id in appended.duplicates:
                ((_, held[index]),) = await self.log.read(offset - 1, 1)
        return held

    def _verdict(self, sent: Envelope, held: Envelope) -> Verdict:
        if held is sent:
            return _ACCEPTED
        if self.is_same(held.properties, sent.properties):
            return _DUPLICATE
        return key_taken(self.contracts[sent.contract])

    def _checked(self, events: Sequence[EventRow], received_at: datetime) -> list[Envelope | Verdict]:
        checked: dict[int, Envelope | Verdict] = {}
        for name in {event.contract for event in events}:
            contract = self.contracts[name]
            rows = {i: _row(event, received_at) for i, event in enumerate(events) if event.contract == name}
            for index, found in zip(rows, check(contract, list(rows.values()), received_at), strict=True):
                checked[index] = (
                    found
                    if isinstance(found, Verdict)
                    else envelope(contract, found, received_at, sent_at=events[index].sent_at)
                )
        return [checked[index] for index in range(len(events))]


def _row(event: EventRow, received_at: datetime) -> dict[str, Any]:
    return {"source": "live", **event.properties, RECEIVED_AT: received_at}
