"""`nextbest policy`: whether the policy in `policies/` can go live, what a change to it says, and schemas for editors.

Belongs here: arguments and output. What is checked is `nextbest.policy_document` and `nextbest.policy_check`, what
differs `nextbest.policy_diff`; files are `nextbest.adapters.policy_files` and `nextbest.adapters.policy_revisions`.
"""

import asyncio
import sys
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import click
import msgspec

from nextbest.adapters.contract_files import path_in_repository
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.policy_files import review
from nextbest.adapters.policy_revisions import ComparisonError, document_of
from nextbest.adapters.policy_schemas import stale_schemas
from nextbest.adapters.states import open_state
from nextbest.commands.reporting import end, report_options, write_reports
from nextbest.commands.trial import try_policy
from nextbest.commands.usage import usage
from nextbest.findings import Report, count
from nextbest.policy_diff import describe
from nextbest.settings import Settings


@click.group()
def policy() -> None:
    """Work with the policy in `policies/`.

    Example: nextbest policy check
    """


@policy.command()
@report_options
def check(sarif: Path | None, junit: Path | None) -> None:
    """Say every mistake in the policy with its file and line, and what it can hardly mean as a warning.

    The status is 0 if there is no mistake, 1 if there is one, and 2 if the command was called wrongly.

    Example: nextbest policy check --sarif policy.sarif
    """
    folder = Settings.from_env().folder("policies")
    found = review(folder, datetime.now(UTC).date())
    report = Report("nextbest policy check", path_in_repository(folder), found.files, found.findings)
    write_reports(report, sarif=sarif, junit=junit)
    for file, findings in groupby(report.findings, lambda finding: finding.file):
        several = list(findings)
        click.echo(f"{report.path(file)}: {_counts(count(several, 'error'), count(several, 'warning'))}")
        for finding in several:
            click.echo(f"  {report.path(file)}:{finding.line}: {finding.level}: {finding.message} [{finding.rule}]")
    totals = _counts(report.errors, count(report.findings, "warning"))
    click.echo(f"{len(found.files)} files of the policy, {totals}")
    end(report)


def _counts(errors: int, warnings: int) -> str:
    return f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}"


@policy.command()
@click.argument("before")
@click.argument("after", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def diff(before: str, after: str | None, *, as_json: bool) -> None:
    """Say in words what changes from the policy BEFORE to the policy AFTER, or to the one in `policies/`.

    Each is a folder of policy files, or a git revision of `policies/`, written git:REF.

    The status is 0 whatever changes, and 2 if the command was called wrongly or a policy cannot be read.

    \b
    Example: nextbest policy diff git:origin/main
             nextbest policy diff policies ../proposal/policies --json
    """  # noqa: D301  click reads the control character
    folder = Settings.from_env().folder("policies")
    try:
        old, new = document_of(folder, before), document_of(folder, after or str(folder))
    except ComparisonError as error:
        raise click.UsageError(str(error)) from error
    changes = describe(old, new)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(changes)).decode())
        return
    for change in changes:
        click.echo(str(change))
    if not changes:
        click.echo("nothing changes")


@policy.command()
def publish() -> None:
    """Let the servers decide by the policy in `policies/`, from the next look of every replica on.

    It is checked first: a policy with a mistake stays where it is, and what decides goes on deciding. `nextbest serve`
    does the same when it starts.

    Example: nextbest policy publish
    """
    settings = Settings.from_env()
    name = read_and_archive(settings.folder("policies"), settings.policies_archive).hash
    with closing(open_state(settings)) as state:
        before = asyncio.run(state.current_policy())
        asyncio.run(state.publish_policy(name))
    click.echo(f"policy {name} decides" + (" as before" if before == name else f", after {before}" if before else ""))


@policy.command()
@click.option("--check", "only_look", is_flag=True, help="Write nothing; status 1 when a file is not up to date.")
def schema(*, only_look: bool) -> None:
    """Write the JSON Schema of each policy file to `policies/schema/`, by which editors complete and explain.

    \b
    Example: nextbest policy schema
             nextbest policy schema --check
    """  # noqa: D301  click reads the control character
    stale = stale_schemas(Settings.from_env().folder("policies"), write=not only_look)
    for path in stale:
        click.echo(f"{'not up to date' if only_look else 'written'}: {path}")
    if only_look and stale:
        click.echo("Run `nextbest policy schema`.")
        sys.exit(1)
    if not stale:
        click.echo("The schemas of the policy files are up to date.")


policy.add_command(try_policy)
policy.add_command(usage)
