"""A strategist follows docs/strategist.md: the commands of the page, typed one after another."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nextbest.settings import CHECKOUT
from nextbest.templates import FILTERS, TAGS

PAGE = CHECKOUT / "docs" / "strategist.md"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block of commands says, in the shell of somebody who has no other home."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    home = tmp_path_factory.mktemp("strategist")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXTBEST_")}
    environment |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = "set -e\n" + "echo '#### next'\n".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [" ".join(each.split()) for each in done.stdout.split("#### next")]


def test_every_command_of_the_page_works(said: list[str]) -> None:
    """Check, try, diff: each block says what the page says it says."""
    checked, tried, more, changed, mistaken, rounded, explored, sides = said
    assert "6 files of the policy, 0 errors" in checked
    assert "drawn: " in tried
    assert "dismissed_twice: until" in more
    assert "receipt arbitration 0.6000" in more
    assert "quiet hours of app: 21:00 to 08:00, it is 04:00 in Asia/Tokyo" in more
    assert "consent" in more
    assert "marketing: withdrawn" in more
    assert "bag_snacks: lever 100 → 130 %" in changed
    assert "at most 2 → 3" in changed
    assert "did you mean `baskets_28d`" in mistaken
    assert "it can never be proposed" in mistaken
    assert "Your receipt is ready. Lately: 23.46 USD." in rounded
    assert "inverse gap" in explored.lower()
    assert "100.00 %" not in tried
    assert "experiments: universal_control: " in sides


def test_the_page_names_every_tag_and_filter_of_texts() -> None:
    """One that is added is added there, or this fails."""
    page = PAGE.read_text()
    assert [name for name in sorted(FILTERS | TAGS) if f"`{name}`" not in page] == []
