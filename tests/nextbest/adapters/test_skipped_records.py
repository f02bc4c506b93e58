"""Records that could not be applied are kept for a person to look at: the last hundred, each once, and no value."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nextbest.adapters.skipped_records import Skipped, SkippedRecords
from nextbest.envelope import Envelope

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def record(number: int) -> Envelope:
    return Envelope(
        event_id=f"events/{number}",
        type="event",
        contract="events",
        contract_version="1.0.0",
        source="live",
        occurred_at=AT,
        received_at=AT,
        partition_key="c1",
        properties={"customer_id": "ann@example.org"},
    )


def test_the_last_hundred_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    """The same record of the same log again is no other one."""
    kept = SkippedRecords(tmp_path / "skipped.json")
    for number in [*range(103), 102]:
        kept.add("log", number, record(number), ValueError("ann@example.org"), AT)
    kept.add("other log", 102, record(102), ValueError("ann@example.org"), AT)
    found = kept.read()
    assert (found.count, len(found.last)) == (104, 100)
    assert [(each.log_id, each.event_id, each.error) for each in found.last[-2:]] == [
        ("log", "events/102", "ValueError"),
        ("other log", "events/102", "ValueError"),
    ]
    assert "ann@example.org" not in (tmp_path / "skipped.json").read_text()


@pytest.mark.parametrize("content", [None, "{"])
def test_no_file_or_one_of_another_version_is_none(tmp_path: Path, content: str | None) -> None:
    """The next one that is skipped makes it anew."""
    path = tmp_path / "skipped.json"
    if content:
        path.write_text(content)
    assert SkippedRecords(path).read() == Skipped()
    SkippedRecords(path).add("log", 1, record(1), ValueError(), AT)
    assert SkippedRecords(path).read().count == 1


def test_a_place_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """The server's log has it too."""
    (tmp_path / "folder").write_text("a file where the folder should be")
    SkippedRecords(tmp_path / "folder" / "skipped.json").add("log", 1, record(1), ValueError(), AT)
