"""Comparing two versions of the contracts: what changed, whom it hits, and that nothing goes unseen."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.compatibility import Change, Verdict, compare
from nextbest.contracts import Contract, Fairness, Field, Freshness, OnViolation, Rule, RuleKind, Status, Tolerance

AMOUNT = Field("amount", "number", "DOUBLE", rules=(Rule("minimum", 0), Rule("maximum", 9)))
KIND = Field("kind", "string", "VARCHAR", rules=(Rule("required"), Rule("enum", ("a", "b")), Rule("pattern", "^.$")))
SALES = Contract(name="sales", version="1.4.0", fields=(AMOUNT, KIND))
MINIMUM, MAXIMUM = AMOUNT.rules
REQUIRED, ENUM, PATTERN = KIND.rules


_with = msgspec.structs.replace


def _only(old: Contract, new: Contract) -> Change:
    (change,) = compare({"sales": old}, {"sales": new})
    return change


def _fields(*fields: Field) -> Change:
    return _only(SALES, _with(SALES, fields=fields))


def _of_rules(kind: RuleKind, was: list[Rule], now: list[Rule]) -> Change:
    old, new = (
        _with(SALES, fields=(Field("x", "number", "DOUBLE", rules=(*(r for r in rules if r.kind == kind),)),))
        for rules in (was, now)
    )
    return _only(old, new)


def _hits(change: Change) -> tuple[str, Verdict, bool, bool]:
    return change.kind, change.verdict, bool(change.producers), bool(change.consumers)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((KIND,), ("field-removed", "breaking", True, True)),
        ((AMOUNT, KIND, Field("new", "string", "VARCHAR")), ("field-added", "minor", True, True)),
        (
            (AMOUNT, KIND, Field("new", "string", "VARCHAR", rules=(Rule("required"),))),
            ("field-added", "breaking", True, False),
        ),
        ((KIND, AMOUNT), ("field-order-changed", "compatible", False, False)),
        ((_with(AMOUNT, physical_type="BIGINT"), KIND), ("type-changed", "breaking", True, True)),
        ((_with(AMOUNT, type="integer"), KIND), ("type-changed", "breaking", True, True)),
        ((_with(AMOUNT, description="Of it."), KIND), ("description-changed", "compatible", False, False)),
        ((_with(AMOUNT, classification="pii"), KIND), ("classification-raised", "minor", False, True)),
        ((_with(AMOUNT, classification="secret"), KIND), ("classification-lowered", "breaking", True, True)),
        ((_with(AMOUNT, rules=(MAXIMUM, MINIMUM)), KIND), ("rule-order-changed", "compatible", False, False)),
    ],
)
def test_a_field_changes(fields: tuple[Field, ...], expected: tuple[str, Verdict, bool, bool]) -> None:
    """A column that goes, comes or turns into something else, and what is said about it."""
    assert _hits(_fields(*fields)) == expected


WARN, STOP = Rule("minimum", 0, "warn"), Rule("minimum", 0, "stop")
NARROWED, WIDENED, UNTOLD = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("was", "now", "kind", "verdict", "hits"),
    [
        ([], [REQUIRED], "required-added", "breaking", NARROWED),
        ([REQUIRED], [], "required-removed", "breaking", WIDENED),
        ([], [Rule("unique")], "unique-added", "breaking", NARROWED),
        ([Rule("unique")], [], "unique-removed", "breaking", WIDENED),
        ([], [Rule("reference", "a.b")], "reference-added", "breaking", NARROWED),
        ([Rule("reference", "a.b")], [], "reference-removed", "breaking", WIDENED),
        ([Rule("reference", "a.b")], [Rule("reference", "a.c")], "reference-changed", "breaking", (True, True)),
        ([ENUM], [Rule("enum", ("a",))], "enum-narrowed", "breaking", NARROWED),
        ([ENUM], [Rule("enum", ("a", "b", "c"))], "enum-widened", "minor", WIDENED),
        ([ENUM], [Rule("enum", ("b", "a"))], "enum-changed", "compatible", UNTOLD),
        ([ENUM], [Rule("enum", ("b", "c"))], "enum-changed", "breaking", (True, True)),
        ([PATTERN], [Rule("pattern", "^..$")], "pattern-changed", "breaking", (True, True)),
        ([PATTERN], [], "pattern-removed", "minor", WIDENED),
        ([MINIMUM], [Rule("minimum", 1)], "minimum-narrowed", "breaking", NARROWED),
        ([MINIMUM], [Rule("minimum", -1)], "minimum-widened", "minor", WIDENED),
        ([MAXIMUM], [Rule("maximum", 8)], "maximum-narrowed", "breaking", NARROWED),
        ([MAXIMUM], [Rule("maximum", 10)], "maximum-widened", "minor", WIDENED),
        ([Rule("min_length", 1)], [Rule("min_length", 2)], "min-length-narrowed", "breaking", NARROWED),
        ([Rule("max_length", 1)], [Rule("max_length", 2)], "max-length-widened", "minor", WIDENED),
        ([Rule("minimum", "2000-01-01")], [Rule("minimum", "2001-01-01")], "minimum-narrowed", "breaking", NARROWED),
        ([Rule("minimum", "2000-01-01")], [Rule("minimum", 1)], "minimum-changed", "breaking", (True, True)),
        ([], [WARN], "minimum-added", "compatible", UNTOLD),
        ([WARN], [Rule("minimum", 3, "warn")], "minimum-changed", "compatible", UNTOLD),
        ([WARN], [MINIMUM], "minimum-narrowed", "breaking", NARROWED),
        ([MINIMUM], [STOP], "minimum-narrowed", "breaking", NARROWED),
        ([STOP], [MINIMUM], "minimum-changed", "minor", WIDENED),
        ([MINIMUM], [WARN], "minimum-widened", "minor", WIDENED),
        ([REQUIRED], [Rule("required", on_violation="warn")], "required-widened", "breaking", WIDENED),
        ([MINIMUM], [MINIMUM, Rule("minimum", 1, "warn")], "minimum-changed", "compatible", UNTOLD),
        ([MINIMUM], [MINIMUM, Rule("minimum", 1)], "minimum-narrowed", "breaking", NARROWED),
    ],
)
def test_a_rule_changes(was: list[Rule], now: list[Rule], kind: str, verdict: Verdict, hits: tuple[bool, bool]) -> None:
    """Producers are hit by what is stricter, consumers by what is not promised any more."""
    change = _of_rules((was or now)[0].kind, was, now)
    assert _hits(change) == (kind, verdict, *hits)


def test_a_removed_field_beside_a_like_one_may_be_a_renamed_one() -> None:
    """The hint names the nearest of the added fields with the same type and rules."""
    new = (
        _with(AMOUNT, name="total"),
        _with(AMOUNT, name="amounts"),
        Field("amount_", "number", "DOUBLE"),
        KIND,
    )
    changes = compare({"sales": SALES}, {"sales": _with(SALES, fields=new)})
    assert [change.hint for change in changes if change.kind == "field-removed"] == ["renamed to amounts?"]


STOPS = Freshness(7, "at", "stop")


@pytest.mark.parametrize(
    ("aspect", "was", "now", "expected"),
    [
        ("version", "1.4.0", "1.5.0", ("version-changed", "compatible", False, False)),
        ("status", "active", "deprecated", ("status-changed", "minor", False, True)),
        ("description", "", "Sales.", ("description-changed", "compatible", False, False)),
        ("owner", "a", "b", ("owner-changed", "compatible", False, False)),
        ("event_time", None, "at", ("event-time-changed", "breaking", True, True)),
        ("min_rows", 0, 1, ("min-rows-raised", "breaking", True, False)),
        ("min_rows", 1, 0, ("min-rows-lowered", "minor", False, True)),
        ("purposes", ("a", "b"), ("a",), ("purposes-narrowed", "breaking", False, True)),
        ("purposes", ("a",), ("a", "b"), ("purposes-widened", "minor", True, False)),
        ("purposes", ("a", "b"), ("b", "a"), ("purposes-changed", "compatible", False, False)),
        ("retention_days", None, 365, ("retention-shortened", "breaking", False, True)),
        ("retention_days", 365, 730, ("retention-lengthened", "minor", True, False)),
        ("retention_days", 365, None, ("retention-lengthened", "minor", True, False)),
        ("freshness", None, Freshness(7), ("freshness-tightened", "compatible", False, False)),
        ("freshness", Freshness(7), Freshness(1), ("freshness-tightened", "compatible", False, False)),
        ("freshness", Freshness(1), Freshness(7), ("freshness-loosened", "minor", False, True)),
        ("freshness", Freshness(7), Freshness(7, "at"), ("freshness-loosened", "minor", False, True)),
        ("freshness", Freshness(7), None, ("freshness-loosened", "minor", False, True)),
        ("freshness", Freshness(7, "at"), STOPS, ("freshness-tightened", "breaking", True, False)),
        ("freshness", STOPS, Freshness(1, "at", "stop"), ("freshness-tightened", "breaking", True, False)),
        ("freshness", STOPS, Freshness(9, "at", "stop"), ("freshness-loosened", "minor", False, True)),
        ("freshness", STOPS, Freshness(7, "at"), ("freshness-loosened", "minor", False, True)),
        ("volume", Tolerance(0.5), Tolerance(0.2), ("volume-tightened", "compatible", False, False)),
        ("volume", Tolerance(0.5), Tolerance(0.2, "stop"), ("volume-tightened", "breaking", True, False)),
        ("drift", Tolerance(0.2), Tolerance(0.3), ("drift-loosened", "minor", False, True)),
        ("fairness", None, Fairness(0.2, 0.8, 0.1), ("fairness-changed", "minor", False, True)),
    ],
)
def test_a_contract_changes_as_a_whole(
    aspect: str, was: Any, now: Any, expected: tuple[str, Verdict, bool, bool]
) -> None:
    """What is promised of deliveries, service and use is compared as fields are."""
    old, new = (_with(SALES, **{aspect: value}) for value in (was, now))
    assert _hits(_only(old, new)) == expected


def test_a_field_becomes_protected() -> None:
    """Whoever models with it is told."""
    change = _only(SALES, _with(SALES, fields=(AMOUNT, _with(KIND, protected=True))))
    assert _hits(change) == ("protected-changed", "minor", False, True)


def test_the_key_is_a_set() -> None:
    """The order of its columns does not matter, which columns there are does."""
    keyed = [_with(field, key=True) for field in SALES.fields]
    one, two, turned = (
        _with(SALES, fields=fields) for fields in ((keyed[0], KIND), tuple(keyed), tuple(reversed(keyed)))
    )
    assert _hits(_only(one, two)) == ("key-changed", "breaking", True, True)
    assert _only(two, turned).kind == "field-order-changed"


def test_contracts_come_and_go() -> None:
    """A new one hits nobody, one that is gone everybody."""
    (added,), (removed,) = compare({}, {"sales": SALES}), compare({"sales": SALES}, {})
    assert _hits(added) == ("contract-added", "compatible", False, False)
    assert _hits(removed) == ("contract-removed", "breaking", True, True)


def test_a_change_reads_as_a_sentence() -> None:
    """Contract, field, what happened, from what to what, whom it hits."""
    assert str(_fields(KIND)) == (
        "sales amount: field removed (DOUBLE → none): "
        "producers: there is no place for it any more; consumers: it is gone"
    )
    assert str(compare({}, {"sales": SALES})[0]) == "sales: contract added (none → 1.4.0)"


_on_violation = st.sampled_from(get_args(OnViolation))
_arguments = st.none() | st.integers(0, 2) | st.sampled_from(["a", "b"]) | st.sampled_from([("a",), ("a", "b")])
_rules = st.lists(st.builds(Rule, st.sampled_from(get_args(RuleKind)), _arguments, _on_violation), max_size=2)
_field = st.builds(
    Field,
    st.sampled_from(["x", "y"]),
    st.sampled_from(["string", "number"]),
    st.sampled_from(["VARCHAR", "DOUBLE"]),
    st.sampled_from(["", "It."]),
    st.booleans(),
    st.sampled_from([None, "personal", "pii"]),
    _rules.map(tuple),
    st.booleans(),
)
_tolerances = st.none() | st.builds(Tolerance, st.sampled_from([0.1, 0.2]), st.sampled_from(["stop", "warn"]))
_contracts = st.builds(
    Contract,
    name=st.just("sales"),
    version=st.sampled_from(["1.0.0", "1.1.0"]),
    fields=st.lists(_field, unique_by=lambda field: field.name, max_size=2).map(tuple),
    event_time=st.sampled_from([None, "x"]),
    description=st.sampled_from(["", "It."]),
    owner=st.sampled_from(["a", "b"]),
    min_rows=st.integers(0, 1),
    purposes=st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a")]),
    retention_days=st.none() | st.integers(1, 2),
    freshness=st.none()
    | st.builds(Freshness, st.integers(1, 2), st.sampled_from([None, "x"]), st.sampled_from(["stop", "warn"])),
    volume=_tolerances,
    drift=_tolerances,
    status=st.sampled_from(get_args(Status)),
    fairness=st.none() | st.builds(Fairness, st.just(0.2), st.sampled_from([0.5, 0.8]), st.just(0.1)),
)
_ASPECTS = st.sampled_from(Contract.__struct_fields__)


@given(_contracts, _contracts, _ASPECTS)
def test_no_difference_goes_unseen(one: Contract, other: Contract, aspect: str) -> None:
    """Two contracts that differ have a change, even if they differ in one aspect alone; equal ones have none."""
    near = _with(one, **{aspect: getattr(other, aspect)})
    for new in (near, other):
        assert bool(compare({"sales": one}, {"sales": new})) == (one != new)


@given(_contracts, _contracts)
def test_who_is_hit_decides_the_verdict(one: Contract, other: Contract) -> None:
    """What is compatible hits nobody, and whatever hits nobody is compatible."""
    for change in compare({"sales": one}, {"sales": other}):
        assert (change.verdict == "compatible") == (not change.producers and not change.consumers)


def test_moments_are_compared_as_moments() -> None:
    """The text of one with an offset sorts otherwise than the moment."""
    later, earlier = (Rule("minimum", f"2000-01-01T00:00:00{offset}") for offset in ("-05:00", "Z"))
    assert _of_rules("minimum", [earlier], [later]).verdict == "breaking"
    assert _of_rules("minimum", [later], [earlier]).verdict == "minor"
