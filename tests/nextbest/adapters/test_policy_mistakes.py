"""A policy with some seventy mistakes: one run finds each of them where it is, and nothing else."""

import datetime as dt
import re
from collections import Counter
from pathlib import Path

import pytest

from nextbest.adapters.policy_files import PolicyError, read_policy, review

BAD = Path(__file__).parent / "bad_policy"
REMARK = re.compile(r"#! ([a-z-]+): (.*?)(?=\s*#! |$)")
TODAY = dt.date(2026, 3, 1)


def remarks() -> list[tuple[str, int, str, str]]:
    """File, line, rule and a part of the message, as the remarks in the files say."""
    return [
        (path.name, number, rule, said)
        for path in sorted(BAD.glob("*.yaml"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for rule, said in REMARK.findall(line)
    ]


def test_one_run_finds_every_mistake_at_its_line() -> None:
    """As many findings as remarks, of the same rules at the same lines."""
    expected = Counter((file, line, rule) for file, line, rule, _ in remarks())
    assert len(remarks()) >= 70
    assert Counter((each.file, each.line, each.rule) for each in review(BAD, TODAY).findings) == expected


@pytest.mark.parametrize("remark", remarks(), ids=lambda remark: f"{remark[0]}:{remark[1]}:{remark[2]}")
def test_the_message_says_what_to_change(remark: tuple[str, int, str, str]) -> None:
    """Each finding says what its remark promises."""
    file, line, rule, said = remark
    found = [each for each in FINDINGS if (each.file, each.line, each.rule) == (file, line, rule)]
    assert any(said in each.message for each in found), found


FINDINGS = review(BAD, TODAY).findings


def test_nothing_half_loaded_goes_live() -> None:
    """Reading raises with every error there is, and returns no part; what is only odd is no error."""
    with pytest.raises(PolicyError) as caught:
        read_policy(BAD)
    errors = [each for each in FINDINGS if each.level == "error"]
    assert caught.value.problems == errors
    assert len(errors) < len(FINDINGS)
