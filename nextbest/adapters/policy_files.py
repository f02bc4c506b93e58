"""Reading a policy from its folder of YAML files, every problem named with file and line.

Belongs here: which files a policy is made of. Does not belong here: YAML and line numbers
(`nextbest.adapters.yaml_files`), or what is right or wrong in a policy (`nextbest.policy_document`,
`nextbest.policy_check`).
"""

from pathlib import Path

from pydantic import ValidationError

from nextbest.adapters.yaml_files import YamlFile
from nextbest.errors import NextbestError
from nextbest.findings import Finding, Place, Problem
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument

FILES = tuple(PolicyDocument.model_fields)


class PolicyError(NextbestError):
    """A policy that cannot be used; `problems` has every mistake, and nothing of the policy goes live."""

    def __init__(self, folder: Path, problems: list[Finding]) -> None:
        self.problems = sorted(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{count} in the policy of {folder}", *map(str, self.problems)]))


def read_policy(folder: Path) -> Policy:
    """Read, check and compile the policy in `folder`.

    Raises:
        PolicyError: with every problem found, file by file and between files.

    """
    return compile_policy(read_document(folder))


def read_document(folder: Path) -> PolicyDocument:
    """Read and check the policy in `folder`, as its files say it.

    Raises:
        PolicyError: with every problem found.

    """
    files = {
        name: YamlFile.read(folder / f"{name}.yaml")
        for name, field in PolicyDocument.model_fields.items()
        if field.is_required() or (folder / f"{name}.yaml").exists()
    }
    problems = [problem for file in files.values() for problem in file.problems]
    try:
        document = PolicyDocument.model_validate({name: file.content for name, file in files.items()})
        found = check(document)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        found = [Problem(e["loc"], e["msg"], "policy-value") for e in errors]
    problems += [
        files[str(problem.place[0])].finding(problem.place[1:], problem.message, problem.rule)
        for problem in found
        if not _unread(files, problem.place)
    ]
    if problems:
        raise PolicyError(folder, problems)
    return document


def _unread(files: dict[str, YamlFile], place: Place) -> bool:
    """Whether the file could not be read at all, which is said already."""
    return files[str(place[0])].content is None
