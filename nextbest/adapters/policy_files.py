"""Reading a policy from its folder of YAML files, every problem named with file and line.

Belongs here: which files a policy is made of, and what the contracts beside it say can happen. Does not belong here:
YAML and line numbers (`nextbest.adapters.yaml_files`), or what is right or wrong in a policy
(`nextbest.policy_document`, `nextbest.policy_check`).
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nextbest.adapters.contract_files import SUFFIX, read_contract
from nextbest.adapters.yaml_files import YamlFile
from nextbest.contracts import ContractError
from nextbest.errors import NextbestError
from nextbest.findings import Finding, Place, Problem, count
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_checks.subject import Vocabulary
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.policy_parts import OPTIONAL, part_at, read_parts
from nextbest.settings import CHECKOUT

FILES = tuple(PolicyDocument.model_fields)


class PolicyError(NextbestError):
    """A policy that cannot be used; `problems` has every mistake, and nothing of the policy goes live."""

    def __init__(self, folder: Path, problems: list[Finding]) -> None:
        self.problems = sorted(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{count} in the policy of {folder}", *map(str, self.problems)]))


@dataclass(frozen=True, slots=True)
class Review:
    """All that was found in a policy's folder: the files it has, and the document if there is no error."""

    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    document: PolicyDocument | None


def read_policy(folder: Path) -> Policy:
    """Read, check and compile the policy in `folder`: the whole of it, or nothing.

    Raises:
        PolicyError: with every problem found, file by file and between files.

    """
    return compile_policy(read_document(folder))


def read_document(folder: Path) -> PolicyDocument:
    """Read and check the policy in `folder`, as its files say it.

    Raises:
        PolicyError: with every problem found.

    """
    found = review(folder)
    if found.document is None:
        raise PolicyError(folder, [each for each in found.findings if each.level == "error"])
    return found.document


def read_valid(folder: Path) -> PolicyDocument:
    """The policy in `folder`, if its files can be read; whether its parts fit together is not looked at.

    Raises:
        PolicyError: with every mistake of type.

    """
    files = read_files(folder)
    parts = read_parts({name: file.content for name, file in files.items() if file.content is not None})
    problems = [finding for file in files.values() for finding in file.problems]
    problems += [_finding(files, problem) for problem in parts.problems]
    if problems:
        raise PolicyError(folder, problems)
    return parts.document


def review(folder: Path, today: dt.date | None = None) -> Review:
    """Everything that is wrong with the policy in `folder`, sorted by file and line; by `today` also what has ended."""
    files = read_files(folder)
    findings, document = _review(files, vocabulary(folder), today)
    return Review(tuple(file.name for file in files.values()), findings, document)


def read_files(folder: Path) -> dict[str, YamlFile]:
    """The files of the policy in `folder`; those that it may be without, if they are there."""
    paths = {name: folder / f"{name}.yaml" for name in FILES}
    return {name: YamlFile.read(path) for name, path in paths.items() if name not in OPTIONAL or path.exists()}


def _review(
    files: Mapping[str, YamlFile], words: Vocabulary, today: dt.date | None
) -> tuple[tuple[Finding, ...], PolicyDocument | None]:
    parts = read_parts({name: file.content for name, file in files.items() if file.content is not None})
    found = check(parts.document, words, today=today, lost=parts.lost, unread=parts.unread)
    # A part that is left out may look wrong for want of it, which is said already.
    told = {problem.place for problem in parts.problems}
    problems = [*parts.problems, *(each for each in map(parts.written, found) if not told & set(_around(each.place)))]
    unreadable = [finding for file in files.values() for finding in file.problems]
    findings = tuple(sorted({*unreadable, *(_finding(files, problem) for problem in problems)}))
    return findings, None if count(findings, "error") else parts.document


def _around(place: Place) -> Iterator[Place]:
    """The place itself and every part around it."""
    return (place[:end] for end in range(1, len(place) + 1))


def _finding(files: Mapping[str, YamlFile], problem: Problem) -> Finding:
    """A finding whose message begins with the place, where a member of a list goes by its name, not its number."""
    name, *place = problem.place
    file = files[str(name)]
    part, path = file.content, []
    for each in place:
        part = part_at(part, (each,))
        named = part if isinstance(each, int) and isinstance(part, dict) else {}
        path.append(str(named.get("id", named.get("name", each))))
    message = f"{'.'.join(path)}: {problem.message}" if path else problem.message
    return Finding(file.name, file.line(tuple(place)), message, problem.rule, problem.level)


def vocabulary(folder: Path) -> Vocabulary:
    """What can happen, by the contracts beside the policy; by nextbest's own, where there are none."""
    beside = folder.resolve().parent / "data_contracts"
    contracts = beside if beside.is_dir() else CHECKOUT / "data_contracts"
    return Vocabulary(_values(contracts, "events", "type"), _values(contracts, "outcomes", "kind"))


def _values(contracts: Path, name: str, field: str) -> frozenset[str] | None:
    """The closed list of a field; None without one, or where a check of the contracts has something to say first."""
    try:
        values = read_contract(contracts / f"{name}{SUFFIX}").field(field).enum
    except (ContractError, OSError, StopIteration):
        return None
    return frozenset(map(str, values)) if values else None
