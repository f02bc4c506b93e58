"""Apply the repository, as `feast apply` does, which takes longer to start.

Run by file name, in a process of its own: Feast finds the repository by its folder.
"""

import sys
from pathlib import Path

from nextbest.adapters.feast_import import without_checks

with without_checks():
    from feast.cli.cli import cli

if __name__ == "__main__":
    cli(["--chdir", str(Path(__file__).parent), "apply", *sys.argv[1:]])
