"""`nextbest policy`: every mistake with file and line, every change in words, for people and machines."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from nextbest.commands.policy import policy
from nextbest.settings import CHECKOUT


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a copy of the policies."""
    shutil.copytree(CHECKOUT / "policies", tmp_path / "policies")
    return tmp_path


def _check(home: Path) -> tuple[int, str]:
    reports = ["--sarif", str(home / "out.sarif"), "--junit", str(home / "out.xml")]
    result = CliRunner(env={"NEXTBEST_HOME": str(home)}).invoke(policy, ["check", *reports])
    return result.exit_code, result.output


def test_a_policy_that_can_go_live_passes(home: Path) -> None:
    """Every file is a case, and none fails."""
    assert _check(home) == (0, "6 files of the policy, 0 errors, 0 warnings\n")
    assert json.loads((home / "out.sarif").read_text())["runs"][0]["results"] == []
    assert len(list(ET.parse(home / "out.xml").iter("testcase"))) == 6  # noqa: S314  written by the command


def test_every_mistake_is_told_with_its_place(home: Path) -> None:
    """On the terminal, file by file with their counts, and in both reports."""
    path = home / "policies" / "placements.yaml"
    path.write_text(path.read_text().replace("slots: 1", "slots: none", 1))
    (home / "policies" / "features.yaml").unlink()
    code, output = _check(home)
    assert code == 1
    assert output.splitlines()[:2] == [
        "policies/features.yaml: 1 error, 0 warnings",
        "  policies/features.yaml:1: error: the file is missing [yaml]",
    ]
    assert "policies/placements.yaml: 1 error, 0 warnings\n  policies/placements.yaml:" in output
    assert "error: placements.home_banner.slots: write a whole number" in output
    assert output.endswith("\n6 files of the policy, 2 errors, 0 warnings\n")
    results = json.loads((home / "out.sarif").read_text())["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["yaml", "policy-value"]
    failed = [case.attrib["name"] for case in ET.parse(home / "out.xml").iter("testcase") if len(case)]  # noqa: S314
    assert sorted(failed) == ["features.yaml", "placements.yaml"]


def test_a_warning_does_not_block(home: Path) -> None:
    """It is told, and the status is 0."""
    path = home / "policies" / "actions.yaml"
    path.write_text(path.read_text().replace("  value: 4.47", "  end: 2020-01-31\n  value: 4.47", 1))
    code, output = _check(home)
    assert code == 0
    assert "warning: actions.bag_snacks.end: `bag_snacks` ended on 2020-01-31" in output
    assert output.endswith("\n6 files of the policy, 0 errors, 1 warning\n")


def _run(home: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"NEXTBEST_HOME": str(home)}).invoke(policy, list(arguments))
    return result.exit_code, result.output


def test_what_changes_is_said_in_words(home: Path) -> None:
    """From one folder to the one in force, as lines and as JSON; the status is 0 either way."""
    before = str(CHECKOUT / "policies")
    assert _run(home, "diff", before) == (0, "nothing changes\n")
    path = home / "policies" / "actions.yaml"
    path.write_text(path.read_text().replace("value: 4.47", "value: 5", 1))
    assert _run(home, "diff", before) == (0, "bag_snacks: value 4.47 → 5.00 USD\n")
    code, output = _run(home, "diff", str(home / "policies"), before, "--json")
    assert code == 0
    assert json.loads(output) == [
        {
            "place": ["actions", "actions", "bag_snacks", "value"],
            "message": "bag_snacks: value 5.00 → 4.47 USD",
            "before": 5.0,
            "after": 4.47,
        }
    ]


def test_a_policy_that_is_not_there_is_wrong_use(home: Path) -> None:
    """The status is 2, and the message says what can be named."""
    code, output = _run(home, "diff", "nowhere")
    assert code == 2
    assert "nowhere is no folder: name one with policy files, or a git revision as git:REF" in output


def test_schemas_are_written_and_looked_at(home: Path) -> None:
    """`--check` only says what is stale."""
    (home / "policies" / "schema" / "actions.schema.json").unlink()
    code, output = _run(home, "schema", "--check")
    assert code == 1
    assert "not up to date: " in output
    assert output.endswith("Run `nextbest policy schema`.\n")
    assert _run(home, "schema")[1].startswith("written: ")
    assert _run(home, "schema", "--check") == (0, "The schemas of the policy files are up to date.\n")
