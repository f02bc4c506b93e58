"""Rules in CEL: what is taken, what is refused, and that a failure is never a yes."""

import pytest

from nextbest.expressions import ExpressionError, compile_expression, evaluation_context

FEATURES = evaluation_context({"spend": 12.0, "is_member": True, "segment": "gold"})


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("spend > 10", True),
        ("spend / 4.0 >= 3.5", False),
        ("is_member && segment in ['gold', 'silver']", True),
        ("segment.startsWith('g') ? spend > 20.0 : true", False),
        ("spend > 10 // big spenders aren't rare (here)", True),
        ('segment == "a ( in a string nests nothing"', False),
    ],
)
def test_answers(source: str, *, answer: bool) -> None:
    """Comparisons, logic, lists, functions, conditionals, strings and comments work as CEL says."""
    assert compile_expression(source).holds(FEATURES) is answer


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("spend > 1 || " * 200 + "true", "characters"),
        ("(" * 33 + "spend" + ")" * 33 + " > 1.0", "deeper"),
        ("[" * 33 + "]" * 33 + " == []", "deeper"),
        ("is_member ? " * 33 + "true" + " : false" * 33, "deeper"),
        ("!" * 40 + "is_member", "deeper"),
        ("')' == ')' && " + "(" * 33 + "is_member" + ")" * 33, "deeper"),
        ("[1, 2].exists(x, x > 1)", "`exists` loops"),
        ("[1, 2]. map ( x, x).size() > 0", "`map` loops"),
        (r"segment == 'a\'b'", "backslashes"),
        ('segment == """gold"""', "triple quotes"),
        ("spend >", "not a CEL expression"),
        ("", "not a CEL expression"),
    ],
)
def test_refuses(source: str, complaint: str) -> None:
    """What could bring the process down, loop, or is no CEL is refused before it runs, with the reason."""
    with pytest.raises(ExpressionError, match=complaint):
        compile_expression(source)


@pytest.mark.parametrize("source", ["nobody > 1.0", "segment > 1.0", "spend + 1.0", "spend > null"])
def test_failing_is_not_yes(source: str) -> None:
    """An unknown name, types that do not compare, an answer that is no yes or no: an error, for the caller to drop."""
    with pytest.raises(ExpressionError):
        compile_expression(source).holds(FEATURES)


def test_names_its_features() -> None:
    """The features a rule needs are known without evaluating it."""
    assert compile_expression("spend > 1.0 || segment == 'x'").variables == {"spend", "segment"}
