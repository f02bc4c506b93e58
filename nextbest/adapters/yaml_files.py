"""YAML files that a person writes: their content, and the line of every part of it.

Belongs here: reading, and turning a place in a document into file and line. Does not belong here: what is right or
wrong in a document (`nextbest.policy_check`, `nextbest.contract_check`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nextbest.findings import Finding, Level, Place

UNREADABLE = "yaml"


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file as it was read; `content` is None where it could not be, and `problems` say why."""

    name: str
    content: Any
    lines: dict[Place, int]
    problems: list[Finding]

    @classmethod
    def read(cls, path: Path) -> "YamlFile":
        """Read a file; what is wrong with it is in `problems`, never an exception."""
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node()
            if node is None:
                return cls._unread(path, 1, "the file is empty")
            content = loader.construct_document(node)  # before the walk: it refuses keys that are lists
            lines: dict[Place, int] = {}
            repeated = [
                Finding(path.name, line, f"`{key}` is there twice", UNREADABLE) for key, line in _walk(node, (), lines)
            ]
            return cls(path.name, content, lines, repeated)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            reason = str(error.problem) if isinstance(error, _AliasError) else f"not YAML: {error.problem}"
            return cls._unread(path, line, reason)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: the 30th of February
            reason = "the file is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
            return cls._unread(path, 1, reason)

    @classmethod
    def _unread(cls, path: Path, line: int, reason: str) -> "YamlFile":
        return cls(path.name, None, {}, [Finding(path.name, line, reason, UNREADABLE)])

    def line(self, place: Place) -> int:
        """The line of `place`, or of the nearest part around it that is in the file."""
        return next((self.lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in self.lines), 1)

    def finding(self, place: Place, message: str, rule: str, level: Level = "error") -> Finding:
        """What is wrong at `place`, with its line; the message begins with the place."""
        where = ".".join(map(str, place))
        return Finding(self.name, self.line(place), f"{where}: {message}" if where else message, rule, level)


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
