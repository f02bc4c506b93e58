"""Tests of `serving.known_as`: whatever may be kept under is found, and nothing of somebody else."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.envelope import Envelope
from nextbest.following import step
from nextbest.identity import CROWD, Limits, link, unlink
from serving.known_as import all_names, names_around

AT = datetime(2026, 3, 2, tzinfo=UTC)


def visitor(number: int) -> str:
    return f"anonymous_id:{number:064x}"


@pytest.fixture
def counted() -> int:
    """How many identifiers State counts."""
    return Limits().identifiers


def known_as(log: SqliteLog, state: SqliteState, words: list[Envelope], customer_id: str = "c1") -> set[str]:
    asyncio.run(log.append(words))
    asyncio.run(step(log, state))
    return {*asyncio.run(all_names(customer_id, state, log))}


def joined(one: str, other: str, minute: int) -> Envelope:
    return link(one, other, AT + timedelta(minutes=minute), by="login")


def parted(one: str, other: str) -> Envelope:
    return unlink(one, other, AT + timedelta(days=1), by="review")


def test_identifiers_beyond_the_bound_are_theirs(log: SqliteLog, state: SqliteState, counted: int) -> None:
    """State counts the newest; what was said under the others was said of the same person, and of their devices."""
    visits = [visitor(number) for number in range(counted + 2)]
    words = [joined("c1", each, minute) for minute, each in enumerate(visits)]
    assert known_as(log, state, [*words, joined(visits[0], visitor(999), 0)]) == {"c1", visitor(999), *visits}
    assert len(asyncio.run(state.members(["c1"]))["c1"]) == counted + 1


def test_what_somebody_else_claims_is_not_theirs(log: SqliteLog, state: SqliteState, counted: int) -> None:
    """Nor what was split from them, nor what a crowd has; but what was split from somebody else is."""
    shared, split, crowded, theirs = map(visitor, range(1_000, 1_004))
    oldest = [joined("c1", each, 0) for each in (shared, split, crowded, theirs)]
    visits = [visitor(number) for number in range(counted)]
    words = [*oldest, *(joined("c1", each, minute) for minute, each in enumerate(visits, 1))]
    words += [joined("c2", shared, 0), parted("c1", split), joined("c2", theirs, 0), parted("c2", theirs)]
    words += [joined(crowded, f"x{number}", 0) for number in range(CROWD)]
    assert known_as(log, state, words) == {"c1", theirs, *visits}


def test_who_is_around_is_reached_over_what_was_split_but_no_crowd(log: SqliteLog, state: SqliteState) -> None:
    """Decisions for somebody further off may have been made from what was known of all."""
    words = [joined("c1", visitor(1), 0), joined("c2", visitor(1), 0), joined("c2", "c3", 0), parted("c1", visitor(1))]
    words += [joined(name, visitor(2), 0) for name in ("c3", *(f"x{number}" for number in range(CROWD)))]
    known_as(log, state, words)
    assert asyncio.run(names_around(["c1"], state)) == {"c2", "c3", visitor(1), visitor(2)}
