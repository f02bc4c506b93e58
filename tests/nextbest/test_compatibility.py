import msgspec
import pytest

from nextbest.compatibility import Change, compare
from nextbest.contracts import Contract, Field, Rule

AMOUNT = Field("amount", "number", "DOUBLE", rules=(Rule("minimum", 0), Rule("maximum", 9)))
KIND = Field("kind", "string", "VARCHAR", rules=(Rule("required"), Rule("enum", ("a", "b")), Rule("pattern", "^.$")))
SALES = Contract(name="sales", version="1.4.0", fields=(AMOUNT, KIND))


def _changes(*fields: Field, version: str = "1.5.0") -> list[Change]:
    return compare({"sales": SALES}, {"sales": msgspec.structs.replace(SALES, fields=fields, version=version)})


def _amount(*rules: Rule) -> Field:
    return msgspec.structs.replace(AMOUNT, rules=rules)


def _kind(*rules: Rule) -> Field:
    return msgspec.structs.replace(KIND, rules=rules)


MINIMUM, MAXIMUM = AMOUNT.rules
REQUIRED, ENUM, PATTERN = KIND.rules


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ((KIND,), "field removed"),
        ((msgspec.structs.replace(AMOUNT, physical_type="BIGINT"), KIND), "type"),
        ((_amount(*AMOUNT.rules, Rule("required")), KIND), "required"),
        ((AMOUNT, _kind(ENUM, PATTERN)), "required"),
        ((AMOUNT, _kind(REQUIRED, Rule("enum", ("a",)), PATTERN)), "enum"),
        ((AMOUNT, _kind(REQUIRED, ENUM, Rule("pattern", "^[a-z]$"))), "pattern"),
        ((_amount(Rule("minimum", 1), MAXIMUM), KIND), "minimum"),
        ((_amount(MINIMUM, Rule("maximum", 8)), KIND), "maximum"),
        ((_amount(*AMOUNT.rules, Rule("reference", "amounts.amount")), KIND), "reference"),
        ((AMOUNT, KIND, Field("new", "string", "VARCHAR", rules=(Rule("required"),))), "required field added"),
    ],
)
def test_a_change_that_breaks_somebody_needs_a_major_version(fields: tuple[Field, ...], what: str) -> None:
    """A producer's valid rows are turned away, or a consumer's column is gone or may be null."""
    (change,) = _changes(*fields)
    assert (change.what, change.is_breaking, change.is_permitted) == (what, True, False)
    (change,) = _changes(*fields, version="2.0.0")
    assert (change.is_breaking, change.is_permitted) == (True, True)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ((AMOUNT, KIND, Field("new", "string", "VARCHAR")), "field added"),
        ((_amount(MAXIMUM), KIND), "minimum"),
        ((_amount(Rule("minimum", -1), MAXIMUM), KIND), "minimum"),
        ((_amount(MINIMUM, Rule("maximum", 10)), KIND), "maximum"),
        ((AMOUNT, _kind(REQUIRED, Rule("enum", ("c", "b", "a")), PATTERN)), "enum"),
        ((_amount(Rule("minimum", 0, "warn"), MAXIMUM), KIND), "minimum"),
        ((msgspec.structs.replace(AMOUNT, classification="personal"), KIND), "classification"),
    ],
)
def test_a_change_that_breaks_nobody_is_told(fields: tuple[Field, ...], what: str) -> None:
    """Wider is compatible."""
    (change,) = _changes(*fields)
    assert (change.what, change.is_breaking, change.is_permitted) == (what, False, True)


def test_a_rule_that_only_warns_is_no_change() -> None:
    """Nobody's rows are turned away by it."""
    assert not _changes(_amount(*AMOUNT.rules, Rule("minimum", 5, "warn")), KIND)


def test_a_removed_contract_is_never_permitted() -> None:
    """There is no version left to go up."""
    (change,) = compare({"sales": SALES}, {})
    assert (change.what, change.is_permitted) == ("contract removed", False)


def test_an_added_contract_breaks_nobody() -> None:
    """It is listed all the same."""
    assert compare({}, {"sales": SALES}) == [Change("sales", "", "contract added", "", "1.4.0", is_breaking=False)]


def test_key_time_and_volume_are_compared() -> None:
    """What holds for the contract as a whole has no column."""
    fields = (msgspec.structs.replace(AMOUNT, key=True), KIND)
    new = msgspec.structs.replace(SALES, fields=fields, event_time="at", min_rows=1)
    assert [(change.what, change.is_breaking) for change in compare({"sales": SALES}, {"sales": new})] == [
        ("key", True),
        ("event time", True),
        ("minimum rows", True),
    ]
