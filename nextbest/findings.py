"""What a check found: a rule that was broken, in which file and line, and how bad it is.

Belongs here: the one form in which every check of contracts and policies tells what is wrong. Does not belong here: how
it is written down for machines (`nextbest.adapters.reports`), or what is checked (`nextbest.contract_check`,
`nextbest.policy_check`, `nextbest.compatibility`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import normpath
from typing import Literal

import msgspec

Level = Literal["error", "warning", "note"]
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the path to it in the document, the file's name first, and what is wrong."""

    place: Place
    message: str
    rule: str
    level: Level = "error"


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that was found: `file` is a name in the folder that was checked, `line` counts from 1."""

    file: str
    line: int
    message: str
    rule: str
    level: Level = "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class Report(msgspec.Struct, frozen=True):
    """All that one check looked at and found.

    `folder` is where the files are, relative to the repository's root and empty for the root itself; `files` are their
    names, those without a finding too.
    """

    tool: str
    folder: str
    files: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return count(self.findings, "error")

    def path(self, file: str) -> str:
        """Where a file is, relative to the repository's root."""
        return normpath(f"{self.folder}/{file}" if self.folder else file)


def count(findings: Iterable[Finding], level: Level) -> int:
    """How many findings are of a level."""
    return sum(finding.level == level for finding in findings)
