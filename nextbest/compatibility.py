"""What changed between two versions of a contract, whom each change hits, and which version it needs.

Belongs here: the comparison of every aspect of two contracts. Does not belong here: where the two come from
(`nextbest.adapters.contract_files`), or what a change asks of whoever makes it (`nextbest.contract_release`).

Two sides rely on a contract. A *producer* relies on its rows being let in; a *consumer* on the columns, and on what the
contract promises of them. A change is

* `breaking` (needs a new major version) if rows or deliveries that were fine are turned away, or if a consumer loses
  what its code is built on: a column, its type, its key, that it is not null, unique, or found where it refers to;
  history that is kept, a purpose it may be used for, or the protection of a field;
* `minor` (needs a new minor version) if nothing fails but somebody should know: a column more, a value that could not
  occur before (a wider enum, range, length, or a pattern dropped), data that may be older or fewer, more protection;
* `compatible` (needs no version) if neither side can tell: a new contract, descriptions, owner, order, and rules and
  limits that only warn.

Values are open, structure is closed: a consumer must live with a new value of an enum, not with a null. A wider type is
breaking all the same: BIGINT to DOUBLE loses integers beyond 2**53 and makes another division of it. What a rule does
on violation is part of the rule: from warn to reject, or from reject to stop, turns away what was let in.
"""

import difflib
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import msgspec

from nextbest.contracts import Contract, Fairness, Field, Freshness, OnViolation, Rule, RuleKind, Tolerance

Verdict = Literal["compatible", "minor", "breaking"]

_PROTECTION: Final = ("", "pseudonymous", "personal", "pii")
_STRICTNESS: Final[tuple[OnViolation, ...]] = ("warn", "reject", "stop")
_STRUCTURAL: Final[Mapping[RuleKind, str]] = {
    "required": "they meet nulls where there were none",
    "unique": "a join by it may multiply their rows",
    "reference": "a join by it may lose rows",
}


class Effect(msgspec.Struct, frozen=True):
    """What a change of something does; `producers` and `consumers` say why they are hit and are empty if not."""

    word: str = "changed"
    verdict: Verdict = "compatible"
    producers: str = ""
    consumers: str = ""


class Change(msgspec.Struct, frozen=True):
    """One difference; `field` is empty for the contract as a whole, `kind` is the short name of what happened."""

    contract: str
    field: str
    kind: str
    before: str
    after: str
    verdict: Verdict
    producers: str = ""
    consumers: str = ""
    hint: str = ""

    @property
    def reason(self) -> str:
        """Whom the change hits and why, then what it may have been meant to be."""
        sides = (("producers", self.producers), ("consumers", self.consumers))
        return "; ".join([f"{side}: {why}" for side, why in sides if why] + [self.hint] * bool(self.hint))

    def __str__(self) -> str:
        what = " ".join(part for part in (self.contract, self.field) if part)
        values = f" ({self.before or 'none'} → {self.after or 'none'})"
        return f"{what}: {self.kind.replace('-', ' ')}{values}" + (f": {self.reason}" if self.reason else "")


_UNTOLD: Final = Effect()
_REMOVED: Final = Effect("removed", "breaking", "there is no place for it any more", "it is gone")
_KEY: Final = Effect("changed", "breaking", "other rows are duplicates", "a row is one of something else")
_EVENT_TIME: Final = Effect("changed", "breaking", "rows belong to other days", "rows belong to other days, or to none")
_TYPE: Final = Effect("changed", "breaking", "values are of another type", "values are of another type")
_FAIRNESS: Final = Effect("changed", "minor", consumers="their models are held to other limits")
_PROTECTED: Final = Effect(
    "changed", "minor", consumers="their models must treat its groups alike, or need not any more"
)
_STATUS: Final = Effect("changed", "minor", consumers="it says how long to count on the contract")


def compare(old: Mapping[str, Contract], new: Mapping[str, Contract]) -> list[Change]:
    """Every change from the contracts `old` to the contracts `new`, in the order of their names.

    Any two different contracts have at least one.
    """
    changes: list[Change] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            changes.append(_change((name, ""), "contract", (old[name].version, ""), _REMOVED))
        elif name not in old:
            changes.append(_change((name, ""), "contract", ("", new[name].version), Effect("added")))
        else:
            changes += [*_whole(old[name], new[name]), *_fields(old[name], new[name])]
    return changes


def _change(of: tuple[str, str], aspect: str, values: tuple[str, str], effect: Effect, hint: str = "") -> Change:
    """The change of an aspect of a contract and field, from the first value to the second."""
    kind, verdict = f"{aspect}-{effect.word}", effect.verdict
    return Change(*of, kind, *values, verdict, effect.producers, effect.consumers, hint)


def _whole(old: Contract, new: Contract) -> Iterator[Change]:
    aspects: tuple[tuple[str, Any, Any, Effect], ...] = (
        ("version", old.version, new.version, _UNTOLD),
        ("status", old.status, new.status, _STATUS),
        ("description", old.description, new.description, _UNTOLD),
        ("owner", old.owner, new.owner, _UNTOLD),
        ("key", tuple(sorted(old.key)), tuple(sorted(new.key)), _KEY),
        ("event-time", old.event_time, new.event_time, _EVENT_TIME),
        ("min-rows", old.min_rows, new.min_rows, _min_rows(old.min_rows, new.min_rows)),
        ("purposes", old.purposes, new.purposes, _purposes(set(old.purposes), set(new.purposes))),
        ("retention", old.retention_days, new.retention_days, _retention(old.retention_days, new.retention_days)),
        ("freshness", old.freshness, new.freshness, _limit(old.freshness, new.freshness, "data may be older")),
        ("volume", old.volume, new.volume, _limit(old.volume, new.volume, "a day may hold fewer or more rows")),
        ("drift", old.drift, new.drift, _limit(old.drift, new.drift, "values may be spread differently")),
        ("fairness", old.fairness, new.fairness, _FAIRNESS),
    )
    for aspect, before, after, effect in aspects:
        if before != after:
            yield _change((new.name, ""), aspect, (_text(before), _text(after)), effect)


def _min_rows(old: int, new: int) -> Effect:
    if new > old:
        return Effect("raised", "breaking", producers="a delivery of fewer rows is turned away as a whole")
    return Effect("lowered", "minor", consumers="a delivery may hold fewer rows")


def _purposes(old: set[str], new: set[str]) -> Effect:
    if old - new:
        return Effect("narrowed", "breaking", consumers="what they use it for is not allowed any more")
    return Effect("widened", "minor", producers="it may be used for more than they agreed to") if new - old else _UNTOLD


def _retention(old: int | None, new: int | None) -> Effect:
    if (new or math.inf) < (old or math.inf):
        return Effect("shortened", "breaking", consumers="history that they read is deleted")
    return Effect("lengthened", "minor", producers="what they deliver is kept longer")


def _limit(old: Freshness | Tolerance | None, new: Freshness | Tolerance | None, looser: str) -> Effect:
    """The effect of another limit on deliveries: they are hit by one that stops, consumers by one that is gone."""
    if new and new.on_violation == "stop" and not (old and old.on_violation == "stop" and _within(old, new)):
        return Effect("tightened", "breaking", producers="a delivery that was let in stops the pipeline")
    if old and not (new and _within(new, old) and (new.on_violation == "stop" or old.on_violation == "warn")):
        return Effect("loosened", "minor", consumers=looser)
    return Effect("tightened")


def _within(one: Freshness | Tolerance, other: Freshness | Tolerance) -> bool:
    """Whether what keeps to `one` keeps to `other`."""
    if isinstance(one, Freshness) and isinstance(other, Freshness):
        return one.days <= other.days and one.column == other.column
    return isinstance(one, Tolerance) and isinstance(other, Tolerance) and one.limit <= other.limit


def _fields(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = ({field.name: field for field in contract.fields} for contract in (old, new))
    added = [field for name, field in after.items() if name not in before]
    for name in before | after:
        if name not in after:
            gone = before[name]
            yield _change((new.name, name), "field", (gone.physical_type, ""), _REMOVED, _renamed(gone, added))
        elif name not in before:
            yield _change((new.name, name), "field", ("", after[name].physical_type), _added(after[name]))
        else:
            yield from _field(new.name, before[name], after[name])
    stayed, stay = [name for name in before if name in after], [name for name in after if name in before]
    if stayed != stay:
        yield _change((new.name, ""), "field-order", (", ".join(stayed), ", ".join(stay)), _UNTOLD)


def _added(field: Field) -> Effect:
    if field.required:
        return Effect("added", "breaking", producers="rows without it are turned away")
    return Effect("added", "minor", producers="they may deliver it", consumers="they may read it")


def _renamed(gone: Field, added: list[Field]) -> str:
    """A guess at what a removed field is called now: the added one of the same type and rules with the nearest name."""
    same = [f.name for f in added if (f.type, f.physical_type, f.rules) == (gone.type, gone.physical_type, gone.rules)]
    return next((f"renamed to {name}?" for name in difflib.get_close_matches(gone.name, same, n=1, cutoff=0.0)), "")


def _field(contract: str, old: Field, new: Field) -> Iterator[Change]:
    types = f"{old.type} {old.physical_type}", f"{new.type} {new.physical_type}"
    classes = old.classification or "", new.classification or ""
    for aspect, (before, after), effect in (
        ("type", types, _TYPE),
        ("description", (old.description, new.description), _UNTOLD),
        ("classification", classes, _classification(*classes)),
        ("protected", tuple("yes" if each.protected else "" for each in (old, new)), _PROTECTED),
    ):
        if before != after:
            yield _change((contract, new.name), aspect, (before, after), effect)
    yield from _rules(contract, old, new)


def _classification(old: str, new: str) -> Effect:
    if old in _PROTECTION and new in _PROTECTION and _PROTECTION.index(new) >= _PROTECTION.index(old):
        return Effect("raised", "minor", consumers="they must protect it better")
    return Effect("lowered", "breaking", "what they protect is protected less", "what they protect is protected less")


def _rules(contract: str, old: Field, new: Field) -> Iterator[Change]:
    is_told = False
    kind: RuleKind
    for kind in get_args(RuleKind):
        was, now = ([rule for rule in field.rules if rule.kind == kind] for field in (old, new))
        if was != now:
            is_told = True
            yield _change((contract, new.name), kind.replace("_", "-"), (_all(was), _all(now)), _rule_effect(was, now))
    if old.rules != new.rules and not is_told:
        before, after = (", ".join(rule.kind for rule in field.rules) for field in (old, new))
        yield _change((contract, new.name), "rule-order", (before, after), _UNTOLD)


def _rule_effect(was: list[Rule], now: list[Rule]) -> Effect:
    """The effect of other rules of one kind: only those that turn rows away are a promise to anybody."""
    kind = (was or now)[0].kind
    before, after = ([rule for rule in rules if rule.on_violation != "warn"] for rules in (was, now))
    is_narrower = any(not any(_covers(b, a) and _acts_like(b, a) for b in before) for a in after)
    is_wider = any(not any(_covers(a, b) for a in after) for b in before)
    is_milder = any(not any(_acts_like(a, b) for a in after) for b in before)
    word = {(True, False): "narrowed", (False, True): "widened"}.get((is_narrower, is_wider), "changed")
    word = "added" if not was else "removed" if not now else word
    producers = "rows that were let in are turned away" if is_narrower else ""
    consumers = (
        _STRUCTURAL.get(kind, "they meet values that could not occur before")
        if is_wider
        else "what used to stop a delivery now only turns its rows away"
        if is_milder
        else ""
    )
    is_breaking = is_narrower or (is_wider and kind in _STRUCTURAL)
    return Effect(word, "breaking" if is_breaking else "minor" if consumers else "compatible", producers, consumers)


def _acts_like(one: Rule, other: Rule) -> bool:
    """Whether `one` does at least as much about a violation as `other`."""
    return _STRICTNESS.index(one.on_violation) >= _STRICTNESS.index(other.on_violation)


def _covers(one: Rule, other: Rule) -> bool:
    """Whether every value that keeps to `one` keeps to `other`, as far as can be told."""
    a: Any = _moment(one.argument)
    b: Any = _moment(other.argument)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return set(a) <= set(b)
    numbers = all(isinstance(each, int | float) for each in (a, b))
    is_ordered = numbers or all(isinstance(each, datetime) for each in (a, b))
    if is_ordered and one.kind in {"minimum", "min_length"}:
        return bool(a >= b)
    if is_ordered and one.kind in {"maximum", "max_length"}:
        return bool(a <= b)
    return bool(a == b)


def _moment(argument: Any) -> Any:
    """A text that is a moment as one, for two of different offsets sort otherwise than their texts."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(argument) if isinstance(argument, str) else argument
        return moment.replace(tzinfo=moment.tzinfo or UTC) if isinstance(moment, datetime) else moment
    return argument


def _all(rules: list[Rule]) -> str:
    return "; ".join(
        ("yes" if rule.argument is None else _text(rule.argument))
        + (f" ({rule.on_violation})" if rule.on_violation != "reject" else "")
        for rule in rules
    )


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ", ".join(value)
        case Freshness(days, column, on_violation):
            return f"{days} days{f' of {column}' if column else ''} ({on_violation})"
        case Fairness(selected, ratio, error):
            return f"of the {selected:.0%} scored highest, rates {ratio:g} of the highest, calibrated within {error:g}"
        case Tolerance(limit, on_violation):
            return f"{limit} ({on_violation})"
        case _:
            return str(value)
