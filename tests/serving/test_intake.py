"""What becomes of a batch of rows, on a real log and State."""

import asyncio
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from nextbest.adapters.quarantine import Quarantine, QuarantineUnavailableError
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.erasure import without_customer
from nextbest.settings import Settings
from nextbest.state import SnapshotScope
from nextbest.wire import EventRow
from serving.intake import Intake

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def consent(status: str, consent_id: str = "k1", at: datetime = AT) -> EventRow:
    row = {"consent_id": consent_id, "customer_id": "c1", "purpose": "marketing", "regime": "opt_in", "status": status}
    return EventRow("consents", row | {"occurred_at": at.isoformat()})


def take(intake: Intake, *rows: EventRow) -> list[str]:
    """Take the rows in as one batch; returns what became of each."""
    return [verdict.status for verdict in asyncio.run(intake.take(rows)).results]


def consents(state: SqliteState) -> Mapping[str, str]:
    since = AT - timedelta(days=1)
    return asyncio.run(state.snapshot("c1", SnapshotScope(since, since))).consents


def test_a_change_under_a_used_id_is_told_and_does_not_bind(intake: Intake, state: SqliteState, log: SqliteLog) -> None:
    """State follows the log, whether the id was used in this batch or before; under an id of its own it binds."""
    assert take(intake, consent("granted"), consent("withdrawn")) == ["accepted", "rejected"]
    assert take(intake, consent("withdrawn")) == ["rejected"]
    assert consents(state) == {"marketing": "granted"}
    assert take(intake, consent("withdrawn", "k2")) == ["accepted"]
    assert consents(state) == {"marketing": "withdrawn"}
    assert [entry.event_id for _, entry in log.read_sync(0, 10)] == ["consents/k1", "consents/k2"]


def test_a_row_under_a_used_id_is_rejected_as_often_as_it_comes(intake: Intake) -> None:
    """Within one batch too: none of it is there already."""
    assert take(intake, consent("granted")) == ["accepted"]
    assert take(intake, consent("withdrawn"), consent("withdrawn")) == ["rejected", "rejected"]
    assert take(intake, consent("granted"), consent("granted")) == ["duplicate", "duplicate"]


def test_a_retry_binds_what_its_first_try_left_undone(intake: Intake, state: SqliteState, clock: Any) -> None:
    """The log took the row and State was down: sent again it is a duplicate, and binds as of when it first came."""
    asyncio.run(intake.log.append(list(asyncio.run(_logged(intake, consent("withdrawn")))), together=False))
    assert consents(state) == {}
    clock.now += timedelta(minutes=1)
    assert take(intake, consent("withdrawn")) == ["duplicate"]
    assert consents(state) == {"marketing": "withdrawn"}


def test_what_was_erased_does_not_come_back_with_a_retry(
    intake: Intake, log: SqliteLog, quarantine: Quarantine
) -> None:
    """Of the first try only the id is left: the next one is a duplicate of it, and is kept nowhere."""
    assert take(intake, consent("withdrawn")) == ["accepted"]
    found = asyncio.run(log.filed_under(["c1"]))
    asyncio.run(log.replace([(offset, without_customer(entry)) for offset, entry in found]))
    assert take(intake, consent("withdrawn")) == ["duplicate"]
    assert quarantine.rows() == []


@pytest.mark.parametrize("sent_at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_at_an_end_of_the_calendar_keeps_no_reject_from_the_quarantine(
    intake: Intake, quarantine: Quarantine, sent_at: str
) -> None:
    """A sender's clock may say anything; in UTC there is no such moment."""
    said = datetime.fromisoformat(sent_at)
    rows = [msgspec.structs.replace(consent(status), sent_at=said) for status in ("granted", "perhaps")]
    assert take(intake, *rows) == ["accepted", "rejected"]
    assert [each.sent_at for each in quarantine.rows()] == [said]


def test_a_row_in_flight_counts_once(intake: Intake, log: SqliteLog) -> None:
    """Sent twice in the same turn of the loop, one is accepted and the other its duplicate, or told of its key."""

    async def both(one: EventRow, other: EventRow) -> list[str]:
        taken = await asyncio.gather(intake.take([one]), intake.take([other]))
        return [each.results[0].status for each in taken]

    assert sorted(asyncio.run(both(consent("granted"), consent("granted")))) == ["accepted", "duplicate"]
    assert sorted(asyncio.run(both(consent("granted", "k2"), consent("withdrawn", "k2")))) == ["accepted", "rejected"]
    assert len(log.read_sync(0, 10)) == 2


def test_what_is_rejected_is_kept_for_whoever_sent_it(intake: Intake, quarantine: Quarantine, clock: Any) -> None:
    """As it was sent, with what the answer says; what is accepted or a duplicate is not."""
    asyncio.run(intake.take([consent("granted"), consent("granted")], sender="shop"))
    assert quarantine.rows() == []
    odd = EventRow("consents", {"consent_id": "k2", "mood": ["blue"]}, AT)
    asyncio.run(intake.take([consent("withdrawn"), odd, consent("granted", "k3")], sender="shop"))
    undeclared, key = sorted(quarantine.rows(), key=lambda kept: kept.rule, reverse=True)
    assert (undeclared.row, undeclared.sent_at) == ({"consent_id": "k2", "mood": ["blue"]}, AT)
    assert (undeclared.sender, undeclared.rule, undeclared.column) == ("shop", "undeclared", "mood")
    assert (undeclared.reason, undeclared.last_at) == ("consents has no 'mood'", clock.now)
    assert (key.rule, key.row["status"]) == ("key", "withdrawn")


def test_without_a_quarantine_no_reject_is_answered(intake: Intake, settings: Settings, state: SqliteState) -> None:
    """Nothing is dropped in silence; sent again later, what was valid is there already. Valid rows need none."""
    settings.quarantine.parent.mkdir(exist_ok=True)
    settings.quarantine.write_text("a file where the folder should be")
    with pytest.raises(QuarantineUnavailableError):
        take(intake, consent("granted"), EventRow("events", {"event_id": "e1"}))
    assert consents(state) == {"marketing": "granted"}
    assert take(intake, consent("granted", "k2")) == ["accepted"]
    settings.quarantine.unlink()
    assert take(intake, consent("granted"), EventRow("events", {"event_id": "e1"})) == ["duplicate", "rejected"]


def test_every_row_is_counted_by_what_became_of_it(intake: Intake) -> None:
    """By sender, contract and status, and the rejected ones by their rule."""
    rows = [consent("granted"), consent("granted"), consent("withdrawn"), EventRow("events", {"event_id": 1})]
    asyncio.run(intake.take(rows, sender="shop"))
    counts = intake.meter.tally().counts
    assert dict(counts["nextbest_events"]) == {
        ("shop", "consents", "accepted"): 1,
        ("shop", "consents", "duplicate"): 1,
        ("shop", "consents", "rejected"): 1,
        ("shop", "events", "rejected"): 1,
    }
    assert dict(counts["nextbest_rejects"]) == {("shop", "consents", "key"): 1, ("shop", "events", "type"): 1}


async def _logged(intake: Intake, *rows: EventRow) -> Any:
    return intake._checked(rows, AT)  # noqa: SLF001  what `take` logs, without the rest


def test_a_retried_batch_is_all_duplicates(intake: Intake, log: SqliteLog) -> None:
    """Whatever the time between, nothing counts twice."""
    rows = [consent("granted", f"k{number}") for number in range(500)]
    assert set(take(intake, *rows)) == {"accepted"}
    assert set(take(intake, *rows)) == {"duplicate"}
    assert len(log.read_sync(0, 1_000)) == 500


def test_the_envelope_says_when_it_was_sent_and_that_it_is_an_impression(intake: Intake, log: SqliteLog) -> None:
    """What a channel knows of its own clock and of the slot it showed is kept from the start."""
    row = {"event_id": "e1", "customer_id": "c1", "type": "impression", "channel": "web", "action": "beef", "slot": 1}
    sent_at = AT - timedelta(seconds=1)
    take(intake, EventRow("events", row | {"occurred_at": AT.isoformat()}, sent_at))
    ((_, entry),) = log.read_sync(0, 10)
    assert (entry.type, entry.contract, entry.slot, entry.sent_at) == ("impression", "events", 1, sent_at)


def test_rows_that_are_all_invalid_are_said_so_without_a_log(intake: Intake, settings: Settings) -> None:
    """What the sender must mend does not depend on whether the log can be had: sending it again would not help."""
    settings.state.mkdir(exist_ok=True)
    shutil.rmtree(settings.state / "log")
    (settings.state / "log").write_text("a file where the folder should be")
    assert take(intake, EventRow("events", {"event_id": "e1"})) == ["rejected"]
