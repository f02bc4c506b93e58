"""Mending rejected rows: what is changed of them, and the way back through the door.

Belongs here: choosing, changing and sending again. Does not belong here: the command line
(`serving.quarantine_commands`), or the quarantine's file (`nextbest.adapters.quarantine`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from nextbest.adapters.quarantine import Quarantine
from nextbest.advice import did_you_mean, listed
from nextbest.contracts import Contract
from nextbest.errors import NextbestError
from nextbest.rejects import Kept, Reject, id_of
from nextbest.wire import EVENTS_LIMIT, EventRow, Verdict
from serving.intake import Intake


class MendingError(NextbestError):
    """A rejected row cannot be mended so; nothing was sent."""


class _Line(msgspec.Struct):
    """What is read of a line that `quarantine list --json` wrote."""

    id: str
    row: dict[str, Any]


def chosen(kept: Sequence[Kept], ids: Iterable[str]) -> list[Kept]:
    """Those with these ids.

    Raises:
        MendingError: there is none with one of them.

    """
    by_id = {each.id: each for each in kept}
    wanted = list(dict.fromkeys(ids))
    if missing := [each for each in wanted if each not in by_id]:
        raise MendingError(f"no row in quarantine has the id {listed(missing)}: `nextbest quarantine list` shows them")
    return [by_id[each] for each in wanted]


def from_file(kept: Sequence[Kept], path: Path) -> list[Kept]:
    """Those that a file of JSON lines names, each with the row that the file says.

    Raises:
        MendingError: a line is none, or names no row in quarantine.

    """
    mended = {}
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        if text.strip():
            try:
                line = msgspec.json.decode(text, type=_Line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise MendingError(f"{path}, line {number}: {error}; it takes an object with id and row") from error
            mended[line.id] = line.row
    return [msgspec.structs.replace(each, row=mended[each.id]) for each in chosen(kept, mended)]


def with_values(kept: Kept, values: Mapping[str, str], contract: Contract) -> Kept:
    """The row with other values of some columns; one without a value is taken out.

    Raises:
        MendingError: the contract has no such column, or the value is not written as one of its type.

    """
    row, fields = dict(kept.row), {field.name: field for field in contract.fields}
    for column, text in values.items():
        if not text:
            row.pop(column, None)
        elif column not in fields:
            raise MendingError(f"{contract.name} has no column {column!r}{did_you_mean(column, fields)}")
        elif fields[column].type in {"string", "timestamp"}:
            row[column] = text
        else:
            try:
                row[column] = msgspec.json.decode(text)
            except msgspec.DecodeError as error:
                kind = fields[column].type
                raise MendingError(f"{contract.name}.{column} takes a value of type {kind}, not {text!r}") from error
    return msgspec.structs.replace(kept, row=row)


async def send_again(intake: Intake, quarantine: Quarantine, rows: Sequence[Kept]) -> list[tuple[Kept, Verdict]]:
    """Take rows in once more under their own keys; returns what became of each.

    What is accepted, or there already, leaves the quarantine once it is in the log; what is rejected stays, as it is
    now. A process that is killed in between leaves a row in both, and sending it again finds a duplicate.

    Raises:
        LogUnavailableError: the rest is in quarantine as it was.
        StateUnavailableError: a consent is in the log and does not bind yet; the rest is in quarantine as it was.
        QuarantineUnavailableError: what was accepted may still be in quarantine.

    """
    outcome = []
    for sender, batch in _batches(rows):
        events = [EventRow(each.contract, dict(each.row), each.sent_at) for each in batch]
        taken = await intake.take(events, sender=sender)
        told = list(zip(batch, taken.results, strict=True))
        await quarantine.drop([each.id for each, verdict in told if not _is_still(each, verdict)])
        outcome += told
    return outcome


def _batches(rows: Sequence[Kept]) -> Iterator[tuple[str, list[Kept]]]:
    """Rows of one sender, as many as the API takes at a time."""
    for sender, each in groupby(sorted(rows, key=lambda row: row.sender), lambda row: row.sender):
        of_sender = list(each)
        for start in range(0, len(of_sender), EVENTS_LIMIT):
            yield sender, of_sender[start : start + EVENTS_LIMIT]


def _is_still(kept: Kept, verdict: Verdict) -> bool:
    """Whether the row was rejected again under the id that it had; under another one it is kept as another."""
    if verdict.status != "rejected":
        return False
    reject = Reject(
        sender=kept.sender,
        contract=kept.contract,
        rule=verdict.rule,
        column=verdict.column,
        reason=verdict.reason,
        row=kept.row,
    )
    return id_of(reject) == kept.id
