"""The contracts of a folder under review: all that is wrong with them, and with what changed, by file and line.

Belongs here: the standard's JSON schema, and turning what the core found into findings. Does not belong here: what is
right or wrong (`nextbest.contract_check`, `nextbest.contract_release`), or showing it (`nextbest.adapters.reports`).
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft201909Validator  # type: ignore[import-untyped]

from nextbest.adapters.contract_files import SUFFIX
from nextbest.adapters.migration_files import check_migration
from nextbest.adapters.yaml_files import YamlFile
from nextbest.compatibility import Change
from nextbest.contract_check import check
from nextbest.contract_release import Demand, Migration, level
from nextbest.findings import Finding, Place

_NOT_OF_THE_STANDARD = "odcs-schema"
_UNKNOWN_KEY = "unknown-key"


def review(folder: Path) -> tuple[tuple[str, ...], list[Finding]]:
    """The names of the contract files of a folder, and everything that is wrong with them, sorted by file and line."""
    read = {path.name.removesuffix(SUFFIX): YamlFile.read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}
    if not read:
        return (), [Finding("", 1, f"{folder} holds no contract (*{SUFFIX})", "no-contract")]
    found = [problem for file in read.values() for problem in file.problems]
    for file in read.values():
        found += _against_the_standard(file)
    documents = {name: file.content for name, file in read.items() if isinstance(file.content, dict)}
    for name, document in documents.items():
        if document.get("name") != name:
            message = f"the file holds the contract {document.get('name')}: a file is named after its contract"
            found.append(read[name].finding(("name",), message, "file-name"))
    for problem in check({name: {**document, "name": name} for name, document in documents.items()}):
        file = read[str(problem.place[0])]
        found.append(Finding(file.name, file.line(problem.place[1:]), problem.message, problem.rule))
    return tuple(file.name for file in read.values()), sorted(set(found))


def review_changes(
    folder: Path, changes: list[Change], demands: list[Demand], migrations: list[Migration]
) -> list[Finding]:
    """What changed and what it asks for, each at the line of the field, of the version, or of the missing file."""
    found = [f for step in migrations if (folder / step.file).is_file() for f in check_migration(folder, step)]
    places = {name: _Places.read(folder / f"{name}{SUFFIX}") for name in {change.contract for change in changes}}
    for change in changes:
        line = places[change.contract].line(change.field)
        found.append(Finding(f"{change.contract}{SUFFIX}", line, str(change), change.kind, level(change, demands)))
    for demand in demands:
        line = places[demand.contract].file.line(("version",))
        found.append(Finding(f"{demand.contract}{SUFFIX}", line, f"{demand.contract}: {demand.message}", demand.rule))
    return sorted(found)


class _Places:
    """Where the fields of a contract are in its file; line 1 where there is no file any more."""

    def __init__(self, file: YamlFile, fields: Mapping[str, int]) -> None:
        self.file = file
        self._fields = fields

    @classmethod
    def read(cls, path: Path) -> "_Places":
        file = YamlFile.read(path)
        properties = file.content["schema"][0]["properties"] if file.content else []
        return cls(file, {each["name"]: index for index, each in enumerate(properties)})

    def line(self, field: str) -> int:
        """The line of a field, of all fields if it is gone, or of the contract's version for the whole."""
        place: Place = ("schema", 0, "properties") if field else ("version",)
        return self.file.line((*place, self._fields[field]) if field in self._fields else place)


def _against_the_standard(file: YamlFile) -> Iterator[Finding]:
    """What the JSON schema of ODCS says; of the many ways it says one thing, the one that names the key."""
    if file.content is None:
        return
    validator, known = _standard()
    errors = [(tuple(error.absolute_path), error) for error in validator.iter_errors(file.content)]
    unexpected = {(place, key) for place, error in errors for key in _unexpected(error) if key not in known}
    for place, key in unexpected:
        guess = difflib.get_close_matches(key, known, n=1)
        meant = f": did you mean `{guess[0]}`?" if guess else ""
        yield file.finding((*place, key), f"the standard knows no such key{meant}", _UNKNOWN_KEY)
    told = {place for place, _ in unexpected}
    for place, error in errors:
        # A part that is wrong makes every key beside it unexpected, too.
        follows = any(other[: len(place)] == place for other, e in errors if e is not error and not _unexpected(e))
        if place not in told and not (_unexpected(error) and follows):
            yield file.finding(place, _short(error), _NOT_OF_THE_STANDARD)


def _unexpected(error: Any) -> list[str]:
    """The keys that an error says should not be there."""
    if error.validator not in {"additionalProperties", "unevaluatedProperties"}:
        return []
    return re.findall(r"'([^']*)'", error.message.partition("(")[2])


def _short(error: Any) -> str:
    return str(error.message if error.validator != "oneOf" else "is none of the forms that the standard allows here")


@cache
def _standard() -> tuple[Any, frozenset[str]]:
    """A validator of the standard's own package, and every key that is anywhere in it."""
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text())
    return Draft201909Validator(schema), frozenset(_keys(schema))


def _keys(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from part["properties"] if isinstance(part.get("properties"), dict) else ()
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _keys(each)
