"""What tests of the guides share: the commands of a page, and a shell of somebody who types them in the checkout."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from nextbest.settings import CHECKOUT


def commands(page: str) -> list[str]:
    """What a page of `docs/` says to type, but for installing and starting servers, which tests do themselves."""
    text = (CHECKOUT / "docs" / page).read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def typed(home: Path, *lines: str, status: int = 0, variables: Mapping[str, str] | None = None) -> str:
    """Type the lines into a shell in the checkout, as somebody with this home folder; returns what they say."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NEXTBEST_", "DAGSTER_"))}
    environment |= {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **(variables or {}),
    }
    script = "\n".join(["set -e", *lines])
    done = subprocess.run(
        ["bash", "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr
