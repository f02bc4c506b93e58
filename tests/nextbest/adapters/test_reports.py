"""What machines read: SARIF and JUnit."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from nextbest.adapters.reports import write_junit, write_sarif
from nextbest.findings import Finding, Report

FOUND = (
    Finding("a.yaml", 3, "wrong <&> ünd \x00", "rule-unknown"),
    Finding("a.yaml", 7, "less", "enum-widened", "note"),
    Finding("b.yaml", 1, "mind", "field-removed", "warning"),
    Finding("gone.yaml", 1, "gone", "contract-removed"),
)
REPORT = Report("nextbest contracts check", "shop/data_contracts", ("a.yaml", "b.yaml", "c.yaml"), FOUND)

_TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
_PLACE = {
    "type": "object",
    "required": ["artifactLocation", "region"],
    "properties": {
        "artifactLocation": {
            "type": "object",
            "required": ["uri"],
            "additionalProperties": False,
            "properties": {"uri": {"type": "string", "format": "uri-reference"}},
        },
        "region": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"startLine": {"type": "integer", "minimum": 1}},
        },
    },
}
_RESULT = {
    "type": "object",
    "required": ["message"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": _TEXT,
        "locations": {
            "type": "array",
            "items": {"type": "object", "additionalProperties": False, "properties": {"physicalLocation": _PLACE}},
        },
    },
}
_RULE = {
    "type": "object",
    "required": ["id"],
    "additionalProperties": False,
    "properties": {"id": {"type": "string"}, "shortDescription": _TEXT},
}
_DRIVER = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "rules": {"type": "array", "uniqueItems": True, "items": _RULE},
    },
}
# The parts of the official schema of SARIF 2.1.0 that are written here.
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "tool": {"type": "object", "required": ["driver"], "properties": {"driver": _DRIVER}},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": _RESULT},
                },
            },
        },
    },
}


def test_sarif_is_valid_and_says_all(tmp_path: Path) -> None:
    """Rule, level, message, and a place relative to the repository's root for each finding."""
    write_sarif(tmp_path / "out.sarif", REPORT)
    sarif = json.loads((tmp_path / "out.sarif").read_text())
    assert not list(Draft7Validator(SARIF).iter_errors(sarif))
    (run,) = sarif["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [finding.rule for finding in FOUND]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert [(place["artifactLocation"]["uri"], place["region"]["startLine"]) for place in places] == [
        ("shop/data_contracts/a.yaml", 3),
        ("shop/data_contracts/a.yaml", 7),
        ("shop/data_contracts/b.yaml", 1),
        ("shop/data_contracts/gone.yaml", 1),
    ]
    assert [result["level"] for result in run["results"]] == ["error", "note", "warning", "error"]


def test_junit_has_a_case_per_file(tmp_path: Path) -> None:
    """One that has an error fails with all of them; a file that is gone is a case, too."""
    write_junit(tmp_path / "out.xml", REPORT)
    (suite,) = ET.parse(tmp_path / "out.xml").getroot()  # noqa: S314  written a line before
    assert suite.attrib == {"name": "nextbest contracts check", "tests": "4", "failures": "2", "errors": "0"}
    failures = {case.attrib["name"]: case.findtext("failure") for case in suite}
    assert failures == {
        "a.yaml": "shop/data_contracts/a.yaml:3: error: wrong <&> ünd � [rule-unknown]",
        "b.yaml": None,
        "c.yaml": None,
        "gone.yaml": "shop/data_contracts/gone.yaml:1: error: gone [contract-removed]",
    }
    assert [case.findtext("system-out") for case in suite][:2] == [
        "shop/data_contracts/a.yaml:7: note: less [enum-widened]",
        "shop/data_contracts/b.yaml:1: warning: mind [field-removed]",
    ]
