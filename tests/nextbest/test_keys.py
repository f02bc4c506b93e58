"""API keys: only the whole key is the key."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.keys import SCOPES, Key, Scope, found, hashed, written

SECRET = "5a" * 32
TEXT = written("0123abcd", SECRET)


def kept() -> Mapping[str, Key]:
    key = Key(
        id="0123abcd",
        name="shop",
        sha256=hashed(SECRET),
        scopes=("decide",),
        rate_per_s=0,
        slot=0,
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    return {key.id: key}


def test_a_key_is_found_by_what_its_owner_writes() -> None:
    """And nothing of the secret is in what is kept."""
    key = found(TEXT, kept())
    assert key is not None
    assert key.name == "shop"
    assert SECRET not in repr(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nb_",
        TEXT[:-1],
        TEXT + "0",
        TEXT.upper(),
        TEXT.replace("0123abcd", "0123abce"),
        written("0123abcd", "5b" * 32),
    ],
)
def test_nothing_else_is_the_key(text: str) -> None:
    """Not a part of it, not another secret, not another id with its secret."""
    assert found(text, kept()) is None


@given(st.text())
def test_no_text_is_a_key_by_chance(text: str) -> None:
    """Whatever is sent, the answer is no, and never an error."""
    assert found(text, kept()) is None


def test_every_scope_says_what_it_is_for() -> None:
    """`nextbest keys create --help` lists them."""
    assert set(get_args(Scope)) == set(SCOPES)
