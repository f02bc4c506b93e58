"""What changed between two versions of the contracts, and what of it breaks somebody.

Belongs here: the comparison, and which change breaks whom: a producer whose rows were valid, or a consumer who reads a
column. Does not belong here: where the two versions come from (`nextbest.adapters.contract_files`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from nextbest.contracts import Contract, Field, Rule, RuleKind


class Change(msgspec.Struct, frozen=True):
    """One difference. A breaking one is permitted only together with a new major version of its contract."""

    contract: str
    column: str
    what: str
    before: str
    after: str
    is_breaking: bool
    is_permitted: bool = True


def compare(old: Mapping[str, Contract], new: Mapping[str, Contract]) -> list[Change]:
    """Every change from the contracts `old` to the contracts `new`, in the order of their names."""
    changes: list[Change] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            removed = Change(name, "", "contract removed", old[name].version, "", is_breaking=True, is_permitted=False)
            changes.append(removed)
        elif name not in old:
            changes.append(Change(name, "", "contract added", "", new[name].version, is_breaking=False))
        else:
            changes += _permit(old[name], new[name], _contract_changes(old[name], new[name]))
    return changes


def _permit(old: Contract, new: Contract, changes: Iterator[Change]) -> Iterator[Change]:
    major_before, major_after = (int(contract.version.split(".")[0]) for contract in (old, new))
    for change in changes:
        permitted = not change.is_breaking or major_after > major_before
        yield msgspec.structs.replace(change, is_permitted=permitted)


def _contract_changes(old: Contract, new: Contract) -> Iterator[Change]:
    if old.key != new.key:
        yield Change(new.name, "", "key", _text(old.key), _text(new.key), is_breaking=True)
    if old.event_time != new.event_time:
        yield Change(new.name, "", "event time", _text(old.event_time), _text(new.event_time), is_breaking=True)
    if old.min_rows != new.min_rows:
        more = new.min_rows > old.min_rows
        yield Change(new.name, "", "minimum rows", _text(old.min_rows), _text(new.min_rows), is_breaking=more)
    before, after = ({field.name: field for field in contract.fields} for contract in (old, new))
    for name in before | after:
        if name not in after:
            yield Change(new.name, name, "field removed", before[name].physical_type, "", is_breaking=True)
        elif name not in before:
            required = "required " if after[name].required else ""
            yield Change(new.name, name, f"{required}field added", "", after[name].physical_type, bool(required))
        else:
            yield from _field_changes(new.name, before[name], after[name])


def _field_changes(contract: str, old: Field, new: Field) -> Iterator[Change]:
    if old.physical_type != new.physical_type:
        yield Change(contract, new.name, "type", old.physical_type, new.physical_type, is_breaking=True)
    if old.classification != new.classification:
        before, after = _text(old.classification), _text(new.classification)
        yield Change(contract, new.name, "classification", before, after, is_breaking=False)
    kind: RuleKind
    for kind in get_args(RuleKind):
        was, now = _enforced(old, kind), _enforced(new, kind)
        if (was and was.argument) != (now and now.argument) or bool(was) != bool(now):
            yield Change(contract, new.name, kind, _rule_text(was), _rule_text(now), _breaks(kind, was, now))


def _enforced(field: Field, kind: RuleKind) -> Rule | None:
    """The rule that turns rows away; one that only warns breaks nobody."""
    return next((rule for rule in field.rules if rule.kind == kind and rule.on_violation != "warn"), None)


def _breaks(kind: RuleKind, was: Rule | None, now: Rule | None) -> bool:
    """Whether rows that were valid are turned away, or a consumer meets a null it was promised not to."""
    if was is None or now is None:
        return now is not None or kind == "required"
    before: Any = was.argument
    after: Any = now.argument
    match kind:
        case "enum":
            return not set(before) <= set(after)
        case "minimum" | "min_length":
            return bool(after > before)
        case "maximum" | "max_length":
            return bool(after < before)
        case _:
            return True


def _rule_text(rule: Rule | None) -> str:
    return "no" if rule is None else "yes" if rule.argument is None else _text(rule.argument)


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
