"""Rows that the log's topic has under another row's key: put into quarantine, as the door would have done.

The door asks the home's copy whether a key is taken, and the copy is some milliseconds behind the topic, or a minute
where the mirror was away. What was accepted meanwhile counts in no State, and must not vanish.

Belongs here: which they are, and what is kept of them. Does not belong here: reading the topic
(`nextbest.adapters.kafka_mirror`).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import msgspec

from nextbest.adapters.log_copy import LogCopy
from nextbest.adapters.quarantine import Quarantine
from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.erasure import is_bare
from nextbest.intake import KEY, RECEIVED_AT, key_taken
from nextbest.rejects import Reject
from nextbest.segment import says_the_same
from nextbest.wire import INTAKE, Taken


class LateRejects:
    """Looks at what is about to be taken into `copy`."""

    def __init__(self, copy: LogCopy, quarantine: Quarantine, contracts: Mapping[str, Contract]) -> None:
        self._copy, self._quarantine, self._contracts = copy, quarantine, contracts

    def close(self) -> None:
        """Let go of the quarantine."""
        self._quarantine.close()

    async def keep(self, records: Sequence[Envelope]) -> None:
        """Return once those of `records` whose id is another record's are in quarantine; the same again is none.

        Raises:
            LogUnavailableError: the copy cannot be read.
            QuarantineUnavailableError: they may not be there.

        """
        if rejects := [self._reject(record) for record in self._others(records)]:
            await self._quarantine.keep(rejects, datetime.now(UTC))

    def _others(self, records: Sequence[Envelope]) -> Iterator[Envelope]:
        rows = [record for record in records if record.contract in INTAKE and record.properties]
        held, firsts = self._copy.held(record.event_id for record in rows), dict[str, Envelope]()
        for record in rows:
            if record.event_id not in firsts and record.event_id in held:
                ((_, firsts[record.event_id]),) = self._copy.read_sync(held[record.event_id] - 1, 1)
            first = firsts.setdefault(record.event_id, record)
            # Of what was erased nobody can say what it was; a message of Segment's is the same at another time.
            if first is not record and not is_bare(first) and not says_the_same(first.properties, record.properties):
                yield record

    def _reject(self, record: Envelope) -> Reject:
        verdict = key_taken(self._contracts[record.contract])
        row = {name: value for name, value in record.properties.items() if value is not None and name != RECEIVED_AT}
        return Reject(
            sender="",
            contract=cast("Taken", record.contract),
            rule=KEY,
            column=verdict.column,
            reason=verdict.reason,
            row=msgspec.to_builtins(row),
            sent_at=record.sent_at,
        )
