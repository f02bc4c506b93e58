"""Taking in what clients of Segment's send: each message by itself, its rows, and whom its identifiers belong to.

Belongs here: the way of a batch of messages into the log. Does not belong here: what a message comes to
(`nextbest.segment`), the way of rows (`serving.intake`), or bodies and statuses (`serving.routes.segment`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from nextbest.contracts import Contract
from nextbest.names import CustomerNames
from nextbest.rejects import Reject
from nextbest.segment import Link, MessageError, Reader, Reading, customer_of, legible, linked, says_the_same
from nextbest.segment_wire import AnyMessage, SegmentResponse
from nextbest.wire import Verdict
from serving import bodies
from serving.intake import Intake

MESSAGE = "message"
"""The rule that a message breaks of which no row can be made."""


class Unread(NamedTuple):
    """A message that cannot be taken apart, and why."""

    reason: str
    content: Any
    """What may be kept of it, as JSON has it, or the beginning of its text."""


@dataclass(frozen=True, slots=True)
class SegmentMessages:
    """Appends messages to the log, as rows."""

    intake: Intake
    reader: Reader
    identities: Contract

    @classmethod
    def through(cls, intake: Intake, contracts: Mapping[str, Contract]) -> "SegmentMessages":
        """Those that go the way of `intake`; what differs from the log in its corrected time alone is a duplicate."""
        names = CustomerNames(contracts["identities"])
        reader = Reader(names.is_id, contracts["outcomes"].field("currency").enum or ())
        return cls(intake.judging_by(says_the_same), reader, contracts["identities"])

    async def take(
        self, messages: Sequence[AnyMessage | Unread], sent_at: datetime | None, sender: str
    ) -> SegmentResponse:
        """Return once every accepted message, and every rejected one, is durable, each in its place.

        Rows come first: where links are not written any more, nothing is acknowledged, and a retry writes them.

        Raises:
            LogUnavailableError: some may not be durable; sending all again is safe.
            QuarantineUnavailableError: likewise.

        """
        received_at = self.intake.clock()
        readings = [self._read(message, received_at, sent_at) for message in messages]
        rows = [row for each in readings if isinstance(each, Reading) for row in each.rows]
        verdicts = iter((await self.intake.take(rows, sender=sender)).results)
        results = tuple(
            each if isinstance(each, Verdict) else _together(islice(verdicts, len(each.rows))) for each in readings
        )
        if rejects := [*_rejects(messages, readings, sender)]:
            await self.intake.quarantine.keep(rejects, received_at)
            self.intake.meter.took(sender, [("events", each) for each in readings if isinstance(each, Verdict)])
        links = _newest(
            each.link
            for each, verdict in zip(readings, results, strict=True)
            if isinstance(each, Reading) and each.link and verdict.status != "rejected"
        )
        if links:
            await self.intake.log.append([linked(self.identities, link, received_at) for link in links])
        count = Counter(verdict.status for verdict in results)
        return SegmentResponse(
            success=True,
            accepted=count["accepted"],
            duplicates=count["duplicate"],
            rejected=count["rejected"],
            results=results,
        )

    def _read(self, message: AnyMessage | Unread, received_at: datetime, sent_at: datetime | None) -> Reading | Verdict:
        if isinstance(message, Unread):
            return Verdict("rejected", message.reason, MESSAGE)
        try:
            return self.reader.read(message, received_at, sent_at)
        except MessageError as error:
            return Verdict("rejected", str(error), MESSAGE)


def _rejects(
    messages: Sequence[AnyMessage | Unread], readings: Sequence[Reading | Verdict], sender: str
) -> Iterator[Reject]:
    """Those that came to no row: somebody has to make one of what they say."""
    for message, reading in zip(messages, readings, strict=True):
        if isinstance(reading, Verdict):
            said = message.content if isinstance(message, Unread) else _legible(message)
            whose = customer_of(said)  # who is erased must go from quarantine too
            row = {"message": said} | ({"customer_id": whose} if whose else {})
            yield Reject(sender=sender, contract="events", rule=reading.rule, column="", reason=reading.reason, row=row)


def _legible(message: AnyMessage) -> Any:
    """What may be kept of a message; nothing of one that nests too deep to be looked at."""
    with suppress(RecursionError):
        said = legible(msgspec.to_builtins(message))
        return None if bodies.is_deep(said) else said
    return None


def _together(verdicts: Iterable[Verdict]) -> Verdict:
    """What is said of a message of several rows: what is wrong with one, else whether one is new."""
    by_status = {verdict.status: verdict for verdict in verdicts}
    return by_status.get("rejected") or by_status.get("accepted") or by_status["duplicate"]


def _newest(links: Iterable[Link]) -> list[Link]:
    """Of all that say the same of an anonymous id, the newest: a batch of one visit needs no more."""
    newest: dict[tuple[str, str], Link] = {}
    for link in sorted(links, key=lambda link: link.at):
        newest[link.anonymous_id, link.customer_id] = link
    return sorted(newest.values(), key=lambda link: link.at)
