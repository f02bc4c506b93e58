"""`nextbest quarantine`: rejected rows are found, mended, sent again and dropped, with no server running."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from nextbest.adapters.landing import Door
from nextbest.adapters.quarantine import Quarantine, QuarantineUnavailableError
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.contracts import Contract
from nextbest.settings import Settings
from nextbest.wire import EventRow
from serving.intake import Intake
from serving.mending import send_again
from serving.quarantine_commands import quarantine as command

SENT_AT = datetime(2026, 3, 2, 11, tzinfo=UTC)


def event(event_id: str, **fields: Any) -> EventRow:
    row = {"event_id": event_id, "customer_id": "c1", "type": "click", "channel": "web"}
    return EventRow("events", row | {"occurred_at": "2026-03-02T12:00:00Z"} | fields, SENT_AT)


def run(settings: Settings, *arguments: str, **options: Any) -> Result:
    return CliRunner(env={"NEXTBEST_HOME": str(settings.home), "COLUMNS": "300"}).invoke(command, arguments, **options)


@pytest.fixture
def rejected(intake: Intake) -> None:
    """Two rows of a wrong channel and one of a name that there is not, of two senders."""
    asyncio.run(intake.take([event("e1", channel="pigeon"), event("e2", channel="pigeon")], sender="shop"))
    asyncio.run(intake.take([event("e3", colour="red\x1b[31m")], sender="app"))


def logged(log: SqliteLog) -> list[str]:
    return sorted(entry.event_id for _, entry in log.read_sync(0, 100))


@pytest.mark.usefixtures("rejected")
def test_a_person_finds_all_that_was_rejected_in_one_place(settings: Settings, contracts: dict[str, Contract]) -> None:
    """Events with sender and reason, and where the rows of files are; nothing that was sent moves the terminal."""
    good = {"customer_id": "c1", "purpose": "marketing", "status": "granted", "regime": "opt_in", "source": "import"}
    rows = [
        {**good, "consent_id": f"k{number}", "status": status, "occurred_at": "2026-03-02T12:00:00Z"}
        for number, status in enumerate(("granted", "maybe"))
    ]
    receipt = Door.of(settings).land("consents", pa.Table.from_pylist(rows), source_name="crm", references={})
    said = run(settings, "list").output
    assert said.count("events.channel is 'pigeon': it takes web, app, email") == 2
    assert "events has no 'colour'" in said
    assert all(each in said for each in ("shop", "app", "crm", "status.enum 1"))
    assert str(settings.quarantine / "consents" / f"batch={receipt.batch_id}") in said
    assert "\x1b" not in said
    assert "pigeon" not in run(settings, "list", "--rule", "undeclared").output
    assert run(settings, "list", "--contract", "outcomes").output == "no event of outcomes is in quarantine\n"
    said = run(settings, "list", "--rule", "enu").output
    assert said.startswith("no event under the rule enu is in quarantine\n")
    assert set(contracts) >= {"consents"}


@pytest.mark.usefixtures("rejected")
def test_a_narrow_terminal_shows_whole_ids(settings: Settings, quarantine: Quarantine) -> None:
    """They are what the other commands are told, and nothing finds a row by a part of one."""
    said = run(settings, "list", env={"COLUMNS": "80"}).output
    assert all(each.id in said for each in quarantine.rows())


@pytest.mark.usefixtures("rejected")
def test_rows_are_mended_by_a_value_and_sent_again(settings: Settings, log: SqliteLog, quarantine: Quarantine) -> None:
    """Under their own keys, with what is known of their sending; what still breaks a rule stays, with that rule."""
    done = run(settings, "retry", "--all", "--contract", "events", "--set", "channel=web")
    assert done.output.startswith("2 accepted, 0 there already, 1 rejected again\n")
    assert "events has no 'colour'" in done.output
    assert done.exit_code == 1
    assert logged(log) == ["events/e1", "events/e2"]
    assert log.read_sync(0, 1)[0][1].sent_at == SENT_AT
    (kept,) = quarantine.rows()
    assert (kept.row["event_id"], kept.sender) == ("e3", "app")
    done = run(settings, "retry", kept.id, "--set", "colour=", "--set", "slot=-1")
    assert done.output.startswith("0 accepted, 0 there already, 1 rejected again\n")
    (kept,) = quarantine.rows()
    assert (kept.rule, kept.column, kept.row["slot"]) == ("minimum", "slot", -1)
    assert (
        run(settings, "retry", "--all", "--set", "slot=1").output == "1 accepted, 0 there already, 0 rejected again\n"
    )
    assert quarantine.rows() == []


@pytest.mark.usefixtures("rejected")
def test_rows_are_mended_in_an_editor(
    settings: Settings, log: SqliteLog, quarantine: Quarantine, tmp_path: Path
) -> None:
    """What `list --json` wrote, changed, comes back by `retry --rows`; nobody else may read the file."""
    file = tmp_path / "rejected.jsonl"
    assert run(settings, "list", "--rule", "enum", "--json", str(file)).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(file.read_text().replace("pigeon", "email") + "\n")
    assert run(settings, "retry", "--rows", str(file)).output == "2 accepted, 0 there already, 0 rejected again\n"
    assert {entry.channel for _, entry in log.read_sync(0, 10)} == {"email"}
    assert [each.rule for each in quarantine.rows()] == ["undeclared"]


@pytest.mark.usefixtures("rejected")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retry"], "name the rows by their ids"),
        (["retry", "x1", "--all"], "name the rows by their ids"),
        (["retry", "x1"], "no row in quarantine has the id x1: `nextbest quarantine list` shows them"),
        (["drop", "x1"], "no row in quarantine has the id x1"),
        (["retry", "--all", "--set", "channel"], "it takes COLUMN=VALUE"),
        (["retry", "--all", "--set", "chanel=web"], "events has no column 'chanel'; did you mean 'channel'?"),
        (["retry", "--all", "--set", "slot=one"], "events.slot takes a value of type integer, not 'one'"),
        (["retry", "--all", "--rows", "{file}"], "the file of --rows names the rows already"),
        (["retry", "--rows", "{file}"], "line 2: Object missing required field `row`; it takes an object with id and"),
    ],
)
def test_what_cannot_be_done_is_said(  # noqa: PLR0917  fixtures
    settings: Settings, log: SqliteLog, quarantine: Quarantine, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """And nothing was sent, nor is anything gone."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "x1", "row": {}}\n{"id": "x2"}\n')
    result = run(settings, *[each.format(file=file) for each in arguments])
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)
    assert logged(log) == []
    assert len(quarantine.rows()) == 3


@pytest.mark.usefixtures("rejected")
def test_dropping_asks(settings: Settings, quarantine: Quarantine) -> None:
    """Unless it is told not to."""
    assert run(settings, "drop", "--all", input="n\n").exit_code == 1
    assert len(quarantine.rows()) == 3
    assert run(settings, "drop", quarantine.rows()[0].id, input="y\n").output.endswith("1 rows dropped\n")
    assert run(settings, "drop", "--all", "--yes").output == "2 rows dropped\n"
    assert quarantine.rows() == []


def test_what_ends_between_log_and_quarantine_loses_nothing(
    intake: Intake, log: SqliteLog, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is in both, and sending it again finds the duplicate and cleans up."""
    asyncio.run(intake.take([event("e1", channel="pigeon")], sender="shop"))
    mended = [msgspec.structs.replace(each, row={**each.row, "channel": "web"}) for each in quarantine.rows()]

    async def fails(_ids: object) -> int:
        raise QuarantineUnavailableError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(quarantine, "drop", fails)
        with pytest.raises(QuarantineUnavailableError):
            asyncio.run(send_again(intake, quarantine, mended))
    assert (logged(log), len(quarantine.rows())) == (["events/e1"], 1)
    ((_, verdict),) = asyncio.run(send_again(intake, quarantine, mended))
    assert (verdict.status, quarantine.rows()) == ("duplicate", [])
