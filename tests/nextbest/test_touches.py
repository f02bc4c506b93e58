"""Last touch: the contact seen last before an answer, in whatever order they come; bounded."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from nextbest.rewards import Earliest
from nextbest.touches import MOST, Touches, contact_key, contact_of

WINDOW = 24
hours = st.integers(0, 60)
seen = st.dictionaries(st.sampled_from("abcdef"), hours)
answers = st.lists(st.tuples(st.sampled_from(["click", "redemption"]), hours), max_size=12)


def told(words: list[tuple[str, str, int]]) -> tuple[Touches, dict[str, Earliest]]:
    """After contacts and answers in this order: the touches, and what falls to whom."""
    touches, fallen = Touches(), dict[str, Earliest]()
    for what, name, at in words:
        fallen |= touches.see(name, at, WINDOW) if what == "seen" else touches.hear(name, at, WINDOW)
    return touches, {contact: kinds for contact, kinds in fallen.items() if kinds}


@given(seen, seen, answers, st.randoms(use_true_random=False))
def test_an_answer_falls_to_the_last_contact_before_it(
    seen: dict[str, int], once: dict[str, int], answers: list[tuple[str, int]], chance: Random
) -> None:
    """Not to one after it, nor to one that was seen too long ago; a contact may come to have been seen earlier."""
    words = [("seen", name, at) for name, at in seen.items()] + [("answer", kind, at) for kind, at in answers]
    words += [("seen", name, at + seen[name]) for name, at in once.items() if name in seen]
    chance.shuffle(words)
    touches, fallen = told(_ever_earlier(words))
    expected: dict[str, Earliest] = {}
    for kind, at in sorted(answers, key=lambda each: each[1], reverse=True):
        before = [(when, name) for name, when in seen.items() if at - WINDOW <= when <= at]
        if before:
            expected.setdefault(max(before)[1], {})[kind] = at
    assert fallen == expected
    assert touches.untouched(WINDOW) == sum(
        not any(at - WINDOW <= when <= at for when in seen.values()) for _, at in {*answers}
    )


def _ever_earlier(words: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """As a decision tells it: of a contact only what is earlier than all before."""
    at: dict[str, int] = {}
    found = []
    for what, name, when in words:
        if what != "seen" or when < at.get(name, 999):
            found.append((what, name, when))
            at |= {name: when} if what == "seen" else {}
    return found


@given(seen, answers, hours, hours)
def test_expiring_twice_is_expiring_once(
    seen: dict[str, int], answers: list[tuple[str, int]], first: int, second: int
) -> None:
    """What fell to a contact goes with it, what fell to none is counted, and nothing else falls otherwise."""
    words = [("seen", name, at) for name, at in seen.items()] + [("answer", kind, at) for kind, at in answers]
    (once, _), (twice, _) = told(words), told(words)
    untouched = once.untouched(WINDOW)
    given_up = once.expire(max(first, second), WINDOW)
    assert given_up == twice.expire(first, WINDOW) + twice.expire(second, WINDOW)
    assert once == twice
    assert once.untouched(WINDOW) == untouched - given_up
    assert all(at > max(first, second) for at, _ in [*once.seen, *once.answers])


def test_the_newest_are_kept() -> None:
    """Of a machine that sees and answers without end, by when it was."""
    touches = Touches()
    for number in range(3 * MOST):
        touches.see(f"d{number}", number, WINDOW)
        touches.hear("click", number, WINDOW)
        touches.expire(-1, WINDOW)
    assert [at for at, _ in touches.seen] == [*range(2 * MOST, 3 * MOST)]
    assert [at for at, _ in touches.answers] == [*range(2 * MOST, 3 * MOST)]


def test_a_contact_has_a_name() -> None:
    """Whatever is in the decision's."""
    assert contact_of(contact_key("a/b", 3)) == ("a/b", 3)
