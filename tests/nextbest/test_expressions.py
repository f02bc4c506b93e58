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
        ("[1, 2].// a remark\nmap(x, x).size() > 0", "`map` loops"),
        ("!//\n" * 450 + "is_member", "deeper"),
        ("-(" * 40 + "spend" + ")" * 40 + " > 1.0", "deeper"),
        ("segment" + "{" * 40 + "}" * 40, "deeper"),
        ("9" * 1_900 + " > spend", "not a CEL expression: invalid int literal$"),
        ("." * 1_500, "not a CEL expression: no viable alternative"),
        (r"segment == 'a\'b'", "backslashes"),
        ('segment == """gold"""', "triple quotes"),
        ("spend >", "not a CEL expression: it ends too early"),
        ("", "not a CEL expression: it ends too early"),
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


@pytest.mark.parametrize(
    "source",
    [
        "segment.__class__ == 1",
        "''.__class__.__mro__[1] == 1",
        "__import__('os').system('x') == 0",
        "segment" + ".a" * 900 + " == 1",
        "segment" + "[0]" * 600 + " == 1",
        "segment" + " in segment" * 170,
        "'a' * 1000000000 == ''",
        "segment.matches('(((((a{99}){99}){99}){99}){99}')",
        "duration('x') > duration('1s')",
        "Anything{a: 1} == 1",
        "cel.bind(x, 1, x) == 1",
    ],
)
def test_what_is_hostile_fails_as_anything_else(source: str) -> None:
    """Objects have no attributes to look into, nothing grows without end, and whatever there is not is an error."""
    with pytest.raises(ExpressionError):
        compile_expression(source).holds(FEATURES)


def test_long_expressions_end() -> None:
    """As long as an expression may be, it is as slow as it is long."""
    assert compile_expression("spend" + " + 1.0" * 300 + " > 1.0").holds(FEATURES)
    assert compile_expression("is_member" + " && is_member" * 150).holds(FEATURES)
    assert not compile_expression("'" + "a" * 900 + "'.matches('(a|a)*b')").holds(FEATURES)
