import re

from hypothesis import given
from hypothesis import strategies as st

from nextbest.source import slug


def test_categories_become_action_ids() -> None:
    """The action id of a category is part of policies, features and labels: it must not drift."""
    assert slug("FRZN MEAT/MEAT DINNERS") == "frzn_meat_meat_dinners"
    assert slug("MISC. DAIRY") == "misc_dairy"
    assert slug("DIAPERS & DISPOSABLES") == "diapers_disposables"


@given(st.text())
def test_a_slug_is_an_identifier_and_its_own_slug(text: str) -> None:
    """Whatever a source calls a category, what comes out satisfies the contracts' pattern, or is empty."""
    result = slug(text)

    assert re.fullmatch(r"([a-z0-9]+(_[a-z0-9]+)*)?", result)
    assert slug(result) == result


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_case_and_punctuation_do_not_matter(text: str) -> None:
    """Two spellings of one category are one action."""
    assert slug(text.upper()) == slug(f" {text}!")
