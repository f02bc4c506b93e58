"""What of a policy can be read: every part that is right, so that one mistake does not hide the others.

Belongs here: finding mistakes of type, and leaving out the smallest parts that have them. Does not belong here: what
must hold between parts (`nextbest.policy_check`). What is left serves to be checked, never to decide by: a policy with
a mistake does not go live.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from nextbest.findings import Place, Problem
from nextbest.policy_checks.wording import model_at, sentence
from nextbest.policy_document import (
    ActionsFile,
    ArbitrationFile,
    ContactPolicyFile,
    ExperimentsFile,
    ExplorationDocument,
    FeaturesFile,
    PlacementsFile,
    PolicyDocument,
)

OPTIONAL: Final = frozenset(name for name, field in PolicyDocument.model_fields.items() if not field.is_required())
"""The files that a policy may be without."""
MODELS: Final[dict[str, type[BaseModel]]] = {
    "actions": ActionsFile,
    "placements": PlacementsFile,
    "contact_policy": ContactPolicyFile,
    "arbitration": ArbitrationFile,
    "features": FeaturesFile,
    "experiments": ExperimentsFile,
}
"""By the name of a file, what it holds."""


_NAMING: Final = frozenset({"id", "name", "group"})
"""The fields that give something its name."""


class _Gone:
    """In the place of a member that is left out, so that the others keep their numbers."""


_GONE: Final = _Gone()


@dataclass(frozen=True, slots=True)
class Parts:
    """What could be read of a policy.

    `document` has empty files in the place of the `unread` ones; `lost` are the names of what is left out, which others
    may refer to.
    """

    document: PolicyDocument
    problems: tuple[Problem, ...]
    lost: frozenset[str]
    unread: frozenset[str]
    contents: Mapping[str, Any]
    """The files as they were read, with a mark in the place of what is left out."""

    def written(self, problem: Problem) -> Problem:
        """A problem of the document, at its place in the file."""
        file, *place = problem.place
        return replace(problem, place=(file, *_written(self.contents.get(str(file)), place)))


def read_parts(contents: Mapping[str, Any]) -> Parts:
    """Read the files of a policy, each by itself; those that are not in `contents` could not be read."""
    found = {name: _File(name, model, contents[name]) for name, model in MODELS.items() if name in contents}
    files = {name: file.read for name, file in found.items() if file.read is not None}
    empty = {name: file for name, file in _empty().items() if name not in files}
    return Parts(
        document=PolicyDocument.model_construct(None, **cast("dict[str, Any]", {**files, **empty})),
        problems=tuple(problem for file in found.values() for problem in file.problems),
        lost=frozenset(name for file in found.values() for name in file.lost),
        unread=frozenset(name for name in empty if name in contents or name not in OPTIONAL),
        contents={name: file.content for name, file in found.items()},
    )


class _File:
    """One file, from which parts are taken out until what is left is right."""

    def __init__(self, name: str, model: type[BaseModel], content: Any) -> None:
        self.content = deepcopy(content)
        self.problems: list[Problem] = []
        self.lost: set[str] = set()
        self.read: BaseModel | None = None
        while self.content is not _GONE and self.read is None:
            try:
                self.read = model.model_validate(_compact(self.content))
            except ValidationError as error:
                mistakes = _by_place(self.content, error)
                if not self.problems:  # what is missing only since it was taken out is no mistake of the file
                    self.problems = [
                        Problem((name, *place), sentence(errors, model_at(model, place[:-1])), "policy-value")
                        for place, errors in mistakes.items()
                    ]
                for place in mistakes:
                    self._take_out(place)

    def _take_out(self, place: Place) -> None:
        """Take out a part; where it is a field that is missing, the part it is missing from."""
        around = part_at(self.content, place[:-1])
        if not place:
            self.lost |= set(_names(self.content))
            self.content = _GONE
        elif isinstance(around, dict) and place[-1] in around:
            self.lost |= {str(place[-1]), *_names({place[-1]: around.pop(place[-1])})}
        elif isinstance(around, list) and isinstance(place[-1], int):
            self.lost |= set(_names(around[place[-1]]))
            around[place[-1]] = _GONE
        elif around is not _GONE:  # else it went with a part around it
            self._take_out(place[:-1])


def _by_place(content: Any, error: ValidationError) -> dict[Place, list[Mapping[str, Any]]]:
    """The errors by the part of the file they are about.

    An error about the whole of a union's value, where another is about a part of it, is of a form that is not meant.
    """
    found: defaultdict[Place, list[Mapping[str, Any]]] = defaultdict(list)
    for each in error.errors(include_url=False):
        missing = each["loc"][-1:] if each["type"] == "missing" else ()
        found[*_written(content, each["loc"], has_forms=True), *missing].append(each)
    return {place: errors for place, errors in found.items() if not any(_is_around(place, other) for other in found)}


def _is_around(place: Place, other: Place) -> bool:
    return len(place) < len(other) and other[: len(place)] == place


def _written(content: Any, place: Sequence[str | int], *, has_forms: bool = False) -> Iterator[str | int]:
    """A place in what is left, as one in the file; with `has_forms` it may name a union's forms, which no file does."""
    for name in place:
        if isinstance(content, list) and isinstance(name, int):
            index = [index for index, each in enumerate(content) if each is not _GONE][name]
            content = content[index]
            yield index
        elif isinstance(content, dict) and name in content:
            content = content[name]
            yield name
        elif not has_forms:
            yield name


def part_at(content: Any, place: Place) -> Any:
    """The part at a place; the mark of what is gone, if it is."""
    for name in place:
        is_there = isinstance(content, list) or (isinstance(content, dict) and name in content)
        content = content[name] if is_there else _GONE
    return content


def _compact(content: Any) -> Any:
    """The content without what is gone."""
    if isinstance(content, dict):
        return {name: _compact(each) for name, each in content.items()}
    if isinstance(content, list):
        return [_compact(each) for each in content if each is not _GONE]
    return content


def _names(content: Any) -> Iterator[str]:
    """The names that a part gives to something."""
    if isinstance(content, dict):
        yield from (each for name, each in content.items() if name in _NAMING and isinstance(each, str))
    if isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from _names(each)


def _empty() -> dict[str, BaseModel]:
    """By name, a file that says nothing."""
    return {
        "actions": ActionsFile.model_construct(currency="", actions=()),
        "placements": PlacementsFile.model_construct(channels=(), placements=()),
        "contact_policy": ContactPolicyFile.model_construct(purposes=()),
        "arbitration": ArbitrationFile(exploration=ExplorationDocument(strategy="greedy"), salt="empty"),
        "features": FeaturesFile(features=()),
        "experiments": ExperimentsFile(),
    }
