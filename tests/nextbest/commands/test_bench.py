"""Tests of `nextbest bench`, and that the benchmark of the contracts measures what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nextbest.commands import bench
from nextbest.settings import CHECKOUT


def _bench(*arguments: str) -> Result:
    return CliRunner().invoke(bench.bench, arguments)


def _run(folder: Path, *arguments: str) -> int:
    """The status of the command in a process of its own, with benchmarks in `folder`."""
    program = (
        "import sys; from pathlib import Path; from nextbest.commands import bench; "
        "bench.FOLDER = Path(sys.argv.pop(1)); bench.bench()"
    )
    return subprocess.run([sys.executable, "-c", program, str(folder), *arguments], check=False).returncode


def test_without_a_name_it_lists_them() -> None:
    """A name is that of the script, with hyphens."""
    result = _bench()
    assert result.exit_code == 0
    assert "contracts" in result.output.splitlines()


def test_an_unknown_name_is_told_the_known() -> None:
    """And the one that was probably meant."""
    result = _bench("contract")
    assert result.exit_code == 2
    assert "there is no contract; there are " in result.output
    assert "did you mean 'contracts'?" in result.output


@pytest.mark.parametrize("status", [0, 3])
def test_a_script_is_run_by_its_name(tmp_path: Path, status: int) -> None:
    """It takes the command's place, is told where the figures go, and its status is the command's."""
    script = f"import sys; open(sys.argv[2], 'w').write(sys.argv[1]); sys.exit({status})"
    (tmp_path / "of_sorts.py").write_text(script)
    assert _run(tmp_path, "of-sorts", "--json", str(tmp_path / "figures")) == status
    assert (tmp_path / "figures").read_text() == "--json"


def test_options_of_a_benchmark_are_its_own(tmp_path: Path) -> None:
    """Whatever comes after the name is handed on."""
    (tmp_path / "of_sorts.py").write_text("import sys; sys.exit(sys.argv[1:] != ['--only', 'echo'])")
    assert _run(tmp_path, "of-sorts", "--only", "echo") == 0


@pytest.mark.parametrize("script", sorted(bench.FOLDER.glob("*.py")), ids=lambda script: script.stem)
def test_help_after_a_name_is_the_benchmarks_own(script: Path) -> None:
    """With the name by which it is called; without one it is the command's."""
    name = script.stem.replace("_", "-")
    command = [sys.executable, "-m", "nextbest", "bench", name, "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"Usage: nextbest bench {name} ")
    assert ("--flame" in said) == (name == "decisions")
    assert "without a name, list them" in _bench("--help").output


@pytest.mark.integration
def test_the_contracts_are_measured_beside_peers_and_limit(tmp_path: Path) -> None:
    """Every contender has a figure, on a few rows of the demo's; how large it is, is no test."""
    report = tmp_path / "figures.json"
    command = [sys.executable, str(CHECKOUT / "benchmarks" / "contracts.py"), "--rows", "2000", "--json", str(report)]
    subprocess.run(command, check=True, capture_output=True)
    figures = json.loads(report.read_text())
    assert figures["transactions"]["rows"] == 2000
    assert {name.split(":")[-1].strip() for name in figures["transactions"]["rows_per_s"]} == {
        "validate",
        "limit",
        "read and validate",
        "Great Expectations",
    }
    assert all(figures["transactions"]["rows_per_s"].values())
    assert set(figures["events"]) == {"1", "100", "500"}
    assert all(rate for each in figures["events"].values() for rate in each.values())
