"""Tests of `nextbest.advice`: the words for a broken rule. What each rule says is in the seeded violations."""

import pyarrow as pa

from nextbest.advice import did_you_mean, expected, explain, listed, nearest
from nextbest.contracts import Contract, Field, Rule
from nextbest.validation import validate

PEOPLE = Contract(
    "people",
    "1.0.0",
    (
        Field("person_id", "string", "VARCHAR", key=True, rules=(Rule("required"), Rule("max_length", 3))),
        Field("email", "string", "VARCHAR", classification="pii", rules=(Rule("unique"),)),
        Field("age", "integer", "BIGINT", rules=(Rule("minimum", 18, "warn"), Rule("minimum", 0))),
    ),
)


def test_the_nearest_name_is_near() -> None:
    """Whatever its case; what is far is not proposed."""
    assert nearest("USd", ["EUR", "USD"]) == "USD"
    assert nearest("pigeon", ["web", "app", "email"]) is None
    assert did_you_mean("pigeon", ["web"]) == ""


def test_long_lists_are_counted() -> None:
    """A message stays readable."""
    assert listed(str(number) for number in range(15)).endswith("10, 11 and 3 more")


def test_the_bound_that_rejects_is_told() -> None:
    """Not the one that only warns."""
    assert expected(PEOPLE, "age", "minimum", "-1") == "it takes nothing below 0"


def test_each_broken_rule_is_told_once_without_what_identifies_a_person() -> None:
    """With its rows and the first of them; a contract with personal data shows no value."""
    people = pa.table({"person_id": ["a", "long", "longer", "b"], "email": ["a@b.c"] * 4, "age": [20, -1, 20, 20]})
    rejected = validate(PEOPLE, people).rejected
    assert explain(PEOPLE, rejected) == [
        "person_id.max_length: 2 rows, first row 2: its length is 3 or less",
        "email.unique: 1 rows, first row 4: no two rows may have the same",
    ]
    assert rejected["also"].to_pylist() == ["age.minimum", None, None]
