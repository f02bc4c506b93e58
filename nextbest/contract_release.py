"""What a change of a contract asks of whoever makes it: a version, a migration, a notice before a removal.

Belongs here: the judgement whether changes may be released. Does not belong here: which changes there are
(`nextbest.compatibility`), or whether a migration's file exists and gives the right columns
(`nextbest.adapters.migration_files`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from nextbest.compatibility import Change, Verdict
from nextbest.contracts import Contract, Status
from nextbest.findings import Level
from nextbest.lineage import Column, Lineage

_ORDER: Final[tuple[Verdict, ...]] = ("compatible", "minor", "breaking")
_ENDING: Final[tuple[Status, ...]] = ("deprecated", "retired")


MIGRATIONS = "migrations"
"""The folder of migrations, below that of the contracts."""


def migration_file(contract: str, old: int, new: int) -> str:
    """The file, below the folder of migrations, of the step from one major version of a contract to another."""
    return f"{contract}/{old}-to-{new}.sql"


class Migration(msgspec.Struct, frozen=True):
    """The step from one major version of a contract to another that landed rows have to take."""

    old: Contract
    new: Contract

    @property
    def file(self) -> str:
        """Its file, below the folder of the contracts."""
        return f"{MIGRATIONS}/{migration_file(self.new.name, _parts(self.old)[0], _parts(self.new)[0])}"


class Demand(msgspec.Struct, frozen=True):
    """Something that is asked for and not there: `rule` is its short name."""

    contract: str
    rule: str
    message: str


def hit(change: Change, lineage: Lineage) -> tuple[Column, ...]:
    """Who reads what was changed, nearest first, if the change hits consumers."""
    return lineage.consumers(change.contract, change.field) if change.consumers else ()


def level(change: Change, demands: Iterable[Demand]) -> Level:
    """How bad a change is, given what is still asked for its contract."""
    if change.verdict == "compatible":
        return "note"
    is_refused = any(demand.contract == change.contract for demand in demands)
    return "error" if is_refused else "warning" if change.verdict == "breaking" else "note"


def demands(
    old: Mapping[str, Contract], new: Mapping[str, Contract], changes: list[Change], lineage: Lineage
) -> list[Demand]:
    """What is missing so that the changes may be released: versions, and notices before removals."""
    found: list[Demand] = []
    for name, before in old.items():
        if name in new:
            found += _version(before, new[name], [change for change in changes if change.contract == name])
        else:
            found += _notice(before, lineage.consumers(name))
    return found


def migrations(old: Mapping[str, Contract], new: Mapping[str, Contract], changes: list[Change]) -> list[Migration]:
    """The migrations that breaking changes need, of contracts whose major version went up."""
    broken = {change.contract for change in changes if change.verdict == "breaking"} & old.keys() & new.keys()
    steps = [Migration(old[name], new[name]) for name in sorted(broken)]
    return [step for step in steps if _parts(step.new)[0] > _parts(step.old)[0]]


def _version(old: Contract, new: Contract, changes: list[Change]) -> Iterator[Demand]:
    before, after = _parts(old), _parts(new)
    needed = max((change.verdict for change in changes), key=_ORDER.index, default="compatible")
    least = {"compatible": before, "minor": (before[0], before[1] + 1, 0), "breaking": (before[0] + 1, 0, 0)}[needed]
    if after < before:
        message = f"version {new.version} is older than {old.version}, which consumers rely on: a version only goes up"
        yield Demand(new.name, "version-lowered", message)
    elif after[0] > before[0] + 1:
        message = f"version {new.version} skips a major version after {old.version}: each has a migration of its own"
        yield Demand(new.name, "version-skipped", message)
    elif after < least:
        reasons = ", ".join(_name(change) for change in changes if change.verdict == needed)
        kind = "major" if needed == "breaking" else "minor"
        message = f"version {new.version} must become {_dotted(least)} or higher: a new {kind} version for {reasons}"
        yield Demand(new.name, "version-too-low", message)


def _notice(old: Contract, readers: tuple[Column, ...]) -> Iterator[Demand]:
    if old.status not in _ENDING:
        message = f"removed while {old.status}: release it with `status: deprecated` first, then remove it"
        yield Demand(old.name, "contract-removed", message)
    if readers:
        message = f"removed while it is still read by {', '.join(map(str, readers))}: change them first"
        yield Demand(old.name, "contract-removed", message)


def _name(change: Change) -> str:
    return f"{change.field} {change.kind}".strip()


def _parts(contract: Contract) -> tuple[int, ...]:
    return tuple(int(part) for part in contract.version.split("."))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
