"""`nextbest policy check`: every mistake with file and line, for people and machines."""

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
    assert _check(home) == (0, "5 files of the policy, 0 problems\n")
    assert json.loads((home / "out.sarif").read_text())["runs"][0]["results"] == []
    assert len(list(ET.parse(home / "out.xml").iter("testcase"))) == 5  # noqa: S314  written by the command


def test_every_mistake_is_told_with_its_place(home: Path) -> None:
    """On the terminal and in both reports."""
    path = home / "policies" / "placements.yaml"
    path.write_text(path.read_text().replace("slots: 1", "slots: none", 1))
    (home / "policies" / "features.yaml").unlink()
    code, output = _check(home)
    assert code == 1
    assert "policies/placements.yaml:" in output
    assert "valid integer" in output
    assert "policies/features.yaml:1: the file is missing [yaml]\n" in output
    results = json.loads((home / "out.sarif").read_text())["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["yaml", "policy-value"]
    failed = [case.attrib["name"] for case in ET.parse(home / "out.xml").iter("testcase") if len(case)]  # noqa: S314
    assert sorted(failed) == ["features.yaml", "placements.yaml"]
