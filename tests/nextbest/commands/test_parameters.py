"""Parameters that several commands take."""

from pathlib import Path

import click
from click.testing import CliRunner

from nextbest.commands.parameters import ReportFile


@click.command()
@click.option("--json", "report", type=ReportFile())
def work(report: Path) -> None:
    click.echo(f"worked for {report.name}")


def test_a_report_that_could_not_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    """Minutes of work whose report is lost are minutes lost."""
    runner = CliRunner()
    assert runner.invoke(work, ["--json", str(tmp_path / "report.json")]).output == "worked for report.json\n"
    refused = runner.invoke(work, ["--json", str(tmp_path / "nowhere" / "report.json")])
    assert refused.exit_code == 2
    assert "there is no folder" in refused.output
    assert "worked" not in refused.output
