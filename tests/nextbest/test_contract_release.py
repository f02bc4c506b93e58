"""What a change asks for before it may be released."""

import msgspec
import pytest

from nextbest.compatibility import compare
from nextbest.contract_release import Demand, demands, hit, level, migrations
from nextbest.contracts import Contract, Field, Rule, Status
from nextbest.lineage import Column, Lineage

FIELD = Field("amount", "number", "DOUBLE", rules=(Rule("minimum", 0),))
OLD = Contract(name="sales", version="1.4.2", fields=(FIELD,))
READER = Column("dbt model", "stg_sales", "amount")
LINEAGE = Lineage({Column("contract", "sales", "amount"): [READER]})

SAME = {"description": "Reworded."}
WIDER = {"fields": (msgspec.structs.replace(FIELD, rules=()),)}
GONE: dict[str, object] = {"fields": ()}


def _demands(version: str, changed: dict[str, object]) -> list[Demand]:
    new = msgspec.structs.replace(OLD, version=version, **changed)
    return demands({"sales": OLD}, {"sales": new}, compare({"sales": OLD}, {"sales": new}), LINEAGE)


@pytest.mark.parametrize(
    ("version", "changed"),
    [
        ("1.4.2", SAME),
        ("1.4.3", SAME),
        ("2.0.0", SAME),
        ("1.5.0", WIDER),
        ("2.0.0", WIDER),
        ("2.0.0", GONE),
        ("2.1.0", GONE),
    ],
)
def test_a_version_that_says_enough(version: str, changed: dict[str, object]) -> None:
    """A version may go up further than it must, and without a change."""
    assert not _demands(version, changed)


@pytest.mark.parametrize(
    ("version", "changed", "rule", "message"),
    [
        ("1.4.2", WIDER, "version-too-low", "1.5.0 or higher: a new minor version for amount minimum-removed"),
        ("1.4.3", WIDER, "version-too-low", "version 1.4.3 must become 1.5.0 or higher"),
        ("1.5.0", GONE, "version-too-low", "2.0.0 or higher: a new major version for amount field-removed"),
        ("1.4.1", SAME, "version-lowered", "version 1.4.1 is older than 1.4.2"),
        ("0.9.0", GONE, "version-lowered", "a version only goes up"),
    ],
)
def test_a_version_that_says_too_little(version: str, changed: dict[str, object], rule: str, message: str) -> None:
    """The demand names the least version and what it is for."""
    (demand,) = _demands(version, changed)
    assert demand.rule == rule
    assert message in demand.message


@pytest.mark.parametrize(
    ("status", "lineage", "messages"),
    [
        ("active", LINEAGE, ["removed while active", "still read by dbt model stg_sales.amount"]),
        ("active", Lineage(), ["release it with `status: deprecated` first"]),
        ("deprecated", LINEAGE, ["still read by dbt model stg_sales.amount: change them first"]),
        ("deprecated", Lineage(), []),
        ("retired", Lineage(), []),
    ],
)
def test_a_contract_is_removed_after_notice_and_when_nobody_reads_it(
    status: Status, lineage: Lineage, messages: list[str]
) -> None:
    """There is no version left to go up."""
    old = {"sales": msgspec.structs.replace(OLD, status=status)}
    found = demands(old, {}, compare(old, {}), lineage)
    assert len(found) == len(messages)
    assert all(message in demand.message for message, demand in zip(messages, found, strict=True))


def test_a_breaking_change_with_its_version_needs_a_migration() -> None:
    """Without the version the version comes first; without a breaking change there is nothing to migrate."""
    files = {}
    for version, changed in (("2.0.0", GONE), ("3.0.0", GONE), ("1.5.0", GONE), ("2.0.0", WIDER)):
        new = {"sales": msgspec.structs.replace(OLD, version=version, **changed)}
        steps = migrations({"sales": OLD}, new, compare({"sales": OLD}, new))
        files[version, changed is GONE] = [step.file for step in steps]
    assert files == {
        ("2.0.0", True): ["migrations/sales/1-to-2.sql"],
        ("3.0.0", True): ["migrations/sales/1-to-3.sql"],
        ("1.5.0", True): [],
        ("2.0.0", False): [],
    }


def test_a_change_is_as_bad_as_what_is_missing() -> None:
    """A breaking one that has all it needs is a warning: it still hits somebody."""
    new = {"sales": msgspec.structs.replace(OLD, **GONE, description="Reworded.")}
    reworded, gone = compare({"sales": OLD}, new)
    asked = [Demand("sales", "version-too-low", "")]
    assert [level(change, asked) for change in (reworded, gone)] == ["note", "error"]
    assert [level(change, []) for change in (reworded, gone)] == ["note", "warning"]


def test_names_who_reads_what_was_changed() -> None:
    """By lineage, if consumers are hit at all."""
    narrower = {
        "sales": msgspec.structs.replace(OLD, fields=(msgspec.structs.replace(FIELD, rules=(Rule("minimum", 1),)),))
    }
    wider = {"sales": msgspec.structs.replace(OLD, **WIDER)}
    hits = [hit(change, LINEAGE) for new in (narrower, wider) for change in compare({"sales": OLD}, new)]
    assert hits == [(), (READER,)]


def test_a_major_version_is_not_skipped() -> None:
    """What has landed goes from one to the next, and each step has its own migration."""
    (demand,) = _demands("3.0.0", GONE)
    assert demand.rule == "version-skipped"
