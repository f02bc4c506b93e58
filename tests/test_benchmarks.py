"""What the documentation shows of a benchmark is what it says today."""

import subprocess
import sys

from nextbest.settings import CHECKOUT


def test_the_table_of_contract_changes_is_ours() -> None:
    """Every pair with its truth and our verdict; the peer's columns are of the run that was written down."""
    command = [sys.executable, "benchmarks/contract_changes.py", "--check"]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
