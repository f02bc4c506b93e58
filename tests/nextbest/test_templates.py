"""Texts in Liquid: filled in with values, and nothing else, in bounded time."""

import time

import pytest

from nextbest.templates import MAX_OUTPUT, TemplateError, Values, compile_template

VALUES: Values = {
    "customer": {"name": "Ann", "baskets": 3.0, "share": 0.25, "is_member": True, "long": "x" * 1_000},
    "context": {"city": "Rome"},
    "action": {"name": "Beef coupon"},
}
SECONDS = 5.0
"""A wide bound for a busy machine: what it guards against takes minutes or never ends."""


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Fresh, at 20 % off { } % }", "Fresh, at 20 % off { } % }"),
        ("{{ customer.name }} in {{ context.city }}: {{ action.name }}", "Ann in Rome: Beef coupon"),
        ("{{ customer.baskets }} trips, {{ customer.share }}", "3 trips, 0.25"),
        ("{{ customer.baskets | times: 2 }}, {{ customer.baskets | divided_by: 2 }}", "6, 1.5"),
        ("{{ customer.share | plus: 0.1 | plus: 0.2 }}", "0.55"),
        ("{{ customer.is_member }}", "true"),
        ("{% if customer.baskets > 2 and context.city == 'Rome' %}often{% else %}new{% endif %}", "often"),
        ("{% case customer.name %}{% when 'Ann' %}A{% else %}B{% endcase %}", "A"),
        ("{% unless customer.is_member %}Join!{% endunless %}Hi", "Hi"),
        ("{% assign short = customer.name | downcase | append: '!' %}{{ short }}", "ann!"),
        ("{{ customer.name | default: 'there' | upcase | truncate: 10 }}", "ANN"),
        ("<b>{{ context.city }}</b> & co", "<b>Rome</b> & co"),
    ],
)
def test_renders(source: str, shown: str) -> None:
    """Variables, conditions, choices and filters as Liquid says; whole numbers without a fraction; nothing escaped."""
    assert compile_template(source).render(VALUES) == shown


def test_plain_text_is_itself() -> None:
    """Without a tag there is nothing to do, and the very text comes back."""
    source = "Plain } text"
    assert compile_template(source).render({}) is source


def test_variables_are_known_without_rendering() -> None:
    """Every path in every branch, and none that the text assigns itself."""
    source = "{% if customer.a %}{{ context['b'] | default: customer.c }}{% endif %}{% assign x = action.d %}{{ x }}"
    assert compile_template(source).variables == {"customer.a", "context.b", "customer.c", "action.d"}


def test_the_same_text_is_compiled_once() -> None:
    """A text that many treatments share costs its compiling once."""
    assert compile_template("{{ action.name }}") is compile_template("{{ action.name }}")


HOSTILE = [
    ("{% for i in (1..1000000000) %}x{% endfor %}", "unexpected tag 'for': there are assign, case, if, unless"),
    ("{% tablerow i in (1..9) %}x{% endtablerow %}", "unexpected tag 'tablerow'"),
    ("{% include 'secrets' %}", "unexpected tag 'include'"),
    ("{% render 'secrets' %}", "unexpected tag 'render'"),
    ("{% extends 'secrets' %}", "unexpected tag 'extends'"),
    ("{% capture a %}x{% endcapture %}", "unexpected tag 'capture'"),
    ("{{ 'now' | date: '%Y' }}", "unknown filter `date`: there are abs"),
    ("{{ now }}", "`now` is no variable: write customer.FEATURE"),
    ("{{ customer }}", "`customer` is no variable"),
    ("{{ ''.__class__ }}", "not Liquid"),
    ("{{ customer.name.__class__ }}", "is no variable"),
    ("{{ customer[context.city] }}", "is no variable"),
    ("{{ customer" + "[0]" * 3_000 + " }}", "is no variable"),
    ("{{ customer" + "[" * 5_000 + " }}", "deeper"),
    ("{{ " + "(" * 4_000 + ")" * 4_000 + " }}", "not Liquid"),
    ("{% if customer.is_member %}" * 17 + "{% endif %}" * 17, "nesting limit"),
    ("{% if customer.a " + "and customer.a " * 600 + "%}x{% endif %}", "deeper"),
    ("{{" * 5_000, "opened and not closed: write `}}`"),
    ("{{" + " " * 9_000 + "}}", "blanks in a row"),
    ("{{ " + "9" * 9_000 + " }}", "9000 digits"),
    ("x" * 10_001, "10001 characters are more than the 10000"),
]


@pytest.mark.parametrize(("source", "complaint"), HOSTILE)
def test_refuses(source: str, complaint: str) -> None:
    """What loops, reads elsewhere, asks the clock, looks into objects or is too large is refused before it is used."""
    started = time.perf_counter()
    with pytest.raises(TemplateError, match=complaint):
        compile_template(source)
    assert time.perf_counter() - started < SECONDS


BOUNDED = [
    ("{{ customer.__class__ }}", "customer.__class__ is undefined: give it a value"),
    ("{{ customer.unknown | default: 'x' }}", "customer.unknown is undefined"),
    ("{% assign a = 'xxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 300, "`append` makes more than"),
    ("{% assign a = 9 %}" + "{% assign a = a | times: a %}" * 300, "`times` makes a number beyond"),
    ("{{ customer.long" + " | append: customer.long" * 400 + " }}", "`append` makes more than"),
    ("{{ customer.long }}" * 500, "output stream limit reached: make it shorter"),
    ("".join(f"{{% assign a{n} = customer.long %}}" for n in range(200)), "namespace limit"),
    ("{{ 5 | divided_by: 0 }}", "can't divide by 0"),
    ("{{ 5.0 | modulo: 0 }}", "it cannot be filled in"),
]


@pytest.mark.parametrize(("source", "complaint"), BOUNDED)
def test_bounded(source: str, complaint: str) -> None:
    """What only shows once there are values ends soon, with the one error that callers know."""
    template = compile_template(source)
    started = time.perf_counter()
    with pytest.raises(TemplateError, match=complaint):
        template.render(VALUES)
    assert time.perf_counter() - started < SECONDS


def test_a_long_chain_of_filters_ends() -> None:
    """A thousand filters that add nothing are as slow as they are long."""
    assert compile_template("{{ customer.name" + " | upcase" * 1_000 + " }}").render(VALUES) == "ANN"


def test_output_up_to_the_limit() -> None:
    """As much as may be shown is shown."""
    assert len(compile_template("{{ customer.long }}" * 20).render(VALUES)) == MAX_OUTPUT
