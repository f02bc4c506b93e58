"""The structure of expressions, read off their text."""

import pytest

from nextbest.expressions import compile_expression
from nextbest.policy_checks.logic import Bounds, comparison, conjuncts, leaves


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("a", ["a"]),
        ("a && b", ["a", "b"]),
        ("((a && (b && c)))", ["a", "b", "c"]),
        ("(a) && (b)", ["a", "b"]),
        ("a && (b || c)", ["a", "b || c"]),
        ("a || b && c", ["a || b && c"]),
        ("a && b ? c : d", ["a && b ? c : d"]),
        ("!(a && b)", ["!(a && b)"]),
        ("d == 'x && y' && a", ["d == 'x && y'", "a"]),
    ],
)
def test_conjuncts(source: str, parts: list[str]) -> None:
    """What must hold is what `&&` joins outside of everything else; brackets, texts and choices stay whole."""
    compile_expression(source)
    assert list(conjuncts(source)) == parts


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("a + b", [("a + b", "value")]),
        ("a || b && (c || d)", [(each, "condition") for each in "abcd"]),
        ("a ? b : c ? d : e", [("a", "condition"), ("b", "value"), ("c", "condition"), ("d", "value"), ("e", "value")]),
        ("a['?'] ? {'b': 1}['b'] : c", [("a['?']", "condition"), ("{'b': 1}['b']", "value"), ("c", "value")]),
    ],
)
def test_leaves(source: str, parts: list[tuple[str, str]]) -> None:
    """Every part below the logic, with what it must answer."""
    compile_expression(source)
    assert list(leaves(source, "value")) == parts


@pytest.mark.parametrize(
    ("source", "compared"),
    [
        ("spend > 5.0", ("spend", ">", 5.0)),
        ("5 >= spend", ("spend", "<=", 5.0)),
        ("spend == -1.5", ("spend", "==", -1.5)),
        ("spend != 5.0", None),
        ("spend + 1.0 > 5.0", None),
        ("spend > visits", None),
    ],
)
def test_comparison(source: str, compared: tuple[str, str, float] | None) -> None:
    """A feature and a number, either way round, and nothing more involved."""
    assert comparison(source) == compared


@pytest.mark.parametrize(
    ("said", "is_empty"),
    [
        ([(">", 5.0), ("<", 3.0)], True),
        ([(">", 5.0), ("<", 5.0)], True),
        ([(">=", 5.0), ("<", 5.0)], True),
        ([(">=", 5.0), ("<=", 5.0)], False),
        ([("==", 5.0), ("==", 6.0)], True),
        ([("==", 5.0), (">=", 5.0)], False),
        ([("<", 5.0), ("<", 3.0), (">", 2.0)], False),
        ([(">", 5.0), (">=", 5.0), ("<=", 5.0)], True),
    ],
)
def test_bounds(said: list[tuple[str, float]], *, is_empty: bool) -> None:
    """Numbers that keep all that is said, or none."""
    bounds = Bounds()
    for operator, number in said:
        bounds = bounds.within(operator, number)
    assert bounds.is_empty is is_empty
