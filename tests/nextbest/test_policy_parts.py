"""What of a policy can be read: one mistake does not hide the others."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.policy_check import check
from nextbest.policy_document import PolicyDocument
from nextbest.policy_parts import Parts, read_parts

JUNK = st.sampled_from([None, "", "no such thing", -1, 1e300, [], [None], {}, {"id": 1}, True])


def _problems(contents: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    parts = read_parts(contents)
    found = check(parts.document, lost=parts.lost, unread=parts.unread)
    return [(each.place, each.message) for each in (*parts.problems, *map(parts.written, found))]


def test_a_policy_that_is_right_is_read_whole(document: dict[str, Any]) -> None:
    """As pydantic reads it, with nothing said."""
    parts = read_parts(document)
    assert parts == Parts(PolicyDocument.model_validate(document), (), frozenset(), frozenset(), parts.contents)


def test_what_is_left_is_checked_at_its_own_place(document: dict[str, Any]) -> None:
    """An action that is left out does not move those behind it, nor is it unknown to those that name it."""
    actions = document["actions"]["actions"]
    actions[0]["value"] = []
    actions[1]["follows"] = [{"action": "apples", "within_hours": 24}]
    actions[3]["purpose"] = "nothing"
    assert _problems(document) == [
        (("actions", "actions", 0, "value"), "write a number, or CEL over the features in quotes"),
        (("actions", "actions", 3, "purpose"), "unknown purpose `nothing`: there is mailing, marketing"),
    ]


def test_a_file_that_cannot_be_read_hides_only_what_needs_it(document: dict[str, Any]) -> None:
    """Without features no rule can be checked; a channel that is not there still shows."""
    del document["features"]
    document["placements"]["placements"][0]["channel"] = "radio"
    document["arbitration"] = "none"
    said = [message for _, message in _problems(document)]
    assert said == [
        "write fields, each as `name: value`, not `none`",
        "unknown channel `radio`: there is email, web",
        *["placement `home` is in channel `radio`, not `web`"] * 4,
    ]


MESSAGES = [
    ("actions", {"name": None}, "write text; in quotes, if it looks like a number, since nothing is there"),
    ("actions", {"id": "Big Apples"}, "write lower-case letters, digits and _, beginning with a letter, such as two_e"),
    ("actions", {"class": "urgent"}, "write one of 'standard', 'mandatory' or 'transactional', not `urgent`"),
    ("actions", {"lever": "much"}, "write a number, such as 0.5, not `much`"),
    ("actions", {"levre": 100}, "there is no such field: did you mean `lever`?"),
    ("actions", {"value": 1e12}, "write 1000000000 or less, not `1000000000000.0`"),
    ("actions", {"value": float("nan")}, "write a finite number"),
    ("actions", {"value": ""}, "write some text"),
    ("actions", {"start": "soon"}, "write a day such as 2026-03-31, or a moment with its zone"),
    ("actions", {"start": "2026-01-01T10:00:00"}, "write a moment with its zone"),
    ("actions", {"treatments": []}, "write at least one"),
    ("actions", {"treatments": {}}, "write a list, each member after a dash"),
    ("actions", {"volume": {"limit": 1}}, "`per` is missing: write it (Calendar day, week"),
    ("actions", {"volume": {"limit": 1.5, "per": "day"}}, "write a whole number, such as 3, not `1.5`"),
    ("actions", {"attributes": []}, "write fields, each as `name: value`"),
]


@pytest.mark.parametrize(("file", "fields", "message"), MESSAGES)
def test_a_message_says_what_to_write(
    document: dict[str, Any], file: str, fields: dict[str, Any], message: str
) -> None:
    """A mistake of type is told as what to write instead, once, at its field."""
    document[file]["actions"][0] |= fields
    [(place, said)] = _problems(document)
    assert place[:4] == (file, "actions", 0, *fields)
    assert message in said


def test_a_part_of_a_union_is_told_at_its_own_field(document: dict[str, Any]) -> None:
    """A switch of a formula that is no switch is not a formula that is no text."""
    document["arbitration"]["formula"] = {"use_value": "perhaps", "use_leverr": True}
    assert _problems(document) == [
        (("arbitration", "formula", "use_value"), "write true or false, not `perhaps`"),
        (("arbitration", "formula", "use_leverr"), "there is no such field: did you mean `use_lever`?"),
    ]


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_is_written_is_told(contents: Callable[[], dict[str, Any]], data: st.DataObject) -> None:
    """Junk anywhere is either right, or a problem with a place; reading and checking never fail."""
    document = contents()
    for _ in range(data.draw(st.integers(1, 3))):
        around: Any = document
        while True:
            key = data.draw(st.sampled_from(sorted(around) if isinstance(around, dict) else range(len(around))))
            if not isinstance(around[key], dict | list) or not around[key] or data.draw(st.booleans()):
                break
            around = around[key]
        around[key] = deepcopy(data.draw(JUNK))
    parts = read_parts(document)
    assert all(each.place and each.message for each in parts.problems)
    check(parts.document, lost=parts.lost, unread=parts.unread)
    if not parts.problems:
        PolicyDocument.model_validate(document)
