"""Tests of `nextbest.links`: what was proposed, what of it is applied, and what waits for a person."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nextbest.envelope import Envelope
from nextbest.identity import link, unlink
from nextbest.links import Proposal, Proposals, pair_of, to_apply, verdicts, waiting, without
from nextbest.switches import switched

AT = datetime(2026, 3, 2, tzinfo=UTC)
MOST = 5
ids = st.sampled_from([f"c{number}" for number in range(12)])
pairs = st.tuples(ids, ids).filter(lambda pair: pair[0] < pair[1])


def _proposed(*found: tuple[tuple[str, str], float]) -> Proposals:
    return Proposals(0.95, tuple(Proposal(*pair, probability, 0.0, ()) for pair, probability in found))


def _entry(pair: tuple[str, str], minute: int, *, is_link: bool) -> Envelope:
    at = AT + timedelta(minutes=minute)
    return link(*pair, at, by="review") if is_link else unlink(*pair, at, by="review")


@given(
    st.dictionaries(pairs, st.floats(0.5, 1), max_size=30),
    st.lists(st.tuples(pairs, st.booleans()), max_size=10),
)
def test_a_proposal_is_applied_or_waits_or_is_decided(
    found: dict[tuple[str, str], float], words: list[tuple[tuple[str, str], bool]]
) -> None:
    """One of the three, and what is applied is never asked for again, nor what a person took back."""
    said = verdicts([_entry(pair, minute, is_link=is_link) for minute, (pair, is_link) in enumerate(words)])
    proposed = _proposed(*found.items())
    applied, waits = ([each.pair for each in chosen(proposed, said, MOST)] for chosen in (to_apply, waiting))
    assert sorted([*applied, *waits, *(set(found) & set(said))]) == sorted(found)
    assert all(found[pair] >= proposed.applied_from for pair in applied)
    after = said | dict.fromkeys(applied, "linked")
    assert not to_apply(proposed, after, MOST)
    assert [each.pair for each in waiting(proposed, after, MOST)] == waits


def test_the_last_word_holds_whoever_is_named_first() -> None:
    """A pair is the same in both orders, and entries about other things say nothing of it."""
    entries = [
        link("b", "a", AT, by="splink", probability=0.99),
        switched("pause", "a", "p1", AT),
        unlink("a", "b", AT + timedelta(days=1), by="review"),
        link("c", "d", AT, by="review"),
    ]
    assert verdicts(entries) == {("a", "b"): "split", ("c", "d"): "linked"}
    assert pair_of("b", "a") == pair_of("a", "b") == ("a", "b")


def test_a_name_that_many_forms_have_makes_nobody_one_person() -> None:
    """Whole groups wait for a person, however sure each of their pairs is; those linked before count too."""
    chain = [f"c{number:02d}" for number in range(MOST + 1)]
    links = list(pairwise(chain))
    too_many = _proposed(*((pair, 1.0) for pair in links), (("x", "y"), 1.0))
    assert [each.pair for each in to_apply(too_many, {}, MOST)] == [("x", "y")]
    assert [each.pair for each in waiting(too_many, {}, MOST)] == links
    assert [each.pair for each in to_apply(_proposed(*((pair, 1.0) for pair in links[1:])), {}, MOST)] == links[1:]
    assert not to_apply(_proposed((links[-1], 1.0)), dict.fromkeys(links[:-1], "linked"), MOST)


def test_what_was_split_is_not_joined_by_way_of_others() -> None:
    """Both are surely a third: which of them that is, a person says; and others are not kept waiting."""
    found = _proposed((("a", "c"), 1.0), (("b", "c"), 1.0), (("x", "y"), 1.0))
    assert [each.pair for each in to_apply(found, {("a", "b"): "split"}, MOST)] == [("x", "y")]
    assert [each.pair for each in to_apply(found, {("a", "b"): "split", ("b", "c"): "split"}, MOST)] == [
        ("a", "c"),
        ("x", "y"),
    ]
    assert [each.pair for each in waiting(found, {("a", "b"): "split"}, MOST)] == [("a", "c"), ("b", "c")]


def test_what_names_somebody_erased_is_left_out() -> None:
    """On whichever side of the pair."""
    found = _proposed((("a", "b"), 1.0), (("b", "c"), 0.7), (("c", "d"), 0.7))
    assert without(found, {"b"}) == _proposed((("c", "d"), 0.7))
    assert without(found, ()) == found
