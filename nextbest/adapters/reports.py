"""Reports that machines read: SARIF 2.1.0 for code review, JUnit XML for test reports.

Belongs here: writing what was found in a format of somebody else. Does not belong here: finding it.
"""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from nextbest import __version__
from nextbest.findings import Finding, Report

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def write_sarif(path: Path, report: Report) -> None:
    """Write every finding with its rule, level and place relative to the repository's root."""
    path.write_text(json.dumps(_sarif(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sarif(report: Report) -> dict[str, Any]:
    rules = sorted({finding.rule for finding in report.findings})
    driver = {
        "name": report.tool,
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": rule.replace("-", " ")}} for rule in rules],
    }
    results = [_result(report, finding, rules) for finding in report.findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(report: Report, finding: Finding, rules: list[str]) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": report.path(finding.file)},
        "region": {"startLine": finding.line},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": finding.level,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
    }


def write_junit(path: Path, report: Report) -> None:
    """Write one test case per file that was looked at; it fails with all its errors, other findings are its output."""
    files = list(dict.fromkeys([*report.files, *(finding.file for finding in report.findings)]))
    cases = [_case(report, file) for file in files]
    failures = sum(case.find("failure") is not None for case in cases)
    counts = {"name": report.tool, "tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    suite = ET.Element("testsuite", counts)
    suite.extend(cases)
    root = ET.Element("testsuites", counts)
    root.append(suite)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(report: Report, file: str) -> ET.Element:
    where = report.path(file)
    case = ET.Element("testcase", {"classname": report.tool, "name": file, "file": where})
    found = [finding for finding in report.findings if finding.file == file]
    errors = [finding for finding in found if finding.level == "error"]
    if errors:
        failure = ET.SubElement(case, "failure", {"message": _printable(errors[0].message), "type": errors[0].rule})
        failure.text = _lines(report, errors)
    if others := [finding for finding in found if finding.level != "error"]:
        ET.SubElement(case, "system-out").text = _lines(report, others)
    return case


def _lines(report: Report, findings: list[Finding]) -> str:
    return "\n".join(
        _printable(f"{report.path(each.file)}:{each.line}: {each.level}: {each.message} [{each.rule}]")
        for each in findings
    )


def _printable(text: str) -> str:
    """The text without what XML cannot hold, such as a control character of a file that is no YAML."""
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)
