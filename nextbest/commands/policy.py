"""`nextbest policy`: whether the policy in `policies/` can go live.

Belongs here: arguments and output. What is checked is `nextbest.policy_document` and `nextbest.policy_check`; files are
`nextbest.adapters.policy_files`.
"""

from pathlib import Path

import click

from nextbest.adapters.contract_files import path_in_repository
from nextbest.adapters.policy_files import FILES, PolicyError, read_policy
from nextbest.commands.reporting import end, report_options, show
from nextbest.commands.trial import try_policy
from nextbest.findings import Finding, Report
from nextbest.settings import Settings


@click.group()
def policy() -> None:
    """Work with the policy in `policies/`.

    Example: nextbest policy check
    """


@policy.command()
@report_options
def check(sarif: Path | None, junit: Path | None) -> None:
    """Say every mistake in the policy with its file and line.

    The status is 0 if there is none, 1 if there is one, and 2 if the command was called wrongly.

    Example: nextbest policy check --sarif policy.sarif
    """
    folder = Settings.from_env().folder("policies")
    found: list[Finding] = []
    try:
        read_policy(folder)
    except PolicyError as error:
        found = error.problems
    files = tuple(f"{name}.yaml" for name in FILES)
    report = Report("nextbest policy check", path_in_repository(folder), files, tuple(found))
    show(report, sarif=sarif, junit=junit)
    click.echo(f"{len(files)} files of the policy, {report.errors} problems")
    end(report)


policy.add_command(try_policy)
