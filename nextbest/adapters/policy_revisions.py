"""Policies to compare: in a folder, or as a git revision had them.

Belongs here: what a person can name a policy by. Does not belong here: what differs (`nextbest.policy_diff`), or
whether a policy could go live (`nextbest.adapters.policy_files`): one that could not can still be compared.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from nextbest.adapters.contract_files import RevisionError, git
from nextbest.adapters.policy_files import FILES, PolicyError, read_valid
from nextbest.errors import NextbestError
from nextbest.policy_document import PolicyDocument

REVISION: Final = "git:"


class ComparisonError(NextbestError):
    """A policy that cannot be compared: it is not there, or its files cannot be read."""


def document_of(policies: Path, name: str) -> PolicyDocument:
    """The policy in the folder `name`, or that of the folder `policies` at the revision `git:REF`.

    Raises:
        ComparisonError: there is none, or it has mistakes of type; the message says where.

    """
    try:
        if not name.startswith(REVISION):
            return _in_folder(Path(name))
        return _at_revision(policies, name.removeprefix(REVISION))
    except (PolicyError, RevisionError) as error:
        raise ComparisonError(f"{name}: {error}") from error


def _in_folder(folder: Path) -> PolicyDocument:
    if not folder.is_dir():
        raise ComparisonError(f"{folder} is no folder: name one with policy files, or a git revision as git:REF")
    return read_valid(folder)


def _at_revision(policies: Path, reference: str) -> PolicyDocument:
    there = git(policies, "ls-tree", "--name-only", "--end-of-options", reference, "./").splitlines()
    names = [f"{name}.yaml" for name in FILES if f"{name}.yaml" in there]
    if not names:
        raise ComparisonError(f"{reference} has no policy in {policies}")
    with TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / name).write_text(git(policies, "show", f"{reference}:./{name}"), encoding="utf-8")
        return read_valid(Path(folder))
