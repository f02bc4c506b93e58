"""Reading a policy from its folder of YAML files, every problem named with file and line.

Belongs here: files, YAML and line numbers. Does not belong here: what is right or wrong in a policy
(`nextbest.policy_document`, `nextbest.policy_check`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nextbest.errors import NextbestError
from nextbest.policy import Policy, compile_policy
from nextbest.policy_check import Place, check
from nextbest.policy_document import PolicyDocument

FILES = tuple(PolicyDocument.model_fields)


@dataclass(frozen=True, slots=True, order=True)
class FileProblem:
    """One mistake with where a person finds it."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class PolicyError(NextbestError):
    """A policy that cannot be used; `problems` has every mistake, and nothing of the policy goes live."""

    def __init__(self, folder: Path, problems: list[FileProblem]) -> None:
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
    files = {name: _File.read(folder / f"{name}.yaml") for name in FILES}
    problems = [problem for file in files.values() for problem in file.problems]
    try:
        document = PolicyDocument.model_validate({name: file.content for name, file in files.items()})
        found = [(problem.place, problem.message) for problem in check(document)]
    except ValidationError as error:
        found = [(e["loc"], e["msg"]) for e in error.errors(include_url=False, include_context=False)]
    problems += [
        files[str(place[0])].problem(place[1:], message) for place, message in found if not _unread(files, place)
    ]
    if problems:
        raise PolicyError(folder, problems)
    return document


def _unread(files: "dict[str, _File]", place: Place) -> bool:
    """Whether the file could not be read at all, which is said already."""
    return files[str(place[0])].content is None


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    content: Any
    lines: dict[Place, int]
    problems: list[FileProblem]

    @classmethod
    def read(cls, path: Path) -> "_File":
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node()
            if node is None:
                return cls(path.name, None, {}, [FileProblem(path.name, 1, "the file is empty")])
            content = loader.construct_document(node)  # before the walk: it refuses keys that are lists
            lines: dict[Place, int] = {}
            repeated = [FileProblem(path.name, line, f"`{key}` is there twice") for key, line in _walk(node, (), lines)]
            return cls(path.name, content, lines, repeated)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            reason = str(error.problem) if isinstance(error, _AliasError) else f"not YAML: {error.problem}"
            return cls(path.name, None, {}, [FileProblem(path.name, line, reason)])
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: the 30th of February
            reason = "the file is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
            return cls(path.name, None, {}, [FileProblem(path.name, 1, reason)])

    def problem(self, place: Place, message: str) -> FileProblem:
        """The problem at the line of `place`, or of the nearest part around it that is in the file."""
        around = next(place[:end] for end in range(len(place), -1, -1) if place[:end] in self.lines)
        where = ".".join(map(str, place))
        return FileProblem(self.name, self.lines[around], f"{where}: {message}" if where else message)


class _AliasError(yaml.MarkedYAMLError):
    """A part of the file that stands for another part of it."""


class _Loader(yaml.SafeLoader):
    """Reads what is written out: with aliases, a few lines can be a document that is endless to read."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _AliasError(problem="aliases are not allowed here: write it out", problem_mark=mark)
        return super().compose_node(parent, index)


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Iterator[tuple[str, int]]:
    """Note the line of every part below `node`; yields keys that are there twice, of which YAML would keep the last."""
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*place, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*place, key.value)
            line = key.start_mark.line + 1
            if below in lines:
                yield key.value, line
            lines[below] = line
            yield from _walk(value, below, lines)
